"""What Prometheus is told of the operator: what there is now, read when asked for, and what it counted."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from thumbnails_contract.errors import JobStoreUnavailable, ThumbnailsError
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import ConditionType, Phase, Reason
from thumbnails_contract.wire import WorkAnswer, WorkRequest

from .counts import OK, Counts
from .exchange import WorkSource
from .ports import WorkerIdentity, WorkerPhase

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
PREFIX: Final = "thumbnails_operator_"
# Why a job that nobody has looked at yet does not run, or runs.
_FIRST_REASONS: Final = {Phase.PENDING: Reason.QUEUED, Phase.RUNNING: Reason.RENDERING}


class MeasuredSource:
    """A WorkSource that tells how long requests of workers take and how they end."""

    def __init__(
        self, source: WorkSource, counts: Counts, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._counts = counts
        self._monotonic = monotonic

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        """As the source."""
        began, result = self._monotonic(), "Aborted"  # by the client
        try:
            answer = await self._source.work(worker, request)
            result = OK
        except ThumbnailsError as error:
            result = error.reason
            raise
        finally:
            kind = "delivery" if request.poll is None else "poll"
            self._counts.exchange_seconds.labels(kind, result).observe(self._monotonic() - began)
        return answer


@dataclass(frozen=True, slots=True)
class Leader:
    """Where the numbers of a leader come from."""

    jobs: Callable[[], Iterable[ThumbnailJob]]  # raises JobStoreUnavailable before they are known
    workers: Callable[[], Mapping[WorkerPhase, int]]
    counts: Counts


class OperatorCollector(Collector):
    """One scrape; `leader` gives None in a process that does not lead."""

    def __init__(self, leader: Callable[[], Leader | None], clock: Callable[[], datetime]) -> None:
        self._leader = leader
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All families."""
        leader = self._leader()
        yield GaugeMetricFamily(
            f"{PREFIX}leader", "Whether this process is the leader.", value=leader is not None
        )
        if leader is None:
            return
        yield from self._jobs(leader)
        workers = GaugeMetricFamily(f"{PREFIX}workers", "Worker Jobs, by phase.", labels=["phase"])
        by_phase = leader.workers()
        for phase in WorkerPhase:
            workers.add_metric([phase.value], by_phase.get(phase, 0))
        yield workers
        yield from leader.counts.collect()

    def _jobs(self, leader: Leader) -> Iterator[Metric]:
        try:
            jobs = tuple(leader.jobs())
        except JobStoreUnavailable:
            return  # not known is not none
        found = [(job.status.phase, job) for job in jobs]  # derived, so once for each
        by_phase = Counter(phase for phase, _ in found)
        gauge = GaugeMetricFamily(f"{PREFIX}jobs", "ThumbnailJobs, by phase.", labels=["phase"])
        for phase in Phase:
            gauge.add_metric([phase.value], by_phase[phase])
        yield gauge
        yield _unfinished(found)
        facts = (job.status.webhook for _, job in found)
        retrying = sum(each is not None and each.next_attempt_time is not None for each in facts)
        yield GaugeMetricFamily(
            f"{PREFIX}webhooks_retrying", "Webhooks that failed and are to be sent again.", value=retrying
        )
        waiting = [job.created for phase, job in found if phase is Phase.PENDING and not job.spec.suspend]
        yield GaugeMetricFamily(f"{PREFIX}queue_depth", "Jobs that wait for a worker.", value=len(waiting))
        age = (self._clock() - min(waiting)).total_seconds() if waiting else 0.0
        yield GaugeMetricFamily(
            f"{PREFIX}queue_age_seconds",
            "How long the oldest job has waited for a worker.",
            value=max(0.0, age),
        )


def _unfinished(found: Iterable[tuple[Phase, ThumbnailJob]]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}jobs_unfinished",
        "Jobs that wait or run, by phase and the reason of their condition `Started`.",
        labels=["phase", "reason"],
    )
    numbers: Counter[tuple[Phase, str]] = Counter(dict.fromkeys(_FIRST_REASONS.items(), 0))
    for phase, job in found:
        if phase in _FIRST_REASONS:
            started = job.status.condition(ConditionType.STARTED)
            numbers[phase, started.reason if started is not None else _FIRST_REASONS[phase]] += 1
    for key, number in sorted(numbers.items()):
        family.add_metric(key, number)
    return family


class Exposition:
    """The text of all metrics of this process."""

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def __call__(self) -> bytes:
        """In the Prometheus text format, of type CONTENT_TYPE."""
        return generate_latest(self._registry)
