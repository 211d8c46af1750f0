"""The CRD and `thumbnails_contract` say the same, field by field and word by word."""

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from typing import Any

import pytest

from thumbnails_contract import names, spec, status
from thumbnails_contract.errors import error_classes
from thumbnails_contract.spec import (
    Batch,
    BatchWebhooks,
    Fit,
    Format,
    Metadata,
    Output,
    Position,
    Priority,
    Spec,
    Webhook,
)
from thumbnails_contract.status import (
    BatchFacts,
    Condition,
    ConditionType,
    DeliveryFacts,
    ErrorFacts,
    OutputFacts,
    Phase,
    SourceFacts,
    Status,
)
from thumbnails_contract.timestamps import parse_time

NOW = parse_time("2026-11-24T05:45:54Z")

FULL_SPEC = Spec(
    object_key="sources/ns/a.jpg",
    account="acme",
    outputs=(Output(name="x", width=1, height=2, background="#000000", quality=80),),
    batch=Batch("b", 0, 1, 1, BatchWebhooks.ONCE),
    webhook=Webhook("https://example.com/", "secret"),
    ttl_seconds_after_finished=60,
)
FULL_STATUS = Status(
    conditions=(Condition("Complete", True, "Rendered", "done", NOW, 1),),
    observed_generation=1,
    source=SourceFacts("jpeg", 1, 1, 1, 1, "00"),
    outputs=(OutputFacts("x", "auto", "thumbnails/k", 1, 1, 1, "image/jpeg", "e", 1, "hash"),),
    worker_job="w",
    attempts=1,
    start_time=NOW,
    completion_time=NOW,
    error=ErrorFacts("CorruptSource", "it is damaged"),
    webhook=DeliveryFacts(1, NOW),
    batch=BatchFacts(1, 2, 3, NOW, DeliveryFacts(1, NOW)),
)


def test_names(crd: dict[str, Any], version: dict[str, Any]) -> None:
    assert crd["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert crd["spec"]["group"] == names.GROUP
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"] == {
        "kind": names.KIND,
        "listKind": f"{names.KIND}List",
        "plural": names.PLURAL,
        "singular": names.SINGULAR,
        "shortNames": [names.SHORT_NAME],
    }
    assert (version["name"], version["served"], version["storage"]) == (names.VERSION, True, True)
    assert version["subresources"] == {"status": {}}


def properties(schema: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        schema = schema["properties"][name]
        schema = schema.get("items", schema)
    found: dict[str, Any] = schema["properties"]
    return found


def test_every_field_of_the_spec_is_in_both(schema: dict[str, Any]) -> None:
    manifest = FULL_SPEC.to_manifest()
    assert set(manifest) == set(properties(schema, "spec"))
    assert set(manifest["outputs"][0]) == set(properties(schema, "spec", "outputs"))
    assert set(manifest["batch"]) == set(properties(schema, "spec", "batch"))
    assert set(manifest["webhook"]) == set(properties(schema, "spec", "webhook"))
    assert Spec.parse(manifest) == FULL_SPEC


def test_every_field_of_the_status_is_in_both(schema: dict[str, Any]) -> None:
    manifest = FULL_STATUS.to_manifest()
    assert set(manifest) == set(properties(schema, "status"))
    for name in ("conditions", "outputs"):
        assert set(manifest[name][0]) == set(properties(schema, "status", name))
    for name in ("source", "error", "webhook", "batch"):
        assert set(manifest[name]) == set(properties(schema, "status", name))
    assert set(manifest["batch"]["webhook"]) == set(properties(schema, "status", "batch", "webhook"))
    assert Status.parse(manifest) == FULL_STATUS


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (Fit, ("spec", "outputs", "fit")),
        (Position, ("spec", "outputs", "position")),
        (Metadata, ("spec", "outputs", "metadata")),
        (Priority, ("spec", "priority")),
        (BatchWebhooks, ("spec", "batch", "webhooks")),
        (Phase, ("status", "phase")),
    ],
)
def test_words(schema: dict[str, Any], words: type[StrEnum], path: tuple[str, ...]) -> None:
    assert [word.value for word in words] == properties(schema, *path[:-1])[path[-1]]["enum"]


def test_formats(schema: dict[str, Any]) -> None:
    formats = properties(schema, "spec", "outputs")["formats"]
    assert [word.value for word in Format] == formats["items"]["enum"]
    assert formats["maxItems"] == len(Format)


