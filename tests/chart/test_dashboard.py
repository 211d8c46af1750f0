"""The Grafana dashboard and the PodMonitor: what they ask for is what pods tell."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hack.chart.dashboard import FILE, dashboard, panels, text

ROOT = Path(__file__).parents[2]


def test_the_file_is_made_from_the_panels_of_today() -> None:
    assert FILE.read_text("utf-8") == text(), "run `make docs`"


def test_panels_have_their_own_place_and_number() -> None:
    boxes = [(panel["id"], panel["gridPos"]) for panel in dashboard()["panels"]]
    assert len({number for number, _ in boxes}) == len(boxes)
    taken: set[tuple[int, int]] = set()
    for _, box in boxes:
        cells = {
            (x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_every_query_keeps_to_the_namespace_that_is_chosen() -> None:
    for panel in panels():
        for expression in panel.queries.values():
            selectors = re.findall(r"\{([^}]*)\}", expression)
            assert selectors, panel.title
            assert all('namespace="$namespace"' in selector for selector in selectors), panel.title
            assert re.findall(r"\[([^\]]+)\]", expression) in (
                [],
                ["$__rate_interval"] * expression.count("["),
            )


def told() -> dict[str, set[str]]:
    """Names that docs/metrics.md has, which is made from the code, as series; and the labels of each."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "docs" / "metrics.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and (name := re.fullmatch(r"`(thumbnails_\w+)`", cells[1])):
            labels = set(re.findall(r"`(\w+)`", cells[3]))
            parts = ("_bucket", "_sum", "_count") if cells[2] == "histogram" else ("",)
            found |= {f"{name[1]}{part}": labels | ({"le"} if part == "_bucket" else set()) for part in parts}
    assert len(found) > 30
    return found


def asked(expression: str) -> list[tuple[str, set[str]]]:
    """Series that PromQL names, with the labels that it wants of each: to select, and to sum by."""
    grouped = {word.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for word in by.split(",")}
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=|!)", selector)) | grouped)
        for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression)
    ]


def expressions(render: Any) -> list[tuple[str, str]]:
    rules = render("monitoring-values.yaml").one("PrometheusRule", "thumbnails")["spec"]["groups"]
    return [
        *((panel.title, expression) for panel in panels() for expression in panel.queries.values()),
        *((rule["alert"], rule["expr"]) for group in rules for rule in group["rules"]),
    ]


def test_panels_and_alerts_ask_for_what_api_and_operator_tell(render: Any) -> None:
    known = told()
    known |= {name: set() for name in ("process_resident_memory_bytes", "process_cpu_seconds_total")}
    volume = {"persistentvolumeclaim"}
    known |= {f"kubelet_volume_stats_{name}_bytes": volume for name in ("available", "capacity")}
    for title, expression in expressions(render):
        series = asked(expression)
        assert series, title
        for name, labels in series:
            assert name in known, (title, name)
            # What Prometheus and the PodMonitor give to every series.
            assert labels - {"namespace", "pod", "component"} <= known[name], (title, name)


def test_what_there_is_to_know_has_a_panel(render: Any) -> None:
    shown = {name for _, expression in expressions(render) for name, _ in asked(expression)}
    # Sums and counts are for those who ask otherwise; what is deleted and conflicts interest developers.
    left = {name for name in told() if not name.endswith(("_sum", "_count"))} - shown
    assert left <= {
        "thumbnails_api_jobs",  # as the operator's
        "thumbnails_operator_erased_accounts_total",
        "thumbnails_operator_erased_objects_total",
        "thumbnails_api_cache_entries",
        "thumbnails_operator_jobs_archived_total",
        "thumbnails_operator_jobs_deleted_total",
        "thumbnails_operator_jobs_handed_out_total",
        "thumbnails_operator_status_conflicts_total",
        "thumbnails_operator_status_writes_total",
        "thumbnails_operator_webhook_duration_seconds_bucket",
    }


def test_a_sidecar_finds_it(render: Any) -> None:
    found = render("monitoring-values.yaml").one("ConfigMap", "thumbnails-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Pictures"}
    assert json.loads(found["data"]["thumbnails.json"]) == dashboard()


def test_the_monitor_selects_pods_that_tell_something_and_is_let_in(render: Any) -> None:
    rendered = render("monitoring-values.yaml")
    spec = rendered.one("PodMonitor", "thumbnails")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    (expression,) = spec["selector"]["matchExpressions"]
    selected = set()
    for deployment in rendered.all("Deployment"):
        template = deployment["spec"]["template"]
        labels, (container, *_) = template["metadata"]["labels"], template["spec"]["containers"]
        fits = spec["selector"]["matchLabels"].items() <= labels.items()
        if fits and labels[expression["key"]] in expression["values"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            selected.add((labels["app.kubernetes.io/component"], ports[endpoint["port"]]))
    assert selected == {("api", 8080), ("operator", 8080)}
    for component in ("api", "operator"):
        ingress = rendered.one("NetworkPolicy", f"thumbnails-{component}")["spec"]["ingress"]
        (rule,) = (rule for rule in ingress if rule["ports"] == [{"protocol": "TCP", "port": 8080}])
        assert rule["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


def test_nothing_of_it_is_made_unless_it_is_asked_for(render: Any, helm: Callable[..., str]) -> None:
    kinds = {document["kind"] for document in render().documents}
    assert not {"PodMonitor", "PrometheusRule"} & kinds
    chart = yaml.safe_load((ROOT / "charts" / "thumbnails" / "values.yaml").read_text())
    assert not any(part["enabled"] for part in chart["monitoring"].values())
