"""What Prometheus is told of a replica of the API: requests by route, refusals, cache, jobs that it knows."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from .job_cache import JobCache
from .thumbnail_cache import ThumbnailCache

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
# From a job that is looked at to a large upload that is waited for.
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})


class ApiMetrics:
    """May be used from any thread."""

    def __init__(self, jobs: JobCache, cache: ThumbnailCache) -> None:
        self._registry = CollectorRegistry()
        PlatformCollector(self._registry)
        ProcessCollector(registry=self._registry)
        GCCollector(self._registry)
        self._registry.register(_Jobs(jobs))
        self._registry.register(_Cache(cache))
        self._requests = Counter(
            "thumbnails_api_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "thumbnails_api_request_duration_seconds",
            "From the whole request being in to its answer being made; waits that were asked for included.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "thumbnails_api_requests_in_progress",
            "Requests whose answer is being made; those that wait by their own wish included.",
            registry=self._registry,
        )
        self._problems = Counter(
            "thumbnails_api_problems",
            "Answers that are problem documents, by their reason; requests that the server refuses before"
            " they are counted as requests, from their headers alone, included.",
            ["reason"],
            registry=self._registry,
        )
        self._counted_alone = Counter(
            "thumbnails_api_rate_limits_counted_alone",
            "Counts of rate limits that this replica made for itself, since the shared storage was away.",
            registry=self._registry,
        )
        self._received = Counter(
            "thumbnails_api_received_bytes", "Bytes of requests' bodies.", registry=self._registry
        )

    def began(self) -> None:
        """Take in that an answer is to be made: `answered` will be called."""
        self._in_progress.inc()

    def refused(self, reason: str) -> None:
        """Take in the reason of a problem document."""
        self._problems.labels(reason).inc()

    def counted_alone(self) -> None:
        """Take in that the shared storage of rate limits was away for a count."""
        self._counted_alone.inc()

    def answered(self, method: str, route: str | None, status: int, seconds: float, received: int) -> None:
        """Take in one answer. `route` is the pattern of its path; None for a path that there is not."""
        method, route = method if method in _METHODS else "other", route or "none"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        self._received.inc(received)
        self._in_progress.dec()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, jobs: JobCache) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "thumbnails_api_jobs", "Jobs that this replica knows, by phase.", labels=["phase"]
        )
        for phase, number in self._jobs.counts().items():
            family.add_metric([phase.value], number)
        yield family
        yield GaugeMetricFamily(
            "thumbnails_api_jobs_synced", "1 when all jobs were listed.", value=float(self._jobs.synced)
        )


class _Cache(Collector):
    def __init__(self, cache: ThumbnailCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        stats = self._cache.stats()
        requests = CounterMetricFamily(
            "thumbnails_api_cache_requests",
            "Thumbnails of a size that is kept in memory which were asked for, by whether they were there.",
            labels=["result"],
        )
        requests.add_metric(["hit"], stats.hits)
        requests.add_metric(["miss"], stats.misses)
        yield requests
        yield CounterMetricFamily(
            "thumbnails_api_cache_evictions",
            "Thumbnails that made room for others in memory.",
            value=stats.evictions,
        )
        yield GaugeMetricFamily("thumbnails_api_cache_entries", "Thumbnails in memory.", value=stats.entries)
        yield GaugeMetricFamily(
            "thumbnails_api_cache_bytes", "Bytes of the thumbnails in memory.", value=stats.bytes
        )
