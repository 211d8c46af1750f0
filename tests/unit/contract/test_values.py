"""The small values: errors, patches, timestamps, statuses and messages keep what they are given."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract import wire
from thumbnails_contract.errors import InvalidJob, Unavailable, error_classes
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.spec import Batch, Format, Output, Spec
from thumbnails_contract.status import (
    Condition,
    ErrorFacts,
    Phase,
    SourceFacts,
    Status,
    format_duration,
    set_condition,
    status_patch,
)
from thumbnails_contract.timestamps import format_micro_time, format_time, parse_time

NOW = datetime(2026, 11, 24, 5, 45, 54, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def condition(type_: str, status: bool, reason: str = "Because", at: datetime = NOW) -> Condition:
    return Condition(type_, status, reason, "", at)


# ---- errors


def test_reasons_are_unique_and_every_error_says_what_it_is() -> None:
    classes = error_classes()
    assert len(classes) > 25
    for reason, cls in classes.items():
        assert cls.reason == reason == cls().reason
        assert cls.title and 400 <= cls.status < 600
        assert cls.__doc__


def test_what_is_away_is_worth_a_retry() -> None:
    for cls in error_classes().values():
        if issubclass(cls, Unavailable):
            assert cls.retryable and cls.status == 503 and cls().retry_after_seconds


# ---- merge patches: the table of RFC 7396, appendix A


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


# ---- timestamps


def test_times_are_utc_in_whole_seconds() -> None:
    berlin = timezone(timedelta(hours=1))
    assert format_time(datetime(2026, 11, 24, 6, 45, 54, 999_999, berlin)) == "2026-11-24T05:45:54Z"


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants it
def test_micro_times_come_back(moment: datetime) -> None:
    assert parse_time(format_micro_time(moment)) == moment


@pytest.mark.parametrize("text", ["2026-11-24T05:45:54", "now", ""])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


# ---- conditions and phases


@pytest.mark.parametrize(
    ("conditions", "phase"),
    [
        ([], Phase.PENDING),
        ([condition("Started", False)], Phase.PENDING),
        ([condition("Started", True)], Phase.RUNNING),
        ([condition("Started", True), condition("Complete", True)], Phase.SUCCEEDED),
        ([condition("Started", True), condition("Failed", True)], Phase.FAILED),
        ([condition("Failed", True, "Cancelled")], Phase.CANCELLED),
        ([condition("Complete", True), condition("WebhookDelivered", False)], Phase.SUCCEEDED),
    ],
)
def test_the_phase_is_what_the_conditions_say(conditions: list[Condition], phase: Phase) -> None:
    assert Status(tuple(conditions)).phase is phase


def test_the_transition_time_moves_with_the_status_only() -> None:
    first = set_condition((), condition("Started", False, "Queued"))
    same = set_condition(first, condition("Started", False, "Suspended", LATER))
    assert (same[0].reason, same[0].last_transition_time) == ("Suspended", NOW)
    changed = set_condition(same, condition("Started", True, "Rendering", LATER))
    assert changed[0].last_transition_time == LATER


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0ms"), (0.04, "40ms"), (1.23, "1.2s"), (9.96, "10.0s"), (61.4, "61s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


# ---- status patches


def test_a_patch_has_what_changes_and_nothing_else() -> None:
    old = Status((condition("Started", True),), attempts=1, error=ErrorFacts("A", "b")).to_manifest()
    new = Status((condition("Started", True),), attempts=2, worker_job="w")
    assert status_patch(old, new) == {"attempts": 2, "workerJob": "w", "error": None}


def test_a_duration_is_not_computed_again_from_whole_seconds() -> None:
    exact = Status(start_time=NOW, completion_time=NOW + timedelta(milliseconds=40)).to_manifest()
    assert exact["duration"] == "40ms"
    assert status_patch(exact, Status.parse(exact)) == {}


# ---- documents


def document(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "job",
            "namespace": "ns",
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-24T05:45:54Z",
        },
        "spec": {"source": {"objectKey": "sources/ns/a"}} | spec,
    }


def test_a_bare_document_is_a_pending_job_with_the_default_output() -> None:
    job = ThumbnailJob.parse(document())
    assert (job.key, job.status.phase, job.spec.account) == (JobKey("ns", "job"), Phase.PENDING, "default")
    assert job.spec.outputs == (Output(width=100, height=100),)


@pytest.mark.parametrize(
    "spec",
    [{"source": {}}, {"outputs": [{"name": "a", "fit": "squeeze"}]}, {"outputs": 3}, {"batch": {"id": 1}}],
)
def test_what_this_version_cannot_read_is_an_invalid_job(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        ThumbnailJob.parse(document(**spec))


def test_a_new_manifest_is_selectable_by_account_and_batch() -> None:
    spec = Spec("sources/ns/a", account="acme", batch=Batch("b1", 0, 2))
    manifest = new_manifest(JobKey("ns", "job"), spec, {"thumbnails.dev/file-name": "a.jpg"})
    assert manifest["metadata"] == {
        "name": "job",
        "namespace": "ns",
        "labels": {"thumbnails.dev/account": "acme", "thumbnails.dev/batch": "b1"},
        "annotations": {"thumbnails.dev/file-name": "a.jpg"},
    }
    assert Spec.parse(manifest["spec"]) == spec


# ---- messages of the exchange

SOURCE = SourceFacts("jpeg", 2725, 2225, 1, 829_183)
ITEM = wire.Item(
    lease="l1",
    namespace="ns",
    job_name="job",
    account="acme",
    source_url="http://store/a?sig",
    outputs=(
        wire.ItemOutput(Output(name="a", width=1), Format.WEBP, "thumbnails/k", wire.Upload("u", {"f": "v"})),
    ),
    limits=wire.Limits(pixels=5),
    traceparent="00-1-2-3",
)


@pytest.mark.parametrize(
    ("value", "parse"),
    [
        (ITEM, wire.Item.parse),
        (wire.Limits(frames=3), wire.Limits.parse),
        (wire.WorkAnswer(7, (ITEM,), ("l0",), stop=True), wire.WorkAnswer.parse),
        (wire.WorkAnswer(7), wire.WorkAnswer.parse),
        (
            wire.WorkRequest(
                1,
                (
                    wire.Result(
                        "l1",
                        SOURCE,
                        (wire.RenderedOutput("thumbnails/k", 1, 2, 1, 99, "image/webp", "e", "hash"),),
                        render_seconds=0.5,
                    ),
                    wire.Result("l2", error=ErrorFacts("CorruptSource", "damaged"), retry=True),
                    wire.Result("l3", returned=True),
                ),
                wire.Poll(2, ("l4",), 5.0),
                draining=True,
            ),
            wire.WorkRequest.parse,
        ),
        (wire.WorkRequest(1), wire.WorkRequest.parse),
    ],
)
def test_messages_survive_json(value: Any, parse: Callable[[Any], Any]) -> None:
    assert parse(json.loads(json.dumps(value.to_wire()))) == value


def test_an_older_worker_leaves_out_a_limit_that_it_does_not_know() -> None:
    """While an upgrade rolls out, a new operator and old workers talk to each other."""
    assert wire.Limits.parse({"frames": 3, "colours": 7}) == wire.Limits(frames=3)
