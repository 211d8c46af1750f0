"""Draws the dashboard's panels as one SVG, for docs/monitoring.md: values in, text out.

Grafana draws the same panels from the same queries; this is for a page that has no Grafana behind it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from hack.chart.dashboard import Panel

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#b8a900")
_PAGE: Final = 1080
_GAP: Final = 12
_ROW: Final = 30
_HEIGHT: Final = 190
_STAT_HEIGHT: Final = 84
_BYTES: Final = ("bytes", "Bps")
_LEGEND: Final = 4  # names that fit below a panel


@dataclass(frozen=True, slots=True)
class Line:
    """A series of a panel: its name, and (seconds since the start, value), in order."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(rows: Mapping[str, Sequence[Panel]], lines: Mapping[str, Sequence[Line]], seconds: float) -> str:
    """The whole picture; `lines` are those of each panel, by title."""
    parts: list[str] = []
    y = 0.0
    for title, panels in rows.items():
        y += _ROW
        parts.append(f'<text class="row" x="{_GAP}" y="{y - 8:.0f}">{escape(title)}</text>')
        across = 6 if panels[0].is_stat else 3 if len(panels) % 3 == 0 else 2
        width = (_PAGE - _GAP * (across + 1)) / across
        height = _STAT_HEIGHT if panels[0].is_stat else _HEIGHT
        for index, panel in enumerate(panels):
            x = _GAP + index % across * (width + _GAP)
            if index and index % across == 0:
                y += height + _GAP
            body = _stat if panel.is_stat else _graph
            inner = "".join(body(panel, lines.get(panel.title, ()), width, height, seconds))
            parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{inner}</g>')
        y += height + _GAP
    style = (
        "text{font:11px sans-serif;fill:#333}.row{font-size:15px;font-weight:bold}"
        ".title{font-size:12px;font-weight:bold}.big{font-size:28px;fill:#0072b2}"
        ".axis{fill:#777;font-size:10px}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_PAGE} {y:.0f}" width="{_PAGE}">'
        f"<style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _frame(panel: Panel, width: float, height: float) -> Iterator[str]:
    yield f'<rect width="{width:.1f}" height="{height}" rx="4" fill="#fafafa" stroke="#ddd"/>'
    yield f'<text class="title" x="8" y="16">{escape(panel.title)}</text>'


def _stat(panel: Panel, lines: Sequence[Line], width: float, height: float, _seconds: float) -> Iterator[str]:
    yield from _frame(panel, width, height)
    last = lines[0].points[-1][1] if lines and lines[0].points else None
    shown = "no data" if last is None else with_unit(last, panel.unit)
    yield f'<text class="big" x="{width / 2:.1f}" y="58" text-anchor="middle">{shown}</text>'


def _graph(panel: Panel, lines: Sequence[Line], width: float, height: float, seconds: float) -> Iterator[str]:
    yield from _frame(panel, width, height)
    left, top, right, bottom = 52.0, 26.0, width - 8, height - 44.0
    drawn = list(stacked(lines)) if panel.stacked else [(line, None) for line in lines]
    highest = max((value for line, _ in drawn for _, value in line.points), default=0.0)
    ceiling = nice(highest, 1024 if panel.unit in _BYTES else 1000)
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - top)
        yield f'<path d="M{left} {y:.1f}H{right:.1f}" stroke="#e5e5e5"/>'
        label = with_unit(part * ceiling, panel.unit)
        yield f'<text class="axis" x="{left - 4}" y="{y + 3:.1f}" text-anchor="end">{label}</text>'
    last = int(seconds // 60)
    for minute in range(0, last + 1, max(1, last // 4)):
        x = left + minute * 60 / seconds * (right - left)
        anchor = "end" if minute == last else "middle"
        spot = f'x="{x:.1f}" y="{bottom + 12:.0f}" text-anchor="{anchor}"'
        yield f'<text class="axis" {spot}>{minute} min</text>'

    def place(point: tuple[float, float]) -> str:
        x = left + point[0] / seconds * (right - left)
        return f"{x:.1f} {bottom - point[1] / ceiling * (bottom - top):.1f}"

    # The highest of a stack first: the others lie over it.
    for index in reversed(range(len(drawn))):
        line, below = drawn[index]
        if not line.points:
            continue
        colour = COLOURS[index % len(COLOURS)]
        path = "M" + "L".join(map(place, line.points))
        if below is not None:
            area = path + "L" + "L".join(map(place, reversed(below.points))) + "Z"
            yield f'<path d="{area}" fill="{colour}" fill-opacity=".35"/>'
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield from _legend([line.name for line in lines], width, height)


def _legend(names: Sequence[str], width: float, height: float) -> Iterator[str]:
    each = (width - 16) / min(max(len(names), 1), _LEGEND)
    for index, name in enumerate(names[: 2 * _LEGEND]):
        x = 8 + index % _LEGEND * each
        y = height - 20 + index // _LEGEND * 13
        colour = COLOURS[index % len(COLOURS)]
        yield f'<rect x="{x:.1f}" y="{y - 8:.0f}" width="8" height="8" fill="{colour}"/>'
        # Of a long name the end says more: pods differ there.
        room = int((each - 16) / 5.4)
        cut = name if len(name) <= room else f"…{name[1 - room :]}"
        yield f'<text class="axis" x="{x + 11:.1f}" y="{y:.0f}">{escape(cut)}</text>'


def stacked(lines: Sequence[Line]) -> Iterator[tuple[Line, Line]]:
    """Each line on top of those before it, and what it lies on, at the times that any of them has."""
    times = sorted({time for line in lines for time, _ in line.points})
    floor = dict.fromkeys(times, 0.0)
    for line in lines:
        below = Line(line.name, list(floor.items()))
        own = dict(line.points)
        floor = {time: value + own.get(time, 0.0) for time, value in floor.items()}
        yield Line(line.name, list(floor.items())), below


def nice(value: float, thousand: int = 1000) -> float:
    """A round number that is no smaller: 1, 2 or 5 times a power of ten, of thousands that may be 1024."""
    if value <= 0:
        return 1.0
    size = float(thousand) ** math.floor(math.log(value, thousand)) if value >= 1 else 1.0
    power = 10.0 ** math.floor(math.log10(value / size))
    return next(size * power * factor for factor in (1, 2, 5, 10) if size * power * factor >= value)


def with_unit(value: float, unit: str) -> str:
    """A value as people read it, in a unit of Grafana's list."""
    if unit in _BYTES:
        for name, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value >= size:
                return f"{value / size:.4g} {name}{'/s' if unit == 'Bps' else ''}"
        return f"{value:.0f} B{'/s' if unit == 'Bps' else ''}"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
    return f"{value:.3g}{'/s' if unit in ('reqps', 'ops') else ''}"
