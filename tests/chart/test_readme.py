"""The chart's README: every value is in it, and every way to install the chart."""

import re

import pytest
from hack.chart.values import CHART, page, read_values

README = (CHART / "README.md").read_text("utf-8")
SOURCE = (CHART / "values.yaml").read_text("utf-8")


def test_it_has_the_values_of_today() -> None:
    assert page(README, SOURCE) == README, "run `make docs`"


def test_every_value_says_what_it_is() -> None:
    values = list(read_values(SOURCE))
    assert len(values) > 100
    for value in values:
        if not value.is_heading or "." not in value.path:
            assert value.text or value.path == "worker", value.path


def test_every_way_to_install_it_is_told_and_is_there() -> None:
    told = set(re.findall(r"\(ci/([-\w]+\.yaml)\)", README))
    assert told == {path.name for path in (CHART / "ci").iterdir()}


@pytest.mark.parametrize("path", sorted((CHART / "ci").iterdir()), ids=lambda path: path.name)
def test_every_way_says_in_its_first_line_for_whom_it_is(path: object) -> None:
    assert str(path.read_text("utf-8")).startswith("# ")  # type: ignore[attr-defined]


def test_comments_become_texts_and_maps_without_any_become_values() -> None:
    source = """\
# A header.

# All of it,
# in two lines.
a:
  # One.
  b: 1
  # Two.
  c: {x: 1}
  d:
    # Three.
    e: []
"""
    found = [(value.path, value.text, value.is_heading, value.default) for value in read_values(source)]
    assert found == [
        ("a", "All of it, in two lines.", True, None),
        ("a.b", "One.", False, 1),
        ("a.c", "Two.", False, {"x": 1}),
        ("a.d", "", True, None),
        ("a.d.e", "Three.", False, []),
    ]
