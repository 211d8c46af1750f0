"""Writes docs/metrics.md from what API and operator expose; a test holds the page to it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from thumbnails_api.job_cache import JobCache
from thumbnails_api.metrics import ApiMetrics
from thumbnails_api.thumbnail_cache import ThumbnailCache
from thumbnails_common.jobstore import JobStore
from thumbnails_operator.counts import Counts
from thumbnails_operator.metrics import Exposition, Leader, OperatorCollector

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD: Final = """\
# Metrics

What API and operator tell Prometheus at `/metrics`: in a cluster on the port of the probes
(`THUMBNAILS_PROBE_PORT`, 8080) of each pod, to whoever the chart's `networkPolicy.metricsFrom` names; with
`make run` those of the API at `http://localhost:3000/metrics`. Workers have no port: the operator tells what
they report. Made from the code by `make docs`.

Every replica of the API counts its own requests: add them up. Each knows all jobs, as the operator does: do
not add those up. Of the operators only the one that leads tells more than `thumbnails_operator_leader`.
Beside these there are the usual `process_*` and `python_*`. A `reason` is that of a condition, or of an
[error](errors.md).

| question | query |
| --- | --- |
"""


def _ratio(counter: str, labels: str) -> str:
    return f"sum(rate({counter}{{{labels}}}[5m])) / sum(rate({counter}[5m]))"


def _quantile(quantile: float, histogram: str, labels: str = "", by: str = "le") -> str:
    selector = f"{{{labels}}}" if labels else ""
    return f"histogram_quantile({quantile}, sum by ({by}) (rate({histogram}_bucket{selector}[5m])))"


QUERIES: Final = {
    "requests that fail by our fault": _ratio("thumbnails_api_requests_total", 'status=~"5.."'),
    "seconds of an upload, 99 of 100": _quantile(
        0.99, "thumbnails_api_request_duration_seconds", 'method="POST",route="/images"'
    ),
    "why clients are refused": "sum by (reason) (rate(thumbnails_api_problems_total[5m]))",
    "thumbnails that come from memory": _ratio("thumbnails_api_cache_requests_total", 'result="hit"'),
    "how long the oldest job waits": "max(thumbnails_operator_queue_age_seconds)",
    "why jobs wait": 'sum by (reason) (thumbnails_operator_jobs_unfinished{phase="Pending"})',
    "how jobs end": "sum by (phase, reason) (rate(thumbnails_operator_jobs_finished_total[5m]))",
    "seconds in the renderer, 95 of 100": _quantile(
        0.95, "thumbnails_operator_render_duration_seconds", by="le, format"
    ),
    "seconds until a worker is answered, 99 of 100": _quantile(
        0.99, "thumbnails_operator_exchange_request_duration_seconds", 'kind="delivery"'
    ),
    "webhooks that do not get through": _ratio(
        "thumbnails_operator_webhook_attempts_total", 'result!="Delivered"'
    ),
}


def page() -> str:
    """The page, whole."""
    queries = "".join(f"| {question} | `{query}` |\n" for question, query in QUERIES.items())
    sections = (("API", api_families()), ("Operator", operator_families()))
    return HEAD + queries + "".join(f"\n## {title}\n\n{_table(families)}" for title, families in sections)


def api_families() -> list[Metric]:
    """What a replica of the API exposes that has answered a request."""
    cache = ThumbnailCache(max_bytes=1, max_entries=1, max_entry_bytes=1)
    metrics = ApiMetrics(JobCache(_no_store()), cache)
    metrics.began()
    metrics.refused("JobNotFound")
    metrics.answered("GET", "/jobs/{job_id}", 404, 0.001, 0)
    return _own(metrics.text())


def operator_families() -> list[Metric]:
    """What an operator exposes that leads and has seen an attempt fail."""
    counts = Counts()
    counts.failed_attempts.labels("WorkerCrashed").inc()
    leader = Leader(tuple, dict, counts)
    return _own(Exposition(OperatorCollector(lambda: leader, lambda: datetime.now(UTC)))())


def samples_of(families: Iterable[Metric]) -> set[str]:
    """The names that queries can use."""
    return {sample.name for family in families for sample in family.samples}


def _own(text: bytes) -> list[Metric]:
    families = text_string_to_metric_families(text.decode())
    ours = [each for each in families if each.name.startswith("thumbnails_")]
    return sorted((each for each in ours if not each.name.endswith("_created")), key=lambda each: each.name)


def _table(families: Iterable[Metric]) -> str:
    rows = (
        f"| `{_name(family)}` | {family.type} | {'; '.join(_labels(family))} | {family.documentation} |\n"
        for family in families
    )
    return "| name | type | labels | what |\n| --- | --- | --- | --- |\n" + "".join(rows)


def _name(family: Metric) -> str:
    return family.name + "_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> Iterator[str]:
    """Each label, with its values where all of them are there from the start."""
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    for label, found in values.items():
        listed = len(found) > 1 and label != "reason"
        yield f"`{label}`" + (f" ({', '.join(found)})" if listed else "")


def _no_store() -> JobStore:
    """Nothing is asked of it."""
    return None  # type: ignore[return-value]


if __name__ == "__main__":
    PAGE.write_text(page())
