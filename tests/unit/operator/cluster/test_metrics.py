"""What Prometheus reads."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thumbnails_contract.errors import JobStoreUnavailable, Unavailable
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import Condition, ConditionType, Status
from thumbnails_contract.wire import WorkAnswer
from thumbnails_operator.metrics import CountingSource, Exposition, Leader, OperatorCollector
from thumbnails_operator.ports import WorkerIdentity, WorkerPhase

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COUNTS = SimpleNamespace(
    handed_out=5, rendered=4, cached=3, failed=2, cancelled=1, retried=6, deleted=7,
    status_writes=8, conflicts=9, webhook_attempts=10,
)  # fmt: skip
DONE = Status(conditions=(Condition(ConditionType.COMPLETE, True, "Rendered", "", CREATED),))


def scrape(leader: Leader | None) -> dict[tuple[str, ...], float]:
    text = Exposition(OperatorCollector(lambda: leader, lambda: CREATED + timedelta(seconds=90)))().decode()
    return {
        (sample.name.removeprefix("thumbnails_operator_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_leader_tells_all(make_job: Callable[..., ThumbnailJob]) -> None:
    jobs = [make_job("a"), make_job("b", suspend=True), make_job("c", status=DONE)]
    found = scrape(
        Leader(lambda: jobs, lambda: {WorkerPhase.RUNNING: 2}, COUNTS, {"ok": 11, "Unavailable": 1})
    )
    assert found["leader",] == 1
    assert found["jobs", "Pending"] == 2 and found["jobs", "Succeeded"] == 1 and found["jobs", "Failed"] == 0
    assert found["queue_depth",] == 1
    assert found["queue_age_seconds",] == 90
    assert found["workers", "Running"] == 2 and found["workers", "Starting"] == 0
    assert found["exchange_requests_total", "ok"] == 11
    for name, value in vars(COUNTS).items():
        assert found[f"{name}_total",] == value


def test_jobs_that_are_not_known_yet_are_not_none() -> None:
    def unknown() -> Any:
        raise JobStoreUnavailable

    found = scrape(Leader(unknown, dict, COUNTS))
    assert found["leader",] == 1
    assert ("jobs", "Pending") not in found and ("queue_depth",) not in found


def test_a_follower_tells_that_it_is_one() -> None:
    found = scrape(None)
    assert found["leader",] == 0
    assert ("rendered_total",) not in found
    assert found["process_start_time_seconds",] > 0


def test_requests_are_counted_by_how_they_end() -> None:
    class Source:
        error: Exception | None = None

        async def work(self, worker: Any, request: Any) -> WorkAnswer:
            if self.error:
                raise self.error
            return WorkAnswer(1)

    async def ask(source: CountingSource) -> None:
        await source.work(WorkerIdentity("red", "w", "u"), None)  # type: ignore[arg-type]

    inner = Source()
    source = CountingSource(inner)
    asyncio.run(ask(source))
    for error, expected in ((Unavailable(), Unavailable), (RuntimeError(), RuntimeError)):
        inner.error = error
        with pytest.raises(expected):
            asyncio.run(ask(source))
    assert source.requests == {"ok": 1, "Unavailable": 1, "Aborted": 1}
