"""Makes the schemas that kubeconform checks manifests with, from sources that Go modules pin; and Compose's.

Kubernetes' kinds come from the OpenAPI document in its own module, of the version that `make cluster`
builds; those of the Prometheus Operator from the CustomResourceDefinitions in its module. Both are made
strict: a field that nobody knows is an error, as it is with `kubectl apply --validate=strict`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hack.cluster import build, pins
from hack.cluster.layout import SOURCES
from hack.cluster.progress import Progress
from hack.cluster.shell import run

Schema = dict[str, Any]
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
PROMETHEUS_OPERATOR_VERSION = "v0.85.0"
COMPOSE = "github.com/compose-spec/compose-go/v2"
COMPOSE_VERSION = "v2.16.2"
COMPOSE_FILE = "compose-spec.json"
_SWAGGER = Path("api") / "openapi-spec" / "swagger.json"
_MONITORING = Path("example") / "prometheus-operator-crd"
_REFERENCE = "#/definitions/"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


class _Loader(yaml.SafeLoader):
    """PyYAML knows the tag of a lone `=`, an operator in those definitions, but not what to make of it."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def folder_of(cache: Path) -> Path:
    """Where the schemas are; another name when they would be others."""
    mark = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return cache / f"schemas-{_kubernetes()}-{mark}"


def make(cache: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """The folder, from the cache or made now."""
    target = folder_of(cache)
    if target.is_dir():
        return target
    go = build.find_go(pins.read_go_module(SOURCES / "go").go_version, cache, environment, progress)
    kubernetes = _module(go, pins.KUBERNETES, _kubernetes(), environment)
    monitoring = _module(go, PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_VERSION, environment)
    found = dict(openapi_schemas(json.loads((kubernetes / _SWAGGER).read_bytes())))
    for path in sorted((monitoring / _MONITORING).glob("*.yaml")):
        found.update(crd_schemas(yaml.load(path.read_text("utf-8"), Loader=_Loader)))
    with tempfile.TemporaryDirectory(dir=cache, prefix="schemas.") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for name, schema in found.items():
            (made / name).write_text(json.dumps(schema), "utf-8")
        compose = _module(go, COMPOSE, COMPOSE_VERSION, environment)
        (made / COMPOSE_FILE).write_bytes((compose / "schema" / COMPOSE_FILE).read_bytes())
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    progress.note(f"{len(found)} kinds")
    return target


def file_name(group: str, version: str, kind: str) -> str:
    """As kubeconform's `{{.ResourceKind}}{{.KindSuffix}}.json` names it: of a group its first word alone."""
    words = [kind.lower(), *([group.split(".", 1)[0]] if group else []), version]
    return "-".join(words) + ".json"


def openapi_schemas(document: Schema) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each kind of an OpenAPI 2 document of a Kubernetes API server."""
    definitions = {name: _strict(schema, name) for name, schema in document["definitions"].items()}
    for name, schema in document["definitions"].items():
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            if not {"apiVersion", "kind", "metadata"} <= schema.get("properties", {}).keys():
                continue
            group, version, kind = gvk["group"], gvk["version"], gvk["kind"]
            own = dict(definitions[name])
            own["definitions"] = {used: definitions[used] for used in _closure(name, definitions)}
            yield file_name(group, version, kind), _of_kind(own, group, version, kind)


def crd_schemas(crd: Schema) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each version of a CustomResourceDefinition."""
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    for version in crd["spec"]["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"], kind)
        schema["properties"]["metadata"] = {"type": "object"}
        yield (
            file_name(group, version["name"], kind),
            _of_kind(schema, group, version["name"], kind),
        )


def _of_kind(schema: Schema, group: str, version: str, kind: str) -> Schema:
    names = {
        "apiVersion": {"const": f"{group}/{version}" if group else version},
        "kind": {"const": kind},
    }
    required = sorted({*schema.get("required", []), *names})
    return {**schema, "properties": {**schema["properties"], **names}, "required": required}


def _strict(schema: Any, name: str = "") -> Any:
    """The schema with unknown fields refused, and with what OpenAPI leaves to `format`."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if name == _QUANTITY:
        return {"type": ["number", "string"]}
    # Descriptions, and formats that are Go's names for sizes of numbers.
    kept = {
        key: value
        for key, value in schema.items()
        if key not in ("description", "format", "default") and not key.startswith("x-kubernetes-")
    }
    for key in ("properties", "definitions"):
        if key in kept:
            kept[key] = {field: _strict(value) for field, value in kept[key].items()}
    for key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
        if key in kept:
            kept[key] = _strict(kept[key])
    if "properties" in kept and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("additionalProperties", False)
    return kept


def _closure(name: str, definitions: Mapping[str, Any]) -> set[str]:
    """The definitions that this one refers to, and those that they do."""
    found: set[str] = set()
    new = set(_references(definitions[name]))
    while new:
        found |= new
        new = {used for one in new for used in _references(definitions[one])} - found
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(_REFERENCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _kubernetes() -> str:
    return pins.read_go_module(SOURCES / "go").version(pins.KUBERNETES)


def _module(go: Path, module: str, version: str, environment: Mapping[str, str]) -> Path:
    """A Go module's sources, from Go's own cache or from the proxy; their checksum is looked up by Go."""
    variables = {**environment, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=mod"}
    with tempfile.TemporaryDirectory() as scratch:
        said = run(
            go, "mod", "download", "-json", f"{module}@{version}", environment=variables, folder=Path(scratch)
        )
    return Path(json.loads(said)["Dir"])
