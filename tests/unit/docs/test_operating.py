"""docs/operating.md explains every reason that a condition can have, and draws its table of outages."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from thumbnails_contract.errors import (
    RenderError,
    SourceError,
    ThumbnailsError,
    Unavailable,
    error_classes,
)
from thumbnails_contract.status import Reason
from thumbnails_operator.pool import TROUBLES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operating.md"
OUTAGES = ROOT / "docs" / "outages.json"
STARTS = ("Queued", "Suspended", "WorkersStarting", "WaitingForEqualJob")
# Said to whoever uploads, and never of a job.
OF_REQUESTS = {"Overloaded"}


def explained() -> dict[str, list[tuple[str, str]]]:
    """(reason, what to do) by the condition that has it."""
    found: dict[str, list[tuple[str, str]]] = {}
    table = PAGE.read_text().partition("<!-- begin: reasons -->")[2].partition("<!-- end: reasons -->")[0]
    for row in re.findall(r"^\| (\S+) \| `(\w+)` \| [^|]+\. \| ([^|]*)\|$", table, re.MULTILINE):
        condition, reason, todo = row
        found.setdefault(condition, []).append((reason, todo.strip()))
    assert sum(map(len, found.values())) == table.count("\n") - 3, "a row is not well-formed"
    return found


def of_tree(*roots: type[ThumbnailsError]) -> set[str]:
    return {
        reason
        for reason, cls in error_classes().items()
        if issubclass(cls, roots) and cls.__module__.startswith("thumbnails_contract")
    }


def test_every_reason_of_every_condition_is_explained() -> None:
    reasons = {condition: {reason for reason, _ in rows} for condition, rows in explained().items()}
    assert reasons == {
        "Started=False": {*STARTS} | TROUBLES | (of_tree(Unavailable) - OF_REQUESTS),
        "Started=True": {"Rendering", "Retrying"},
        "Complete": {"Rendered", "Cached"},
        "Failed": of_tree(SourceError, RenderError) | {"InternalError"},
        "WebhookDelivered": {"Delivered"},
        "WebhookDelivered=False": {
            *("DeliveryRetrying", "DeliveryFailed", "ReceiverGone", "ForbiddenAddress")
        },
    }
    assert {reason.value for reason in Reason} <= set().union(*reasons.values())


def test_whatever_can_be_mended_says_how() -> None:
    for condition, rows in explained().items():
        if condition.startswith("Started"):
            assert all(todo for _, todo in rows), condition


def test_settings_that_are_named_are_the_charts() -> None:
    schema = json.loads((ROOT / "charts" / "thumbnails" / "values.schema.json").read_text())
    known = schema["properties"]["settings"]["properties"].keys()
    named = set(re.findall(r"`settings\.(\w+)", PAGE.read_text()))
    assert named
    assert named <= known


@pytest.fixture
def drawer() -> Any:
    spec = importlib.util.spec_from_file_location("outages_writer", ROOT / "hack" / "outages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_outages_is_what_was_measured(drawer: Any) -> None:
    page, rows = PAGE.read_text(), json.loads(OUTAGES.read_text())
    assert len(rows) > 10
    assert drawer.draw(page, rows) == page, "run hack/outages.py"


def test_an_outage_is_a_row(drawer: Any) -> None:
    row = {
        "name": "the moon is away",
        "outage_seconds": 20.04,
        "uploads": 80,
        "setbacks": {"503": 4, "connection": 1},
        "uploads_again_seconds": 1.6,
        "jobs_ended_seconds": 3.2,
        "reasons": ["ObjectStoreUnavailable"],
        "warnings": [],
    }
    quiet = {**row, "name": "nothing", "setbacks": {}, "reasons": []}
    assert drawer.table([row, quiet]).splitlines()[2:] == [
        "| the moon is away | 20 s | 4 x 503, 1 x connection | 2 s | 3 s | `ObjectStoreUnavailable` | - |",
        "| nothing | 20 s | - | never refused | 3 s | - | - |",
    ]
