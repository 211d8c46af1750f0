"""docs/benchmarks.md, of which each benchmark draws its own section anew and leaves the others alone.

A section stands between two comments that carry its name; a new one goes to the end.
"""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def made_by(command: str) -> str:
    """The sentence that says when, where and by what a section was made."""
    return (
        f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}."
    )


def put_section(page: str, name: str, text: str) -> str:
    """The page with this text as the section `name`."""
    section = f"<!-- begin: {name} -->\n{text.strip()}\n<!-- end: {name} -->\n"
    pattern = re.compile(f"<!-- begin: {name} -->\n.*?<!-- end: {name} -->\n", re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _: section, page)
    return f"{page.rstrip()}\n\n{section}"


def write_section(name: str, text: str) -> None:
    """Draw one section of the document anew."""
    DOCUMENT.write_text(put_section(DOCUMENT.read_text("utf-8"), name, text), "utf-8")
