"""What Prometheus reads."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thumbnails_contract.errors import JobStoreUnavailable, Unavailable
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import Condition, ConditionType, DeliveryFacts, SourceFacts, Status
from thumbnails_contract.wire import Poll, Result, WorkAnswer, WorkRequest
from thumbnails_operator.counts import Counts
from thumbnails_operator.metrics import Exposition, Leader, MeasuredSource, OperatorCollector
from thumbnails_operator.ports import WorkerIdentity, WorkerPhase

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DONE = Status(conditions=(Condition(ConditionType.COMPLETE, True, "Rendered", "", CREATED),))
STARTING = Status(conditions=(Condition(ConditionType.STARTED, False, "WorkersStarting", "", CREATED),))
RETRYING = replace(DONE, webhook=DeliveryFacts(attempts=1, next_attempt_time=CREATED))


def scrape(leader: Leader | None) -> dict[tuple[str, ...], float]:
    text = Exposition(OperatorCollector(lambda: leader, lambda: CREATED + timedelta(seconds=90)))().decode()
    return {
        (sample.name.removeprefix("thumbnails_operator_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_leader_tells_what_there_is(make_job: Callable[..., ThumbnailJob]) -> None:
    jobs = [
        make_job("a"),
        make_job("b", suspend=True),
        make_job("c", status=DONE),
        make_job("d", status=STARTING),
        make_job("e", status=RETRYING),
    ]
    found = scrape(Leader(lambda: jobs, lambda: {WorkerPhase.RUNNING: 2}, Counts()))
    assert found["leader",] == 1
    assert found["jobs", "Pending"] == 3 and found["jobs", "Succeeded"] == 2 and found["jobs", "Failed"] == 0
    assert found["jobs_unfinished", "Pending", "Queued"] == 2
    assert found["jobs_unfinished", "Pending", "WorkersStarting"] == 1
    assert found["jobs_unfinished", "Running", "Rendering"] == 0
    assert found["webhooks_retrying",] == 1
    assert found["queue_depth",] == 2
    assert found["queue_age_seconds",] == 90
    assert found["workers", "Running"] == 2 and found["workers", "Starting"] == 0


def test_a_leader_tells_what_it_has_done() -> None:
    counts = Counts()
    counts.handed_out.inc(5)
    counts.finished.labels("Failed", "CorruptSource").inc()
    counts.rendered(Result("l", SourceFacts("png", 1, 1, 1, 1), render_seconds=0.2))
    counts.rendered(Result("l", SourceFacts("surprise", 1, 1, 1, 1), render_seconds=0.2))
    counts.rendered(Result("l", returned=True))
    found = scrape(Leader(tuple, dict, counts))
    assert found["jobs_handed_out_total",] == 5
    assert found["jobs_finished_total", "Failed", "CorruptSource"] == 1
    assert found["render_duration_seconds_count", "png"] == 1
    assert found["render_duration_seconds_count", "other"] == 1


def test_what_is_known_to_happen_is_there_before_it_does() -> None:
    found = scrape(Leader(tuple, dict, Counts()))
    for sample in (
        ("jobs_finished_total", "Succeeded", "Rendered"),
        ("webhook_attempts_total", "DeliveryFailed"),
        ("render_duration_seconds_count", "jpeg"),
        ("exchange_request_duration_seconds_count", "poll", "ok"),
    ):
        assert found[sample] == 0


def test_jobs_that_are_not_known_yet_are_not_none() -> None:
    def unknown() -> Any:
        raise JobStoreUnavailable

    found = scrape(Leader(unknown, dict, Counts()))
    assert found["leader",] == 1
    assert ("jobs", "Pending") not in found and ("queue_depth",) not in found


def test_a_follower_tells_that_it_is_one() -> None:
    found = scrape(None)
    assert found["leader",] == 0
    assert ("jobs_handed_out_total",) not in found
    assert found["process_start_time_seconds",] > 0


def test_requests_of_workers_are_measured_by_kind_and_how_they_end() -> None:
    class Source:
        error: Exception | None = None

        async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
            if self.error:
                raise self.error
            return WorkAnswer(1)

    inner, counts, seconds = Source(), Counts(), iter(range(100))
    source = MeasuredSource(inner, counts, lambda: float(next(seconds)))

    def ask(poll: Poll | None) -> None:
        asyncio.run(source.work(WorkerIdentity("red", "w", "u"), WorkRequest(1, poll=poll)))

    ask(Poll(1, ()))
    ask(None)
    for error, expected in ((Unavailable(), Unavailable), (RuntimeError(), RuntimeError)):
        inner.error = error
        with pytest.raises(expected):
            ask(None)
    for kind, result, number in (
        ("poll", "ok", 1),
        ("delivery", "ok", 1),
        ("delivery", "Unavailable", 1),
        ("delivery", "Aborted", 1),
    ):
        labels = {"kind": kind, "result": result}
        assert counts.value("exchange_request_duration_seconds_count", **labels) == number
        assert counts.value("exchange_request_duration_seconds_sum", **labels) == number
