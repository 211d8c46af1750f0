"""What a job needs next, as a table."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Output
from thumbnails_contract.status import (
    Condition,
    ConditionType,
    ErrorFacts,
    Phase,
    Reason,
    SourceFacts,
    Status,
)
from thumbnails_operator.reconcile import (
    Claim,
    Enqueue,
    Facts,
    Finished,
    Identify,
    LookUp,
    Park,
    Place,
    Settle,
    Stay,
    blocked,
    next_step,
)
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.wanted import Thumbnail, wanted

NOW = datetime(2026, 1, 2, 3, 5, 0, tzinfo=UTC)
SETTINGS = OperatorSettings()
MakeJob = Callable[..., ThumbnailJob]
AWAY = ErrorFacts("ObjectStoreUnavailable", "It is away.")
CRASH = ErrorFacts("WorkerCrashed", "It died.")


def facts(job: ThumbnailJob, **changes: Any) -> Facts:
    """Of a job that is identified and claimed."""
    return replace(Facts(identity="id", wanted=wanted(job, "id"), claimed=True), **changes)


def there(job: ThumbnailJob) -> dict[str, Thumbnail]:
    return {
        item.object_key: Thumbnail(item.object_key, 10, 20, 1, 99, "image/jpeg", "e")
        for item in wanted(job, "id")
    }


def condition(status: Status, type_: str) -> tuple[bool, str]:
    found = status.condition(type_)
    assert found is not None
    return found.status, found.reason


def test_the_steps_of_a_plain_job(make_job: MakeJob) -> None:
    job = make_job()
    keys = tuple(item.object_key for item in wanted(job, "id"))
    assert next_step(job, Facts(), SETTINGS, NOW) == Identify()
    assert next_step(job, facts(job, claimed=False), SETTINGS, NOW) == Claim(keys)
    assert next_step(job, facts(job), SETTINGS, NOW) == Enqueue()
    step = next_step(job, facts(job, place=Place(0)), SETTINGS, NOW)
    assert step == Stay(job.status, SETTINGS.waiting_notice_seconds)  # nothing to write
    step = next_step(job, facts(job, place=Place(0, "worker-1"), started=NOW), SETTINGS, NOW)
    assert isinstance(step, Stay)
    assert condition(step.status, ConditionType.STARTED) == (True, Reason.RENDERING)
    assert (step.status.worker_job, step.status.start_time) == ("worker-1", NOW)
    step = next_step(job, facts(job, there=there(job), rendered_by="w", attempts=1), SETTINGS, NOW)
    assert isinstance(step, Settle)
    assert condition(step.status, ConditionType.COMPLETE) == (True, Reason.RENDERED)
    assert next_step(replace(job, status=step.status), Facts(), SETTINGS, NOW) == Finished()


def test_a_cached_job_never_queues(make_job: MakeJob) -> None:
    job = make_job()
    key = wanted(job, "id")[0].object_key
    assert next_step(job, facts(job, claimed=False, to_look_up=(key,)), SETTINGS, NOW) == LookUp((key,))
    step = next_step(job, facts(job, claimed=False, there=there(job)), SETTINGS, NOW)
    assert isinstance(step, Settle)
    assert condition(step.status, ConditionType.COMPLETE) == (True, Reason.CACHED)


def test_an_uploaded_original_is_known_by_its_sha256(make_job: MakeJob) -> None:
    source = SourceFacts("jpeg", 10, 20, 1, 99)
    for key, sha256 in ((None, "ab" * 32), ("sources/thumbnails/put/by/hand.jpg", None)):
        job = make_job(object_key=key) if key else make_job()
        made = {key: replace(thumbnail, source=source) for key, thumbnail in there(job).items()}
        step = next_step(job, facts(job, there=made), SETTINGS, NOW)
        assert isinstance(step, Settle)
        assert step.status.source == replace(source, sha256=sha256)


def test_what_a_worker_has_is_not_looked_up_meanwhile(make_job: MakeJob) -> None:
    job = make_job()
    step = next_step(job, facts(job, to_look_up=("key",), place=Place(0, "w")), SETTINGS, NOW)
    assert isinstance(step, Stay)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"object_key": "sources/other/default/x"}, "ForbiddenSource"),
        ({"object_key": "sources/thumbnails/../other/x"}, "ForbiddenSource"),
        ({"object_key": "thumbnails/thumbnails/default/x"}, "ForbiddenSource"),
        ({"outputs": (Output(width=4097),)}, "OutputTooLarge"),
        ({"outputs": (Output(width=10), Output(name="b", height=9999))}, "OutputTooLarge"),
    ],
)
@pytest.mark.parametrize("suspend", [False, True])
def test_what_is_never_begun(make_job: MakeJob, spec: dict[str, Any], reason: str, suspend: bool) -> None:
    job = make_job(suspend=suspend, **spec)
    step = next_step(job, Facts(), SETTINGS, NOW)
    assert isinstance(step, Settle)
    assert condition(step.status, ConditionType.FAILED) == (True, reason)
    assert step.status.error is not None
    assert step.status.completion_time == NOW


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"place": Place(0, "w")},
        {"error": CRASH},
        {"there": "all", "rendered_by": "w"},
    ],
)
def test_cancel_wins_over_everything_but_an_end(make_job: MakeJob, known: dict[str, Any]) -> None:
    job = make_job(cancel=True)
    if known.get("there"):
        known = {**known, "there": there(job)}
    step = next_step(job, facts(job, **known), SETTINGS, NOW)
    assert isinstance(step, Settle)
    assert step.status.phase is Phase.CANCELLED


@pytest.mark.parametrize("condition_type", [ConditionType.COMPLETE, ConditionType.FAILED])
def test_an_end_is_never_changed(make_job: MakeJob, condition_type: ConditionType) -> None:
    ended = Status(conditions=(Condition(condition_type, True, "Rendered", "", NOW),))
    job = make_job(status=ended, cancel=True, suspend=True)
    assert next_step(job, facts(job, error=CRASH), SETTINGS, NOW) == Finished()


@pytest.mark.parametrize("place", [None, Place(0), Place(1, "w")])
def test_suspend_takes_a_job_out(make_job: MakeJob, place: Place | None) -> None:
    job = make_job(suspend=True)
    step = next_step(job, facts(job, place=place), SETTINGS, NOW)
    assert isinstance(step, Park)
    assert not step.keep_waiting
    assert condition(step.status, ConditionType.STARTED) == (False, Reason.SUSPENDED)


def test_an_equal_job_is_waited_for_and_said_so_after_a_while(make_job: MakeJob) -> None:
    job = make_job()
    known = facts(job, claimed=False, waits_for_equal=True, waited_seconds=5)
    step = next_step(job, known, SETTINGS, NOW)
    assert step == Park(job.status, keep_waiting=True, again_seconds=15)
    step = next_step(job, replace(known, waited_seconds=20), SETTINGS, NOW)
    assert isinstance(step, Park)
    assert condition(step.status, ConditionType.STARTED) == (False, Reason.WAITING_FOR_EQUAL_JOB)


@pytest.mark.parametrize(
    ("known", "waited", "expected"),
    [
        ({}, 19, None),
        ({}, 20, "WorkersStarting"),
        ({"workers_live": True}, 20, "Queued"),
        ({"trouble": ErrorFacts("ErrImagePull", "It cannot be pulled.")}, 1, None),
        ({"trouble": ErrorFacts("ErrImagePull", "It cannot be pulled.")}, 2, "ErrImagePull"),
        ({"place": Place(0, postponed=True, cause=AWAY)}, 2, "ObjectStoreUnavailable"),
    ],
)
def test_why_a_job_waits(
    make_job: MakeJob, known: dict[str, Any], waited: float, expected: str | None
) -> None:
    job = make_job()
    step = next_step(job, facts(job, waited_seconds=waited, **{"place": Place(0), **known}), SETTINGS, NOW)
    assert isinstance(step, Stay)
    if expected is None:
        assert step.status == job.status
        assert step.again_seconds is not None
    else:
        assert condition(step.status, ConditionType.STARTED) == (False, expected)
        assert step.status.phase is Phase.PENDING


def test_a_failed_attempt_is_written_before_the_next_one(make_job: MakeJob) -> None:
    job = make_job()
    step = next_step(job, facts(job, place=Place(1, cause=CRASH)), SETTINGS, NOW)
    assert isinstance(step, Stay)
    assert condition(step.status, ConditionType.STARTED) == (True, Reason.RETRYING)
    assert step.status.attempts == 1
    again = next_step(
        replace(job, status=step.status), facts(job, place=Place(1, cause=CRASH)), SETTINGS, NOW
    )
    assert isinstance(again, Stay)
    assert again.status == step.status


def test_the_last_failure_ends_the_job(make_job: MakeJob) -> None:
    job = make_job()
    step = next_step(job, facts(job, error=CRASH, attempts=3), SETTINGS, NOW)
    assert isinstance(step, Settle)
    assert condition(step.status, ConditionType.FAILED) == (True, "WorkerCrashed")
    assert (step.status.attempts, step.status.error) == (3, CRASH)


def test_a_fact_that_cannot_be_gathered_is_said_once_it_lasts(make_job: MakeJob) -> None:
    job = make_job()
    assert blocked(job, AWAY, 1, SETTINGS, NOW) == job.status
    status = blocked(job, AWAY, 2, SETTINGS, NOW)
    assert condition(status, ConditionType.STARTED) == (False, "ObjectStoreUnavailable")
