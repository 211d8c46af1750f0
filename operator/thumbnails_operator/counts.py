"""What the operator has done since its start, in Prometheus' terms: for metrics.py, and tests."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from thumbnails_contract.errors import Cancelled, RenderError, SourceError, error_classes
from thumbnails_contract.spec import Format
from thumbnails_contract.status import Phase, Reason
from thumbnails_contract.wire import Result

NAMESPACE: Final = "thumbnails_operator"
OK: Final = "ok"
OTHER: Final = "other"

_SOURCE_FORMATS: Final = tuple(format_.value for format_ in Format if format_ is not Format.AUTO)
# From a glance at a thumbnail-sized JPEG to the longest animation that the limits let through.
_RENDER_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# From a worker that lingers to a night's backlog.
_WAIT_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_JOB_BUCKETS: Final = (1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
# From an answer at once to the longest poll.
_EXCHANGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0)
_WEBHOOK_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)


def _ends() -> Iterator[tuple[Phase, str]]:
    """How jobs can end."""
    yield Phase.SUCCEEDED, Reason.RENDERED
    yield Phase.SUCCEEDED, Reason.CACHED
    yield Phase.CANCELLED, Cancelled.reason
    for reason, cls in error_classes().items():
        if issubclass(cls, SourceError | RenderError) and cls is not Cancelled:
            yield Phase.FAILED, reason


class Counts:
    """Each only grows; may be used from any thread.

    Labels whose values are few are there from the start, so that a rate sees the first event as well.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.handed_out = self._counter("jobs_handed_out", "Jobs that were handed to a worker.")
        self.finished = self._counter(
            "jobs_finished", "Jobs that ended, by phase and the reason of their condition.", "phase", "reason"
        )
        self.archived = self._counter("jobs_archived", "Jobs that became history before they were deleted.")
        self.deleted = self._counter(
            "jobs_deleted", "Finished jobs that were deleted after their time (TTL)."
        )
        self.failed_attempts = self._counter(
            "attempts_failed", "Attempts to render that failed, whether followed by another or not.", "reason"
        )
        self.status_writes = self._counter("status_writes", "Writes of a job's status.")
        self.conflicts = self._counter(
            "status_conflicts", "Writes of a status that came too late and were decided anew."
        )
        self.webhook_attempts = self._counter(
            "webhook_attempts", "Attempts to deliver a webhook whose outcome is known, by result.", "result"
        )
        self.erased_accounts = self._counter(
            "erased_accounts", "Accounts that were erased with all they had."
        )
        self.erased_objects = self._counter("erased_objects", "Objects that were deleted for that.")
        self.wait_seconds = self._histogram(
            "job_wait_seconds",
            "From when this operator first saw a job, which may be suspended at first, to its first worker.",
            _WAIT_BUCKETS,
        )
        self.job_seconds = self._histogram(
            "job_duration_seconds",
            "From a job's creation, which is known to the second, to its end.",
            _JOB_BUCKETS,
            "phase",
        )
        self.render_seconds = self._histogram(
            "render_duration_seconds",
            "A job's time in the renderer, by the original's format (`other`: it could not be read).",
            _RENDER_BUCKETS,
            "format",
        )
        self.webhook_seconds = self._histogram(
            "webhook_duration_seconds",
            "An attempt to deliver a webhook, the wait for its turn included.",
            _WEBHOOK_BUCKETS,
        )
        self.exchange_seconds = self._histogram(
            "exchange_request_duration_seconds",
            "Requests of workers: a `poll` may wait for work, a `delivery` brings results and is answered at"
            " once; `result` is `ok`, the reason of an error, or `Aborted` by the worker.",
            _EXCHANGE_BUCKETS,
            "kind",
            "result",
        )
        for phase, reason in _ends():
            self.finished.labels(phase, reason)
        for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED):
            self.job_seconds.labels(phase)
        for format_ in (*_SOURCE_FORMATS, OTHER):
            self.render_seconds.labels(format_)
        for result in (
            Reason.DELIVERED,
            Reason.DELIVERY_RETRYING,
            Reason.DELIVERY_FAILED,
            Reason.RECEIVER_GONE,
            Reason.FORBIDDEN_ADDRESS,
        ):
            self.webhook_attempts.labels(result)
        for kind in ("poll", "delivery"):
            self.exchange_seconds.labels(kind, OK)

    def rendered(self, result: Result) -> None:
        """Take in how long a worker's renderer had a job."""
        if result.render_seconds > 0:
            format_ = result.source.format if result.source is not None else OTHER
            known = format_ if format_ in _SOURCE_FORMATS else OTHER
            self.render_seconds.labels(known).observe(result.render_seconds)

    def value(self, name: str, **labels: str) -> float:
        """One sample, by its name without the prefix; 0.0 for what never happened."""
        return self._registry.get_sample_value(f"{NAMESPACE}_{name}", labels) or 0.0

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._registry.collect()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=NAMESPACE, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace=NAMESPACE, registry=self._registry, buckets=buckets)
