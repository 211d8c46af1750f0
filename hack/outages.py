"""Draws the table of outages in docs/operating.md from docs/outages.json, which `make e2e-faults` writes."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[1] / "docs"
RESULTS: Final = DOCS / "outages.json"
PAGE: Final = DOCS / "operating.md"
_TABLE: Final = re.compile(r"(<!-- begin: outages -->\n).*?(<!-- end: outages -->\n)", re.DOTALL)
_COLUMNS: Final = (
    "outage",
    "it took",
    "clients were sent away",
    "uploads again after",
    "all jobs ended after",
    "jobs said",
    "Events said",
)


def table(rows: list[Mapping[str, Any]]) -> str:
    """One row for each outage, as Markdown."""
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    for row in rows:
        cells = (
            row["name"],
            f"{row['outage_seconds']:.0f} s",
            _counts(row["setbacks"]),
            f"{row['uploads_again_seconds']:.0f} s" if row["setbacks"] else "never refused",
            f"{row['jobs_ended_seconds']:.0f} s",
            _names(row["reasons"]),
            _names(row["warnings"]),
        )
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def draw(page: str, rows: list[Mapping[str, Any]]) -> str:
    """The page with the table of these rows."""
    return _TABLE.sub(lambda match: match[1] + table(rows) + match[2], page)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _counts(setbacks: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(setbacks.items())) or "-"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


if __name__ == "__main__":
    PAGE.write_text(draw(PAGE.read_text(), json.loads(RESULTS.read_text())))
