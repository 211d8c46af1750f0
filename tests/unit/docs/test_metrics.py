"""The page of metrics says what there is, and whoever names a metric names one of these."""

import re
from pathlib import Path

import pytest
from hack import metrics_page
from prometheus_client.core import Metric

ROOT = Path(__file__).parents[3]
NAMING = [
    ROOT / "docs" / "metrics.md",
    *(
        path
        for path in sorted((ROOT / "charts").rglob("*"))
        if path.suffix in {".yaml", ".yml", ".json", ".tpl"}
    ),
]
FAMILIES = [*metrics_page.api_families(), *metrics_page.operator_families()]


def test_the_page_is_made_from_the_code() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run make docs"


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_metrics_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"\bthumbnails_(?:api|operator)_[a-z_]+", path.read_text()))
    assert named <= metrics_page.samples_of(FAMILIES) | {family.name for family in FAMILIES}


# https://prometheus.io/docs/practices/naming/
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: Metric) -> None:
    assert re.fullmatch(r"thumbnails_(api|operator)(_[a-z]+)+", family.name)
    assert family.documentation.endswith(".")
    if family.type == "histogram":
        assert family.name.endswith("_seconds")
    assert not family.name.endswith(("_count", "_sum", "_bucket", "_info", "_milliseconds"))
