"""The chart's Grafana dashboard, which docs/monitoring.md draws as well: rows of panels, as JSON.

Grafana's model: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE = Path(__file__).parents[2] / "charts" / "thumbnails" / "files" / "dashboard.json"
NAMESPACE: Final = 'namespace="$namespace"'
RATE: Final = "$__rate_interval"
_WIDTH: Final = 24  # of Grafana's grid
_DATASOURCE: Final = {"type": "prometheus", "uid": "$datasource"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: queries by legend (`{{label}}` stands for a label's value), and a unit of Grafana's list."""

    title: str
    text: str
    unit: str
    queries: Mapping[str, str]
    is_stat: bool = False
    stacked: bool = False


def _selector(labels: Mapping[str, str]) -> str:
    """In the namespace that is looked at; `not_x` excludes values of the label x."""
    return ",".join([NAMESPACE, *(_matcher(name, value) for name, value in labels.items())])


def _rate(metric: str, by: str = "", **labels: str) -> str:
    """Events in a second, by a label."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{_selector(labels)}}}[{RATE}]))"


def _matcher(name: str, value: str) -> str:
    return f'{name.removeprefix("not_")}{"!~" if name.startswith("not_") else "=~"}"{value}"'


def _quantile(quantile: float, metric: str, by: str = "", **labels: str) -> str:
    return (
        f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', f'{by}, le' if by else 'le', **labels)})"
    )


def _gauge(function: str, metric: str, by: str = "", **labels: str) -> str:
    return f"{function}{f' by ({by})' if by else ''} ({metric}{{{_selector(labels)}}})"


_OPERATOR: Final = "thumbnails_operator"
_API: Final = "thumbnails_api"

# Rows, by what one asks first: is it well, what do clients see, what becomes of jobs, and who is at work.
ROWS: Final[Mapping[str, tuple[Panel, ...]]] = {
    "Now": (
        Panel(
            "Leader",
            "Operators that lead: one.",
            "none",
            {"": _gauge("sum", f"{_OPERATOR}_leader")},
            is_stat=True,
        ),
        Panel(
            "Oldest job that waits",
            "",
            "s",
            {"": _gauge("max", f"{_OPERATOR}_queue_age_seconds")},
            is_stat=True,
        ),
        Panel("Jobs that wait", "", "none", {"": _gauge("max", f"{_OPERATOR}_queue_depth")}, is_stat=True),
        Panel(
            "Failing requests",
            "Answers 5xx of all.",
            "percentunit",
            {
                "": f"({_rate(f'{_API}_requests_total', status='5..')} or vector(0))"
                f" / {_rate(f'{_API}_requests_total')}"
            },
            is_stat=True,
        ),
        Panel(
            "Pictures a minute",
            "Jobs that succeeded.",
            "none",
            {"": f"60 * {_rate(f'{_OPERATOR}_jobs_finished_total', phase='Succeeded')}"},
            is_stat=True,
        ),
        Panel(
            "From cache",
            "Jobs whose thumbnails were there already, of those that succeeded.",
            "percentunit",
            {
                "": f"{_rate(f'{_OPERATOR}_jobs_finished_total', reason='Cached')}"
                f" / {_rate(f'{_OPERATOR}_jobs_finished_total', phase='Succeeded')}"
            },
            is_stat=True,
        ),
    ),
    "Clients": (
        Panel(
            "Requests by status",
            "",
            "reqps",
            {"{{status}}": _rate(f"{_API}_requests_total", "status")},
            stacked=True,
        ),
        Panel(
            "Time of an upload",
            "From the whole body being in, to the answer; waits that were asked for included.",
            "s",
            {
                f"{quantile:.0%}": _quantile(
                    quantile, f"{_API}_request_duration_seconds", method="POST", route="/images"
                )
                for quantile in (0.5, 0.95, 0.99)
            },
        ),
        Panel(
            "Time of other answers",
            "95 of 100, but for followers of events.",
            "s",
            {
                "{{route}}": _quantile(
                    0.95, f"{_API}_request_duration_seconds", "route", method="GET", not_route=".*events"
                )
            },
        ),
        Panel(
            "Refusals by reason",
            "Problem documents; docs/errors.md tells them.",
            "reqps",
            {"{{reason}}": _rate(f"{_API}_problems_total", "reason")},
            stacked=True,
        ),
        Panel("Bytes received", "", "Bps", {"bodies": _rate(f"{_API}_received_bytes_total")}),
        Panel(
            "Thumbnails from memory",
            "Of those that are small enough to be kept, by whether they were there; and what made room.",
            "ops",
            {
                "{{result}}": _rate(f"{_API}_cache_requests_total", "result"),
                "evicted": _rate(f"{_API}_cache_evictions_total"),
            },
        ),
        Panel(
            "Memory for thumbnails",
            "",
            "bytes",
            {"{{pod}}": _gauge("sum", f"{_API}_cache_bytes", "pod")},
        ),
        Panel(
            "Requests in progress",
            "Those that wait by their own wish included.",
            "none",
            {"{{pod}}": _gauge("sum", f"{_API}_requests_in_progress", "pod")},
        ),
    ),
    "Jobs": (
        Panel(
            "Jobs that ended",
            "By the reason of their condition.",
            "ops",
            {"{{phase}} {{reason}}": _rate(f"{_OPERATOR}_jobs_finished_total", "phase, reason")},
            stacked=True,
        ),
        Panel(
            "Why jobs wait",
            "By the reason of the condition Started.",
            "none",
            {"{{reason}}": _gauge("sum", f"{_OPERATOR}_jobs_unfinished", "reason", phase="Pending")},
            stacked=True,
        ),
        Panel(
            "From upload to end",
            "Of jobs that succeeded; their creation is known to the second.",
            "s",
            {
                f"{quantile:.0%}": _quantile(quantile, f"{_OPERATOR}_job_duration_seconds", phase="Succeeded")
                for quantile in (0.5, 0.95, 0.99)
            },
        ),
        Panel(
            "Wait for a worker",
            "",
            "s",
            {
                f"{quantile:.0%}": _quantile(quantile, f"{_OPERATOR}_job_wait_seconds")
                for quantile in (0.5, 0.95)
            },
        ),
        Panel(
            "Attempts that failed",
            "Whether followed by another or not.",
            "ops",
            {"{{reason}}": _rate(f"{_OPERATOR}_attempts_failed_total", "reason")},
            stacked=True,
        ),
        Panel(
            "Jobs in the store",
            "",
            "none",
            {"{{phase}}": _gauge("sum", f"{_OPERATOR}_jobs", "phase")},
            stacked=True,
        ),
    ),
    "Workers and webhooks": (
        Panel(
            "Workers",
            "Worker Jobs by phase.",
            "none",
            {"{{phase}}": _gauge("sum", f"{_OPERATOR}_workers", "phase")},
            stacked=True,
        ),
        Panel(
            "Time in the renderer",
            "95 of 100, by the original's format.",
            "s",
            {"{{format}}": _quantile(0.95, f"{_OPERATOR}_render_duration_seconds", "format")},
        ),
        Panel(
            "Renderers at work",
            "Seconds of rendering in a second.",
            "none",
            {"{{format}}": _rate(f"{_OPERATOR}_render_duration_seconds_sum", "format")},
            stacked=True,
        ),
        Panel(
            "Operator's answers to workers",
            "95 of 100 deliveries of results.",
            "s",
            {
                "deliveries": _quantile(
                    0.95, f"{_OPERATOR}_exchange_request_duration_seconds", kind="delivery"
                )
            },
        ),
        Panel(
            "Webhook attempts",
            "By result.",
            "ops",
            {"{{result}}": _rate(f"{_OPERATOR}_webhook_attempts_total", "result")},
            stacked=True,
        ),
        Panel(
            "Webhooks to be sent again",
            "",
            "none",
            {"retrying": _gauge("max", f"{_OPERATOR}_webhooks_retrying")},
        ),
    ),
    "Processes": (
        Panel(
            "Memory",
            "",
            "bytes",
            {
                "{{component}} {{pod}}": _gauge(
                    "sum", "process_resident_memory_bytes", "component, pod", component="api|operator"
                )
            },
        ),
        Panel(
            "CPU",
            "Cores.",
            "none",
            {
                "{{component}} {{pod}}": _rate(
                    "process_cpu_seconds_total", "component, pod", component="api|operator"
                )
            },
        ),
    ),
}


def panels() -> Iterator[Panel]:
    """All panels, from top to bottom."""
    for row in ROWS.values():
        yield from row


def dashboard() -> dict[str, Any]:
    """Grafana's JSON model."""
    return {
        "uid": "thumbnails",
        "title": "Thumbnails",
        "tags": ["thumbnails"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "namespace",
                    "label": "Namespace",
                    "type": "query",
                    "datasource": _DATASOURCE,
                    "query": {"query": f"label_values({_OPERATOR}_leader, namespace)", "refId": "namespace"},
                    "refresh": 2,
                    "sort": 1,
                },
            ]
        },
        "panels": list(_laid_out()),
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    number = y = 0
    for title, row in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _box(0, y, _WIDTH, 1),
        }
        y += 1
        across = 6 if row[0].is_stat else 3 if len(row) % 3 == 0 else 2
        width, height = _WIDTH // across, 4 if row[0].is_stat else 8
        for index, panel in enumerate(row):
            number += 1
            yield _panel(
                panel, number, _box(index % across * width, y + index // across * height, width, height)
            )
        y += -(-len(row) // across) * height


def _box(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int, box: dict[str, int]) -> dict[str, Any]:
    custom = {"fillOpacity": 20, "stacking": {"mode": "normal"}} if panel.stacked else {"fillOpacity": 0}
    return {
        "id": number,
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "gridPos": box,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, **({} if panel.is_stat else {"custom": custom})},
            "overrides": [],
        },
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if panel.is_stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": expression,
                "legendFormat": legend,
                "datasource": _DATASOURCE,
            }
            for index, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def text() -> str:
    """The file, whole."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
