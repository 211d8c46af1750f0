"""What Prometheus is told of the operator: read from the controller when asked for, and not kept twice."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from thumbnails_contract.errors import JobStoreUnavailable, ThumbnailsError
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import Phase
from thumbnails_contract.wire import WorkAnswer, WorkRequest

from .exchange import WorkSource
from .ports import WorkerIdentity, WorkerPhase

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
PREFIX: Final = "thumbnails_operator_"

# Attributes of the controller's counts, and what is said of each.
_COUNTS: Final = {
    "handed_out": "Jobs that were handed to a worker.",
    "rendered": "Jobs that a worker completed.",
    "cached": "Jobs whose thumbnails were there already.",
    "failed": "Jobs that failed.",
    "cancelled": "Jobs that were cancelled.",
    "retried": "Attempts that failed and were followed by another one.",
    "deleted": "Finished jobs that were deleted after their time.",
    "status_writes": "Writes of a status.",
    "conflicts": "Writes of a status that came too late and were decided anew.",
    "webhook_attempts": "Attempts to deliver a webhook.",
}


class CountingSource:
    """A WorkSource that counts how requests of workers end, by result: ok, or the reason of an error."""

    def __init__(self, source: WorkSource) -> None:
        self._source = source
        self.requests: Counter[str] = Counter()

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        """As the source."""
        result = "Aborted"  # by the client
        try:
            answer = await self._source.work(worker, request)
            result = "ok"
        except ThumbnailsError as error:
            result = error.reason
            raise
        finally:
            self.requests[result] += 1
        return answer


@dataclass(frozen=True, slots=True)
class Leader:
    """Where the numbers of a leader come from."""

    jobs: Callable[[], Iterable[ThumbnailJob]]  # raises JobStoreUnavailable before they are known
    workers: Callable[[], Mapping[WorkerPhase, int]]
    counts: object  # the controller's: integers by name
    requests: Mapping[str, int] = field(default_factory=dict)


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
        for name, text in _COUNTS.items():
            yield CounterMetricFamily(f"{PREFIX}{name}", text, value=getattr(leader.counts, name))
        requests = CounterMetricFamily(
            f"{PREFIX}exchange_requests", "Requests of workers, by result.", labels=["result"]
        )
        for result, count in sorted(leader.requests.items()):
            requests.add_metric([result], count)
        yield requests

    def _jobs(self, leader: Leader) -> Iterator[Metric]:
        try:
            jobs = tuple(leader.jobs())
        except JobStoreUnavailable:
            return  # not known is not none
        by_phase = Counter(job.status.phase for job in jobs)
        gauge = GaugeMetricFamily(f"{PREFIX}jobs", "ThumbnailJobs, by phase.", labels=["phase"])
        for phase in Phase:
            gauge.add_metric([phase.value], by_phase[phase])
        yield gauge
        waiting = [job.created for job in jobs if job.status.phase is Phase.PENDING and not job.spec.suspend]
        yield GaugeMetricFamily(f"{PREFIX}queue_depth", "Jobs that wait for a worker.", value=len(waiting))
        age = (self._clock() - min(waiting)).total_seconds() if waiting else 0.0
        yield GaugeMetricFamily(
            f"{PREFIX}queue_age_seconds", "How long the oldest of them has waited.", value=max(0.0, age)
        )


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
