"""Every constraint of the CRD has documents that a real API server takes, and others that it refuses.

The tables below hold, for each constraint of each field, the values on both sides of it. A constraint
that is in the CRD but not in the tables, or the other way round, fails the last test.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

MAX_INT32, MAX_INT64 = 2**31 - 1, 2**63 - 1

SPEC: dict[str, Any] = {
    "source": {"objectKey": "sources/ns/a.jpg"},
    "outputs": [{"name": "a", "width": 1}],
    "batch": {"id": "b", "index": 0, "size": 1},
    "webhook": {"url": "https://example.com", "secretRef": {"name": "s"}},
}
STATUS: dict[str, Any] = {
    "conditions": [
        {
            "type": "Started",
            "status": "True",
            "reason": "Rendering",
            "message": "",
            "lastTransitionTime": "2026-11-24T05:45:54Z",
        }
    ],
    "source": {"format": "jpeg", "width": 1, "height": 1, "frames": 1, "bytes": 1},
    "outputs": [
        {
            "name": "a",
            "format": "auto",
            "objectKey": "thumbnails/x",
            "width": 1,
            "height": 1,
            "bytes": 1,
            "contentType": "image/jpeg",
            "etag": "e",
        }
    ],
    "error": {"reason": "CorruptSource", "message": "It is damaged."},
    "webhook": {"attempts": 1},
    "batch": {
        "complete": 1,
        "failed": 0,
        "cancelled": 0,
        "completionTime": "2026-11-24T05:45:54Z",
        "webhook": {"attempts": 1},
    },
}

LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
LABEL_GOOD, LABEL_BAD = ("a", "0", "a-b", "a" * 63), ("A", "-a", "a-", "a.b", "ä", "a b", "a\n")


def texts(least: int, most: int, letter: str = "x") -> list[tuple[str, list[Any], list[Any]]]:
    return [
        ("minLength", [letter * least], [""] if least == 1 else [letter * (least - 1)]),
        ("maxLength", [letter * most], [letter * (most + 1)]),
    ]


def at_most(most: int) -> list[tuple[str, list[Any], list[Any]]]:
    return [("maxLength", ["", "x" * most], ["x" * (most + 1)])]


def label(least: int = 1, most: int = 63) -> list[tuple[str, list[Any], list[Any]]]:
    return [*texts(least, most), ("pattern", list(LABEL_GOOD), list(LABEL_BAD))]


def number(
    least: int | None, most: int | None = None, *, bits: int = 32
) -> list[tuple[str, list[Any], list[Any]]]:
    top = MAX_INT32 if bits == 32 else MAX_INT64
    rows: list[tuple[str, list[Any], list[Any]]] = [
        ("type", [least or 0], ["1", 1.5, True, [1]]),
    ]
    if most is None:
        rows.append(("format", [top], [top + 1]))
    else:
        rows.append(("format", [most], [MAX_INT32 + 1]))
        rows.append(("maximum", [most], [most + 1]))
    if least is not None:
        rows.append(("minimum", [least], [least - 1]))
    return rows


def words(*allowed: str) -> list[tuple[str, list[Any], list[Any]]]:
    return [("enum", list(allowed), ["", allowed[0].swapcase(), f"{allowed[0]} "])]


def moment() -> list[tuple[str, list[Any], list[Any]]]:
    return [
        ("format", ["2026-11-24T05:45:54Z", "2026-11-24T05:45:54.123+01:00"], ["yesterday", "2026-11-24", ""])
    ]


BOOLEAN: list[tuple[str, list[Any], list[Any]]] = [("type", [True, False], ["true", 0])]

# Where (as the API server writes it) -> rows of constraint, accepted values, refused values.
FIELDS: dict[str, list[tuple[str, list[Any], list[Any]]]] = {
    "spec.account": label(),
    "spec.source.objectKey": [
        ("minLength", ["sources/x"], ["sources/"]),
        ("maxLength", ["sources/" + "x" * 1016], ["sources/" + "x" * 1017]),
        ("pattern", ["sources/ns/ä b.jpg"], ["thumbnails/a", "sources//a", "/sources/ns/a", "xsources/a"]),
    ],
    "spec.outputs": [
        ("minItems", [[{"name": "a", "width": 1}]], [[]]),
        (
            "maxItems",
            [[{"name": f"o{i}", "width": 1} for i in range(8)]],
            [[{"name": f"o{i}", "width": 1} for i in range(9)]],
        ),
        (
            "x-kubernetes-list-type",
            [[{"name": "a", "width": 1}, {"name": "b", "width": 1}]],
            [[{"name": "a", "width": 1}, {"name": "a", "width": 2}]],
        ),
    ],
    "spec.outputs[0]": [
        (
            "rule: at least one of width and height is needed",
            [{"name": "a", "width": 1}, {"name": "a", "height": 1}, {"name": "a", "width": 1, "height": 1}],
            [{"name": "a"}, {"name": "a", "fit": "cover"}],
        )
    ],
    "spec.outputs[0].name": label(),
    "spec.outputs[0].width": number(1, 16_384),
    "spec.outputs[0].height": number(1, 16_384),
    "spec.outputs[0].fit": words("cover", "contain", "inside", "outside", "fill"),
    "spec.outputs[0].position": words(
        "center",
        "top",
        "top-right",
        "right",
        "bottom-right",
        "bottom",
        "bottom-left",
        "left",
        "top-left",
        "attention",
    ),
    "spec.outputs[0].background": [
        ("maxLength", ["transparent"], ["#0000000000ff"]),
        (
            "pattern",
            ["#00ff7f", "#00ff7f80", "transparent"],
            ["", "red", "#0f0", "#00FF7F", "#00ff7", "00ff7f", "#00ff7f\n"],
        ),
    ],
    "spec.outputs[0].formats": [
        ("minItems", [["auto"]], [[]]),
        ("maxItems", [["auto", "jpeg", "png", "webp", "avif", "gif", "tiff"]], [["auto"] * 8]),
        ("x-kubernetes-list-type", [["jpeg", "webp"]], [["jpeg", "jpeg"]]),
    ],
    "spec.outputs[0].formats[0]": words("auto", "jpeg", "png", "webp", "avif", "gif", "tiff"),
    "spec.outputs[0].quality": number(1, 100),
    "spec.outputs[0].animated": BOOLEAN,
    "spec.outputs[0].withoutEnlargement": BOOLEAN,
    "spec.outputs[0].metadata": words("strip", "keep"),
    "spec.batch": [
        (
            "rule: index must be less than size",
            [{"id": "b", "index": 0, "size": 1}, {"id": "b", "index": 6, "size": 7}],
            [{"id": "b", "index": 1, "size": 1}, {"id": "b", "index": 8, "size": 7}],
        ),
        (
            "rule: jobs must not be more than size",
            [{"id": "b", "index": 0, "size": 2, "jobs": 1}, {"id": "b", "index": 0, "size": 2, "jobs": 2}],
            [{"id": "b", "index": 0, "size": 2, "jobs": 3}],
        ),
    ],
    "spec.batch.id": label(),
    "spec.batch.index": [
        ("type", [0], ["0", 0.5]),
        ("format", [0], [MAX_INT32 + 1]),
        ("minimum", [0], [-1]),
    ],
    "spec.batch.size": number(1),
    "spec.batch.jobs": number(1),
    "spec.batch.webhooks": words("each", "once", "both"),
    "spec.webhook.url": [
        ("minLength", ["http://a"], ["http://"]),
        ("maxLength", ["https://" + "x" * 2040], ["https://" + "x" * 2041]),
        (
            "pattern",
            ["http://10.0.0.1:8080/a?b#c", "https://example.com"],
            ["ftp://example.com", "HTTPS://example.com", "https:///path", "https://?a=b", "//example.com"],
        ),
    ],
    "spec.webhook.secretRef.name": [
        *texts(1, 253),
        ("pattern", ["a", "a.b", "a-b.c-d"], ["A", ".a", "a.", "a..b", "a/b", "a_b"]),
    ],
    "spec.priority": words("interactive", "bulk"),
    "spec.suspend": BOOLEAN,
    "spec.cancel": BOOLEAN,
    "spec.ttlSecondsAfterFinished": number(0),
    "status.observedGeneration": number(0, bits=64),
    "status.phase": words("Pending", "Running", "Succeeded", "Failed", "Cancelled"),
    "status.conditions": [
        (
            "maxItems",
            [[{**STATUS["conditions"][0], "type": f"T{i}"} for i in range(8)]],
            [[{**STATUS["conditions"][0], "type": f"T{i}"} for i in range(9)]],
        ),
        (
            "x-kubernetes-list-type",
            [[STATUS["conditions"][0], {**STATUS["conditions"][0], "type": "Complete"}]],
            [[STATUS["conditions"][0], {**STATUS["conditions"][0], "status": "False"}]],
        ),
    ],
    "status.conditions[0].type": [
        *texts(1, 316),
        ("pattern", ["Complete", "example.com/Ready_2"], ["1st", "-a", "two words", "a\n"]),
    ],
    "status.conditions[0].status": words("True", "False", "Unknown"),
    "status.conditions[0].reason": [
        *texts(1, 1024),
        ("pattern", ["Rendered", "A", "A_b,c:9"], ["1st", "two words", "Trailing:", "a-b"]),
    ],
    "status.conditions[0].message": at_most(32_768),
    "status.conditions[0].lastTransitionTime": moment(),
    "status.conditions[0].observedGeneration": number(0, bits=64),
    "status.source.format": at_most(16),
    "status.source.width": number(1),
    "status.source.height": number(1),
    "status.source.frames": number(1),
    "status.source.bytes": number(0, bits=64),
    "status.source.sha256": at_most(64),
    "status.outputs": [
        (
            "maxItems",
            [[{**STATUS["outputs"][0], "name": f"o{i}"} for i in range(56)]],
            [[{**STATUS["outputs"][0], "name": f"o{i}"} for i in range(57)]],
        ),
        (
            "x-kubernetes-list-type",
            [[STATUS["outputs"][0], {**STATUS["outputs"][0], "format": "webp"}]],
            [[STATUS["outputs"][0], {**STATUS["outputs"][0], "width": 2}]],
        ),
    ],
    "status.outputs[0].name": at_most(63),
    "status.outputs[0].format": at_most(16),
    "status.outputs[0].objectKey": at_most(1024),
    "status.outputs[0].width": number(1),
    "status.outputs[0].height": number(1),
    "status.outputs[0].frames": number(1),
    "status.outputs[0].bytes": number(0, bits=64),
    "status.outputs[0].contentType": at_most(64),
    "status.outputs[0].etag": at_most(128),
    "status.outputs[0].thumbhash": at_most(64),
    "status.outputsSummary": at_most(2048),
    "status.workerJob": at_most(253),
    "status.attempts": number(0),
    "status.startTime": moment(),
    "status.completionTime": moment(),
    "status.duration": at_most(32),
    "status.error.reason": at_most(64),
    "status.error.message": at_most(1024),
    "status.webhook.attempts": number(0),
    "status.webhook.nextAttemptTime": moment(),
    "status.batch.complete": number(0),
    "status.batch.failed": number(0),
    "status.batch.cancelled": number(0),
    "status.batch.completionTime": moment(),
    "status.batch.webhook.attempts": number(0),
    "status.batch.webhook.nextAttemptTime": moment(),
}

REQUIRED = {
    "spec": ["source"],
    "spec.source": ["objectKey"],
    "spec.outputs[0]": ["name"],
    "spec.batch": ["id", "index", "size"],
    "spec.webhook": ["url"],
    "spec.webhook.secretRef": ["name"],
    "status.conditions[0]": ["type", "status", "reason", "message", "lastTransitionTime"],
    "status.source": ["format", "width", "height", "frames", "bytes"],
    "status.outputs[0]": [
        "name",
        "format",
        "objectKey",
        "width",
        "height",
        "bytes",
        "contentType",
        "etag",
    ],
    "status.error": ["reason", "message"],
    "status.webhook": ["attempts"],
    "status.batch": ["complete", "failed", "cancelled", "completionTime"],
    "status.batch.webhook": ["attempts"],
}
# Rules of changes; test_immutability.py has their tables.
TRANSITIONS = 5


def steps(path: str) -> list[str | int]:
    """`spec.outputs[0].width` -> ["spec", "outputs", 0, "width"]."""
    found: list[str | int] = []
    for word in path.split("."):
        name, _, index = word.partition("[")
        found.append(name)
        if index:
            found.append(int(index[:-1]))
    return found


def changed(path: str, value: Any) -> dict[str, Any]:
    """Spec and status that are right, with `value` at `path`."""
    document: Any = {"spec": copy.deepcopy(SPEC), "status": copy.deepcopy(STATUS)}
    *parents, last = steps(path)
    at = document
    for step in parents:
        if isinstance(step, str) and step not in at:
            at[step] = [None] if step == "formats" else {}
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    if path == "spec.batch.size" and isinstance(value, int):
        document["spec"]["batch"]["index"] = 0
    if path == "spec.batch.jobs":
        document["spec"]["batch"]["size"] = MAX_INT32
    found: dict[str, Any] = document
    return found


def ask(jobs: Any, path: str, document: dict[str, Any]) -> Any:
    """What the API server says of it; nothing is stored."""
    if path.startswith("spec"):
        return jobs.create(document["spec"], "dry", dry_run=True)
    return jobs.patch_status(document["status"], dry_run=True)


@pytest.fixture
def job(jobs: Any) -> Any:
    """A job to have a status."""
    assert jobs.create(SPEC).accepted
    return jobs


def test_the_documents_that_all_rows_start_from_are_right(job: Any) -> None:
    assert job.patch_status(STATUS).accepted


@pytest.mark.parametrize("path", list(FIELDS))
def test_values_on_both_sides_of_each_constraint(job: Any, path: str) -> None:
    for constraint, accepted, refused in FIELDS[path]:
        for value in accepted:
            answer = ask(job, path, changed(path, value))
            assert answer.accepted, (constraint, value, answer.causes)
        for value in refused:
            answer = ask(job, path, changed(path, value))
            assert answer.speaks_of(path), (constraint, value, answer)


@pytest.mark.parametrize(
    "path", [f"{parent}.{name}" for parent, required in REQUIRED.items() for name in required]
)
def test_required_fields(job: Any, path: str) -> None:
    answer = ask(job, path, changed(path, None))
    assert answer.blames(path), answer
    assert "Required" in dict(answer.causes)[path]


def test_every_optional_field_may_be_left_out(job: Any) -> None:
    assert job.create({"source": SPEC["source"]}, "small", dry_run=True).accepted
    assert job.patch_status({}).accepted


def constraints(schema: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """(path, constraint) for everything that the schema demands; types only where tables have them."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            yield at, f"rule: {rule['message']}"
    checked = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "enum")
    for name in (*checked, "format", "x-kubernetes-list-type"):
        if name in schema:
            yield at, name
    if schema["type"] in {"integer", "boolean"}:
        yield at, "type"
    for name, field in schema.get("properties", {}).items():
        yield from constraints(field, f"{at}.{name}")
    if "items" in schema:
        yield from constraints(schema["items"], f"{at}[0]")


