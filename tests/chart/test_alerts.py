"""The alerts of the chart: each is raised by numbers, is quiet when all is well, and says what to do."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from thumbnails_contract.errors import Cancelled, RenderError, error_classes

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "alerts_test.yaml"
Promtool = Callable[..., str]
Rules = dict[str, Any]


@pytest.fixture
def rules(render: Any) -> Rules:
    """As the chart renders them, for a release in the namespace that the cases are written for."""
    spec: Rules = render("monitoring-values.yaml").one("PrometheusRule", "thumbnails")["spec"]
    return spec


def alerts(rules: Rules) -> list[dict[str, Any]]:
    return [rule for group in rules["groups"] for rule in group["rules"]]


def to_test(rules: Rules, folder: Path) -> Path:
    """The cases, beside the rules without words and without the labels of the values: nothing needs those."""
    bare = copy.deepcopy(rules)
    for rule in alerts(bare):
        del rule["annotations"]
        rule["labels"] = {"severity": rule["labels"]["severity"]}
    (folder / "alerts.yaml").write_text(yaml.safe_dump(bare))
    cases = folder / CASES.name
    cases.write_text(CASES.read_text())
    return cases


def test_prometheus_takes_them(rules: Rules, promtool: Promtool, tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump(rules))
    promtool("check", "rules", "--lint=all", "--lint-fatal", file)


def test_each_is_raised_by_numbers_and_none_when_all_is_well(
    rules: Rules, promtool: Promtool, tmp_path: Path
) -> None:
    raised = yaml.safe_load(CASES.read_text())
    expected = {
        case["alertname"]
        for test in raised["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert expected == {rule["alert"] for rule in alerts(rules)}
    assert "SUCCESS" in promtool("test", "rules", to_test(rules, tmp_path))


def test_an_alert_that_is_never_raised_is_found(rules: Rules, promtool: Promtool, tmp_path: Path) -> None:
    (crash,) = (rule for rule in alerts(rules) if rule["alert"] == "ThumbnailsWorkersCrash")
    crash["expr"] = crash["expr"].replace("OutOfMemory", "Memory")
    with pytest.raises(AssertionError, match="ThumbnailsWorkersCrash"):
        promtool("test", "rules", to_test(rules, tmp_path))


def test_each_says_in_words_what_is_wrong_and_what_to_do(rules: Rules) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    for rule in alerts(rules):
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert rule["annotations"]["description"].endswith("."), rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 40, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["labels"]["team"] == "pictures", rule["alert"]
        address = f"https://wiki.example.com/thumbnails#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == address
        assert f"### {rule['alert']}\n" in page, rule["alert"]


def test_they_look_at_the_namespace_of_their_release_alone(helm: Callable[..., str]) -> None:
    text = helm(
        "template", "blue", ROOT / "charts" / "thumbnails", "--namespace", "shop",
        "--set", "monitoring.prometheusRule.enabled=true",
    )  # fmt: skip
    (found,) = (d for d in yaml.safe_load_all(text) if d and d["kind"] == "PrometheusRule")
    assert found["metadata"]["namespace"] == "shop"
    for rule in alerts(found["spec"]):
        selectors = re.findall(r"\{([^}]*)\}", rule["expr"])
        assert selectors
        for selector in selectors:
            assert 'namespace="shop"' in selector, rule["alert"]
        assert "thumbnails-minio" not in rule["expr"]
        assert "runbook_url" not in rule["annotations"]


def test_failures_that_are_nobodys_picture_are_those_of_the_renderer(rules: Rules) -> None:
    (fail,) = (rule for rule in alerts(rules) if rule["alert"] == "ThumbnailsJobsFail")
    (named,) = re.findall(r'reason=~"([^"]+)"', fail["expr"])
    renderers = {reason for reason, cls in error_classes().items() if issubclass(cls, RenderError)}
    assert set(named.split("|")) - {"RenderFailed"} == renderers - {Cancelled.reason, "RenderFailed"}
