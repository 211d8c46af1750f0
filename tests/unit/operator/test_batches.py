"""Which jobs were uploaded together, when their batch has ended, and what is told of it, by whom."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.spec import Batch as Place
from thumbnails_contract.spec import BatchWebhooks, Spec, Webhook
from thumbnails_contract.status import BatchFacts, Condition, ConditionType, DeliveryFacts, Reason, Status
from thumbnails_operator.batch_webhook import (
    WriteFirst,
    after_batch_attempt,
    batch_delivery_settled,
    next_batch_delivery,
)
from thumbnails_operator.batches import Batch, Batches
from thumbnails_operator.webhook import LATEST_START, DeliverAt, DeliverNow, DeliveryResult

CREATED = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
ENDED = CREATED + timedelta(seconds=5)
NOW = ENDED + timedelta(seconds=1)
GRACE = timedelta(seconds=300)
URL = "https://client.example/hook"

SUCCEEDED = Condition(ConditionType.COMPLETE, True, Reason.RENDERED, "", ENDED)
FAILED = Condition(ConditionType.FAILED, True, "CorruptSource", "", ENDED)
CANCELLED = Condition(ConditionType.FAILED, True, "Cancelled", "", ENDED)


def make_job(
    index: int,
    *conditions: Condition,
    jobs: int | None = None,
    size: int = 3,
    batch: str | None = "album",
    account: str = "shop",
    webhooks: BatchWebhooks = BatchWebhooks.BOTH,
    url: str | None = URL,
    created: datetime = CREATED,
) -> ThumbnailJob:
    """The job at this place of the upload; the last one says how many `jobs` there are."""
    name = f"job-{index}"
    return ThumbnailJob(
        key=JobKey("team", name),
        uid=f"uid-{batch}-{index}",
        resource_version="1",
        generation=1,
        created=created,
        spec=Spec(
            object_key=f"sources/team/{account}/x/{name}",
            account=account,
            batch=Place(batch, index, size, jobs, webhooks) if batch else None,
            webhook=Webhook(url) if url else None,
        ),
        status=Status(conditions=conditions, completion_time=ENDED if conditions else None),
    )


class World:
    """Batches, and the jobs that are known."""

    def __init__(self, *jobs: ThumbnailJob) -> None:
        self.batches = Batches()
        self.jobs: dict[JobKey, ThumbnailJob] = {}
        for job in jobs:
            self.put(job)

    def put(self, job: ThumbnailJob) -> JobKey | None:
        before, self.jobs[job.key] = self.jobs.get(job.key), job
        return self.batches.change(before, job)

    def delete(self, index: int) -> JobKey | None:
        return self.batches.change(self.jobs.pop(JobKey("team", f"job-{index}")), None)

    def end(self, index: int, condition: Condition = SUCCEEDED) -> JobKey | None:
        job = self.jobs[JobKey("team", f"job-{index}")]
        return self.put(replace(job, status=Status(conditions=(condition,), completion_time=ENDED)))

    def batch(self) -> Batch:
        batch = self.batches.of(next(iter(self.jobs.values())))
        assert batch is not None
        return batch

    def step(self, index: int, now: datetime = NOW, default_url: str | None = None) -> Any:
        """What this job has to do."""
        job = self.jobs[JobKey("team", f"job-{index}")]
        return next_batch_delivery(job, self.batches.of(job), default_url, now, GRACE)

    def settled(self, index: int, now: datetime = NOW, default_url: str | None = None) -> bool:
        job = self.jobs[JobKey("team", f"job-{index}")]
        return batch_delivery_settled(job, self.batches.of(job), default_url, now, GRACE)

    def write(self, index: int, status: Status) -> JobKey | None:
        """As it is after it went through the store."""
        job = self.jobs[JobKey("team", f"job-{index}")]
        return self.put(replace(job, status=Status.parse(status.to_manifest())))

    def record(self, index: int, now: datetime = NOW) -> None:
        step = self.step(index, now)
        assert isinstance(step, WriteFirst), step
        self.write(index, step.status)

    def attempt(self, index: int, result: DeliveryResult, now: datetime = NOW) -> DeliverNow:
        step = self.step(index, now)
        assert isinstance(step, DeliverNow), step
        job = self.jobs[JobKey("team", f"job-{index}")]
        self.write(index, after_batch_attempt(job, step, result, now, 0.0))
        return step

    def restarted(self) -> "World":
        """What an operator knows that is started now."""
        return World(*self.jobs.values())


def ended_album(**options: Any) -> World:
    return World(
        make_job(0, SUCCEEDED, **options),
        make_job(1, FAILED, **options),
        make_job(2, SUCCEEDED, jobs=3, **options),
    )


# ---- when ----


def test_a_batch_is_told_of_once_all_its_jobs_have_ended() -> None:
    world = World(make_job(0), make_job(1), make_job(2, jobs=3))
    for index in (2, 0):
        world.end(index)
        assert all(world.step(each) is None for each in range(3))
    assert world.end(1, FAILED) == JobKey("team", "job-0")  # which bears it, and is to be looked at
    assert isinstance(world.step(0), WriteFirst)
    assert world.step(1) is world.step(2) is None


def test_a_job_that_ends_before_the_next_one_is_made_ends_no_batch() -> None:
    world = World(make_job(0, SUCCEEDED))
    assert world.step(0) == DeliverAt(CREATED + GRACE)
    world.put(make_job(1, SUCCEEDED))
    assert world.step(0) == DeliverAt(CREATED + GRACE)
    world.put(make_job(2, SUCCEEDED, jobs=3))
    assert isinstance(world.step(0), WriteFirst)


def test_pictures_that_were_refused_are_not_waited_for() -> None:
    world = World(make_job(0, SUCCEEDED, size=9), make_job(7, SUCCEEDED, size=9, jobs=2))
    world.record(0)
    body = json.loads(world.attempt(0, DeliveryResult(200)).body)
    assert (body["data"]["size"], body["data"]["jobs"]) == (9, 2)


def test_an_upload_that_broke_off_is_told_of_after_a_while() -> None:
    later = CREATED + timedelta(seconds=60)
    world = World(make_job(0, SUCCEEDED), make_job(1, SUCCEEDED, created=later))
    assert world.step(0) == DeliverAt(later + GRACE)
    assert not world.settled(0)
    assert isinstance(world.step(0, later + GRACE), WriteFirst)


def test_a_job_that_was_deleted_holds_up_nobody() -> None:
    world = World(make_job(0, SUCCEEDED), make_job(1), make_job(2, SUCCEEDED, jobs=3))
    assert world.delete(1) == JobKey("team", "job-0")
    assert isinstance(world.step(0), WriteFirst)
    # A restarted operator has not seen it, and cannot tell it from one that is still to come.
    again = world.restarted()
    assert again.step(0) == DeliverAt(CREATED + GRACE)
    assert isinstance(again.step(0, CREATED + GRACE), WriteFirst)


def test_the_last_job_may_be_deleted_as_well() -> None:
    world = World(make_job(0, SUCCEEDED), make_job(1, SUCCEEDED), make_job(2, SUCCEEDED, jobs=3))
    world.delete(2)
    assert isinstance(world.step(0), WriteFirst)
    assert isinstance(world.restarted().step(0, CREATED + GRACE), WriteFirst)


def test_a_cancelled_job_has_ended() -> None:
    world = World(make_job(0, SUCCEEDED), make_job(1), make_job(2, SUCCEEDED, jobs=3))
    world.end(1, CANCELLED)
    world.record(0)
    assert world.jobs[JobKey("team", "job-0")].status.batch == BatchFacts(2, 0, 1, ENDED)


@pytest.mark.parametrize("options", [{"webhooks": BatchWebhooks.EACH}, {"url": None}, {"batch": None}])
def test_nobody_is_told_who_did_not_ask(options: dict[str, Any]) -> None:
    world = ended_album(**options)
    assert all(world.step(index) is None and world.settled(index) for index in range(3))


def test_the_service_s_own_receiver_is_told_as_well() -> None:
    world = ended_album(url=None)
    step = world.step(0, default_url="http://internal/hook")
    assert isinstance(step, WriteFirst)
    world.write(0, step.status)
    step = world.step(0, default_url="http://internal/hook")
    assert (step.url, step.trusted) == ("http://internal/hook", True)


def test_a_batch_that_ended_days_ago_is_not_begun() -> None:
    world = ended_album()
    late = ENDED + LATEST_START + timedelta(seconds=1)
    assert world.step(0, late) is None
    assert world.settled(0, late)
    assert world.settled(2, late)
    world.record(0)
    assert world.step(0, late) is None


# ---- what ----


def test_what_is_said() -> None:
    world = ended_album()
    world.record(0)
    delivery = world.attempt(0, DeliveryResult(200))
    assert (delivery.url, delivery.trusted, delivery.message_id, delivery.attempt) == (
        URL,
        False,
        "msg_album",
        1,
    )
    assert json.loads(delivery.body) == {
        "type": "thumbnailjob.batch.completed",
        "timestamp": "2026-11-24T05:00:05Z",
        "data": {
            "batchId": "album",
            "size": 3,
            "jobs": 3,
            "complete": 2,
            "failed": 1,
            "cancelled": 0,
            "jobsPath": "/jobs?batch=album",
        },
    }


def test_it_is_told_once() -> None:
    world = ended_album()
    world.record(0)
    world.attempt(0, DeliveryResult(200))
    for each in (world, world.restarted()):
        assert all(each.step(index) is None and each.settled(index) for index in range(3))


def test_every_attempt_says_the_same_whoever_makes_it() -> None:
    world = ended_album()
    world.record(0)
    first = world.attempt(0, DeliveryResult(503))
    assert isinstance(world.step(0), DeliverAt)
    assert not world.settled(2)
    world.delete(2)
    world = world.restarted()
    second = world.attempt(0, DeliveryResult(200), NOW + timedelta(hours=1))
    assert (first.message_id, first.body, first.attempt) == (second.message_id, second.body, 1)
    assert second.attempt == 2


def test_a_receiver_that_is_gone_is_asked_once() -> None:
    world = ended_album()
    world.record(0)
    world.attempt(0, DeliveryResult(410))
    assert world.settled(1)
    assert world.step(0, NOW + timedelta(days=1)) is None


# ---- who ----


@pytest.mark.parametrize("result", [None, DeliveryResult(503), DeliveryResult(200)])
def test_when_the_bearer_is_deleted_another_one_takes_its_place(result: DeliveryResult | None) -> None:
    world = ended_album()
    world.record(0)
    if result is not None:
        world.attempt(0, result)
    known = world.jobs[JobKey("team", "job-0")].status
    assert world.delete(0) == JobKey("team", "job-1")
    world.record(1)
    heir = world.jobs[JobKey("team", "job-1")].status
    assert heir.batch == known.batch
    type_ = ConditionType.BATCH_WEBHOOK_DELIVERED
    assert heir.condition(type_) == known.condition(type_)
    assert heir.phase == "Failed"
    assert world.step(2) is None
    again = world.restarted()
    told = result is not None and result.http_status == 200
    assert (again.step(1, NOW + timedelta(hours=1)) is None) == told == again.settled(2)


def test_a_job_that_comes_late_is_not_told_of_and_takes_nobody_s_place() -> None:
    """An upload that broke off may be sent again with its Idempotency-Key."""
    world = World(make_job(1, SUCCEEDED))
    late = CREATED + GRACE
    world.record(1, late)
    world.attempt(1, DeliveryResult(200), late)
    world.put(make_job(0))
    assert world.batch().bearer == JobKey("team", "job-1")
    world.end(0)
    assert world.step(0, late) is world.step(1, late) is None


def test_batches_of_the_same_name_are_apart() -> None:
    world = World(make_job(0, SUCCEEDED, jobs=1), make_job(1, account="rival", jobs=1))
    assert isinstance(world.step(0), WriteFirst)


def test_a_batch_is_forgotten_with_its_last_job() -> None:
    world = ended_album()
    for index in range(3):
        world.delete(index)
    again = make_job(0, SUCCEEDED, jobs=1)
    world.put(again)
    assert len(world.batch()) == 1
    assert world.batch().record is None


def test_a_name_that_is_used_again_is_another_job() -> None:
    world = World(make_job(0, SUCCEEDED, jobs=1))
    world.put(make_job(0, batch="other", jobs=1))
    assert world.batches.of(make_job(0)) is None
    assert world.batch().open


MakeStatus = Callable[[ThumbnailJob], Status]
CHANGES = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["put", "succeed", "fail", "bear", "delete"])), max_size=25
)


@given(CHANGES)
def test_whatever_happens_it_knows_what_a_look_at_all_jobs_would_tell(changes: list[tuple[int, str]]) -> None:
    world = World()
    for index, what in changes:
        key = JobKey("team", f"job-{index}")
        if key not in world.jobs:
            world.put(make_job(index, size=5, jobs=5 if index == 4 else None))
        elif what == "delete":
            world.delete(index)
        elif what in {"succeed", "fail"}:
            world.end(index, SUCCEEDED if what == "succeed" else FAILED)
        elif what == "bear" and world.jobs[key].status.finished:
            facts = BatchFacts(1, 0, 0, ENDED, DeliveryFacts(1, None))
            world.write(index, replace(world.jobs[key].status, batch=facts))
        if not world.jobs:
            continue
        batch, jobs = world.batch(), list(world.jobs.values())
        assert set(batch) == set(world.jobs)
        assert batch.open == any(not job.status.finished for job in jobs)
        assert batch.bearer == min(jobs, key=lambda job: (job.status.batch is None, job.key.name)).key
        if not batch.open:
            facts = batch.facts()
            assert facts.complete + facts.failed + facts.cancelled == len(jobs)
            assert facts.failed == sum(job.status.phase == "Failed" for job in jobs)
