"""The picture of docs/monitoring.md: every panel is in it, and it is a well-formed SVG."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hack.chart.dashboard import ROWS, panels
from hack.chart.monitor import named
from hack.chart.picture import Line, draw, nice, stacked, with_unit

PICTURE = Path(__file__).parents[2] / "docs" / "monitoring.svg"
SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_the_page_s_picture_has_the_panels_of_today() -> None:
    found = words(PICTURE.read_text("utf-8"))
    assert [panel.title for panel in panels() if panel.title not in found] == [], "draw it anew"


def test_every_panel_is_drawn_with_and_without_numbers() -> None:
    lines = {panel.title: [Line("a <b>", [(0, 1), (60, 3)]), Line("b", [(60, 2)])] for panel in panels()}
    found = words(draw(ROWS, lines, 120))
    assert {*ROWS, *(panel.title for panel in panels())} <= set(found)
    assert "a <b>" in found
    assert words(draw(ROWS, {}, 120)).count("no data") == sum(panel.is_stat for panel in panels())


def test_lines_of_a_stack_lie_on_one_another() -> None:
    first, second = Line("a", [(0, 1), (5, 2)]), Line("b", [(5, 3), (10, 4)])
    (one, nothing), (two, below) = stacked([first, second])
    assert nothing.points == [(0, 0), (5, 0), (10, 0)]
    assert one.points == below.points == [(0, 1), (5, 2), (10, 0)]
    assert two.points == [(0, 1), (5, 5), (10, 4)]


@pytest.mark.parametrize(
    ("value", "ceiling"), [(0, 1), (0.003, 0.005), (0.7, 1), (1, 1), (7, 10), (11, 20), (420, 500)]
)
def test_axes_end_at_round_numbers(value: float, ceiling: float) -> None:
    assert nice(value) == pytest.approx(ceiling)


@pytest.mark.parametrize(("value", "ceiling"), [(700, 1000), (1500, 2 * 1024), (3_000_000, 5 * 1024**2)])
def test_axes_of_bytes_end_at_round_numbers_of_kibibytes(value: float, ceiling: float) -> None:
    assert nice(value, 1024) == pytest.approx(ceiling)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "s", "250 ms"),
        (0, "s", "0 s"),
        (12, "s", "12 s"),
        (0.125, "percentunit", "12.5 %"),
        (3 * 2**20, "bytes", "3 MiB"),
        (2048, "Bps", "2 KiB/s"),
        (4.5, "reqps", "4.5/s"),
        (4, "none", "4"),
    ],
)
def test_values_are_shown_as_people_read_them(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


def test_legends_have_labels_in_their_places() -> None:
    assert named("{{phase}} {{reason}}", {"phase": "Failed", "reason": "OutOfMemory"}) == "Failed OutOfMemory"