def required(schema: dict[str, Any], at: str) -> Iterator[tuple[str, list[str]]]:
    if "required" in schema:
        yield at, schema["required"]
    for name, field in schema.get("properties", {}).items():
        yield from required(field, f"{at}.{name}")
    if "items" in schema:
        yield from required(schema["items"], f"{at}[0]")


def test_the_tables_are_complete(schema: dict[str, Any]) -> None:
    parts = {name: schema["properties"][name] for name in ("spec", "status")}
    in_crd = {row for name, part in parts.items() for row in constraints(part, name)}
    assert {(path, row[0]) for path, rows in FIELDS.items() for row in rows} == in_crd
    assert dict(row for name, part in parts.items() for row in required(part, name)) == REQUIRED


def test_every_row_has_both_sides() -> None:
    assert all(accepted and refused for rows in FIELDS.values() for _, accepted, refused in rows)


def test_enums_are_accepted_word_by_word(schema: dict[str, Any]) -> None:
    def look(part: dict[str, Any], at: str) -> Iterator[tuple[str, list[str]]]:
        if "enum" in part:
            yield at, part["enum"]
        for name, field in part.get("properties", {}).items():
            yield from look(field, f"{at}.{name}")
        if "items" in part:
            yield from look(part["items"], f"{at}[0]")

    for name in ("spec", "status"):
        for path, allowed in look(schema["properties"][name], name):
            ((_, accepted, _),) = FIELDS[path]
            assert accepted == allowed
