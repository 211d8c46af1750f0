"""What an API server does with a ThumbnailJob before it is stored, done for the local store.

In the order of Kubernetes: fields that the schema does not know are pruned, defaults filled in, the
structure validated, and the CEL rules asked (`thumbnails_contract.rules`). The schema is the CRD's
own, read from the same file that a cluster gets.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import fastjsonschema
import yaml

import thumbnails_contract
from thumbnails_common.jobstore import Document, Refused
from thumbnails_contract.names import API_VERSION, KIND, is_job_name, is_label_name
from thumbnails_contract.rules import violations

Schema = Mapping[str, Any]

# k8s.io/apimachinery/pkg/util/validation (IsQualifiedName, IsValidLabelValue), and api/validation.
_LABEL_WORD: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX: Final = r"(?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
_QUALIFIED_NAME: Final = re.compile(f"({_PREFIX})?{_LABEL_WORD}")
_LABEL_VALUE: Final = re.compile(f"({_LABEL_WORD})?")
_MAX_ANNOTATION_BYTES: Final = 262_144

_INTEGER_BITS: Final = {"int32": 32, "int64": 64}
_MAX_SHOWN_CHARACTERS: Final = 100


class Admission:
    """Turns what somebody sends into what is stored, or raises Refused."""

    def __init__(self, crd: Mapping[str, Any]) -> None:
        (version,) = (version for version in crd["spec"]["versions"] if version["storage"])
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        self._spec = _Part("spec", properties["spec"])
        self._status = _Part("status", properties["status"])

    @classmethod
    def load(cls) -> Self:
        """From the CRD that comes with the contract."""
        return cls(_read_crd())

    def create(self, manifest: Mapping[str, Any]) -> Document:
        """A new job as it will be stored, without what the server itself puts into `metadata`."""
        _expect(manifest.get("apiVersion"), API_VERSION, "apiVersion")
        _expect(manifest.get("kind"), KIND, "kind")
        if "spec" not in manifest:
            raise Refused("spec: Required value")
        document: Document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": _metadata(manifest.get("metadata")),
            "spec": self._spec.admit(manifest["spec"]),
            "status": self._status.admit(self._status.default),
        }
        _check_rules(document, None)
        return document

    def update_spec(self, old: Document, spec: Any) -> Document:
        """`old` with another spec."""
        document = {**old, "spec": self._spec.admit(spec)}
        _check_rules(document, old)
        return document

    def update_status(self, old: Document, status: Any) -> Document:
        """`old` with another status."""
        return {**old, "status": self._status.admit(status)}


class _Part:
    """`spec` or `status`: its schema, compiled once."""

    def __init__(self, name: str, schema: Schema) -> None:
        self._name = name
        self._complete = _completer(schema)
        self._validate = fastjsonschema.compile(_json_schema(schema), use_default=False)
        self._check_lists = _list_checker(schema)
        self.default: Any = schema.get("default")

    def admit(self, value: Any) -> Any:
        """A pruned and defaulted copy of `value`. Raises Refused."""
        value = self._complete(value)
        try:
            self._validate(value, name_prefix=self._name)
        except fastjsonschema.JsonSchemaValueException as error:
            raise Refused(_message(error)) from None
        if self._check_lists:
            self._check_lists(value, self._name)
        return value


@cache
def _read_crd() -> Mapping[str, Any]:
    package = Path(thumbnails_contract.__file__).parent
    # Within an installed package, and beside it in the source tree.
    for folder in (package, package.parent):
        path = folder / "thumbnailjobs.yaml"
        if path.exists():
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            crd: Mapping[str, Any] = yaml.load(path.read_text(), Loader=loader)  # noqa: S506 - both are safe
            return crd
    raise FileNotFoundError("thumbnailjobs.yaml is not installed beside thumbnails_contract")


# ---- metadata ------------------------------------------------------------------------------


def _metadata(metadata: Any) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise Refused("metadata: Required value")
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not is_job_name(name):
        raise Refused(_invalid("metadata.name", name, "must be a lowercase RFC 1123 subdomain"))
    if not isinstance(namespace, str) or not is_label_name(namespace):
        raise Refused(_invalid("metadata.namespace", namespace, "must be a lowercase RFC 1123 label"))
    kept: dict[str, Any] = {"name": name, "namespace": namespace}
    labels = _string_map(metadata.get("labels"), "metadata.labels")
    for key, value in labels.items():
        if not _QUALIFIED_NAME.fullmatch(key):
            raise Refused(_invalid("metadata.labels", key, "the key must be a qualified name"))
        if not _LABEL_VALUE.fullmatch(value):
            raise Refused(_invalid(f"metadata.labels[{key}]", value, "must be a valid label value"))
    annotations = _string_map(metadata.get("annotations"), "metadata.annotations")
    for key in annotations:
        if not _QUALIFIED_NAME.fullmatch(key.lower()):
            raise Refused(_invalid("metadata.annotations", key, "the key must be a qualified name"))
    total = sum(len(text.encode(errors="replace")) for item in annotations.items() for text in item)
    if total > _MAX_ANNOTATION_BYTES:
        raise Refused(f"metadata.annotations: Too long: may not be more than {_MAX_ANNOTATION_BYTES} bytes")
    if labels:
        kept["labels"] = labels
    if annotations:
        kept["annotations"] = annotations
    return kept


def _string_map(value: Any, path: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for item in value.items() for text in item
    ):
        raise Refused(_invalid(path, value, "must be a map of strings"))
    return dict(value)


def is_qualified_name(text: str) -> bool:
    """Whether `text` may be the key of a label."""
    return _QUALIFIED_NAME.fullmatch(text) is not None


def _expect(value: Any, wanted: str, path: str) -> None:
    if value != wanted:
        raise Refused(_invalid(path, value, f"must be {wanted}"))


# ---- pruning and defaulting ----------------------------------------------------------------


def _completer(schema: Schema) -> Callable[[Any], Any]:
    """A function that copies a value without unknown fields and with defaults.

    As apiextensions-apiserver does: a null is dropped (no field of ours is nullable), and defaults are
    themselves completed. Values of a wrong type are left to validation.
    """
    if schema.get("type") == "array":
        complete_item = _completer(schema["items"])
        return lambda value: [complete_item(item) for item in value] if isinstance(value, list) else value
    if schema.get("type") != "object":
        return lambda value: value
    fields = {name: _completer(field) for name, field in schema.get("properties", {}).items()}
    # Completed anew for each document, so that no two share a mutable default.
    defaults = {
        name: field["default"] for name, field in schema.get("properties", {}).items() if "default" in field
    }

    def complete(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kept = {
            name: fields[name](item) for name, item in value.items() if name in fields and item is not None
        }
        for name, default in defaults.items():
            if name not in kept:
                kept[name] = fields[name](default)
        return kept

    return complete


# ---- validation ----------------------------------------------------------------------------


def _json_schema(schema: Schema) -> dict[str, Any]:
    """The JSON schema of an OpenAPI v3 one: without extensions, integer formats as bounds."""
    plain: dict[str, Any] = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-") and key not in {"description", "default"}
    }
    if "properties" in plain:
        plain["properties"] = {name: _json_schema(field) for name, field in plain["properties"].items()}
    if "items" in plain:
        plain["items"] = _json_schema(plain["items"])
    if bits := _INTEGER_BITS.get(plain.get("format", "")):
        del plain["format"]
        plain["minimum"] = max(plain.get("minimum", -(1 << bits)), -(1 << (bits - 1)))
        plain["maximum"] = min(plain.get("maximum", 1 << bits), (1 << (bits - 1)) - 1)
    return plain


def _list_checker(schema: Schema) -> Callable[[Any, str], None] | None:
    """A function that refuses duplicates in lists of the types map and set; None if there are none."""
    kind = schema.get("type")
    if kind == "object":
        fields = {name: _list_checker(field) for name, field in schema.get("properties", {}).items()}
        checked = {name: check for name, check in fields.items() if check}
        return (lambda value, path: _check_fields(checked, value, path)) if checked else None
    if kind != "array":
        return None
    check_item = _list_checker(schema["items"])
    list_type = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys", ()) if list_type == "map" else None
    unique = list_type in {"map", "set"}

    def check(value: Any, path: str) -> None:
        seen: set[Any] = set()
        for index, item in enumerate(value):
            if unique:
                identity = item if keys is None else tuple(item.get(key) for key in keys)
                if identity in seen:
                    shown = item if keys is None else {key: item.get(key) for key in keys}
                    raise Refused(f"{path}[{index}]: Duplicate value: {_shown(shown)}")
                seen.add(identity)
            if check_item:
                check_item(item, f"{path}[{index}]")

    return check if unique or check_item else None


def _check_fields(checks: Mapping[str, Callable[[Any, str], None]], value: Any, path: str) -> None:
    for name, check in checks.items():
        if name in value:
            check(value[name], f"{path}.{name}")


def _check_rules(document: Document, old: Document | None) -> None:
    broken = [
        f"{violation.path}: Invalid value: {violation.message}" for violation in violations(document, old)
    ]
    if broken:
        raise Refused(", ".join(broken))


# ---- messages ------------------------------------------------------------------------------


def _message(error: fastjsonschema.JsonSchemaValueException) -> str:
    """In the words of an API server: `spec.outputs[0].width: Invalid value: 0: should be ...`."""
    path, rule, wanted = error.name or "", error.rule or "", error.rule_definition
    if rule == "required":
        missing = next((name for name in wanted if name not in error.value), "")
        return f"{path}.{missing}: Required value"
    if rule == "enum":
        choices = ", ".join(_shown(choice) for choice in wanted)
        return f"{path}: Unsupported value: {_shown(error.value)}: supported values: {choices}"
    explanations = {
        "type": f"must be of type {wanted}",
        "minimum": f"should be greater than or equal to {wanted}",
        "maximum": f"should be less than or equal to {wanted}",
        "minLength": f"should be at least {wanted} chars long",
        "maxLength": f"may not be more than {wanted} chars long",
        "minItems": f"should have at least {wanted} items",
        "maxItems": f"must have at most {wanted} items",
        "pattern": f"should match '{wanted}'",
        "format": f"must be a valid {wanted}",
    }
    return _invalid(path, error.value, explanations.get(rule, f"breaks the rule {rule}"))


def _invalid(path: str, value: Any, explanation: str) -> str:
    return f"{path}: Invalid value: {_shown(value)}: {explanation}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."