def test_defaults_of_the_spec(schema: dict[str, Any]) -> None:
    """What the API server fills in is what the dataclasses have as defaults."""
    fields = properties(schema, "spec")
    wanted = Spec(object_key="sources/ns/a").to_manifest()
    for name in ("account", "priority", "suspend", "cancel"):
        assert fields[name]["default"] == wanted[name]
    output_fields = properties(schema, "spec", "outputs")
    (default_output,) = fields["outputs"]["default"]
    filled = {name: field["default"] for name, field in output_fields.items() if "default" in field}
    assert default_output | filled == wanted["outputs"][0]
    assert fields["outputs"]["maxItems"] == spec.MAX_OUTPUTS
    assert output_fields["width"]["maximum"] == output_fields["height"]["maximum"] == spec.MAX_SIDE_PIXELS


def test_a_new_job_is_pending(schema: dict[str, Any]) -> None:
    assert schema["properties"]["status"]["default"] == Status().to_manifest() == {"phase": "Pending"}


def test_patterns_agree_with_the_names(schema: dict[str, Any]) -> None:
    pattern = re.compile(properties(schema, "spec")["account"]["pattern"])
    for text in ("a", "a-b", "0", "", "-a", "a-", "A", "a.b", "ä", "a\n"):
        # `$` of RE2 is the very end; Python's also matches before a last newline.
        assert names.is_label_name(text) == bool(pattern.search(text) and not text.endswith("\n"))


def test_condition_types_and_reasons_fit_their_patterns(schema: dict[str, Any]) -> None:
    condition = properties(schema, "status", "conditions")
    reasons = [*status.Reason, *error_classes()]
    assert all(re.search(condition["reason"]["pattern"], reason) for reason in reasons)
    assert all(re.search(condition["type"]["pattern"], word) for word in ConditionType)
    error = properties(schema, "status", "error")
    assert all(len(reason) <= error["reason"]["maxLength"] for reason in reasons)


def test_outputs_in_status_have_room_for_every_format_of_every_output(schema: dict[str, Any]) -> None:
    assert properties(schema, "status")["outputs"]["maxItems"] == spec.MAX_OUTPUTS * len(Format)


def fields_of(schema: dict[str, Any], at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from fields_of(inner, f"{at}.{name}")
    if "items" in schema:
        yield from fields_of(schema["items"], f"{at}[]")


def test_strings_and_lists_are_bounded(schema: dict[str, Any]) -> None:
    """Unbounded ones make CEL's cost estimate refuse the CRD, and let one object fill etcd."""
    both = (fields_of(schema["properties"][name], name) for name in ("spec", "status"))
    for at, field in chain.from_iterable(both):
        if field.get("type") == "string" and not {"enum", "format"} & field.keys():
            assert "maxLength" in field, at
        if field.get("type") == "array":
            assert "maxItems" in field, at


def test_numbers_of_the_spec_are_bounded(schema: dict[str, Any]) -> None:
    bounds = {
        at: (field.get("minimum"), field.get("maximum"))
        for at, field in fields_of(schema["properties"]["spec"], "spec")
        if field.get("type") == "integer"
    }
    assert bounds == {
        "spec.outputs[].width": (1, 16_384),
        "spec.outputs[].height": (1, 16_384),
        "spec.outputs[].quality": (1, 100),
        "spec.batch.index": (0, None),
        "spec.batch.size": (1, None),
        "spec.batch.jobs": (1, None),
        "spec.ttlSecondsAfterFinished": (0, None),
    }


def test_numbers_of_the_status_are_not_negative(schema: dict[str, Any]) -> None:
    for at, field in fields_of(schema["properties"]["status"], "status"):
        if field.get("type") == "integer":
            assert field.get("minimum", -1) >= 0, at


def test_kubectl_explain_reads_like_documentation(schema: dict[str, Any]) -> None:
    for at, field in fields_of(schema["properties"]["spec"], "spec"):
        if not at.endswith("[]"):
            assert field.get("description", "").endswith("."), at


def test_columns_and_selectable_fields_are_fields(schema: dict[str, Any], version: dict[str, Any]) -> None:
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += [field["jsonPath"] for field in version["selectableFields"]]
    known = {f".{at}" for name in ("spec", "status") for at, _ in fields_of(schema["properties"][name], name)}
    assert set(paths) - known == {".metadata.creationTimestamp"}
