"""Writes the values into charts/thumbnails/README.md from the comments of values.yaml (`make docs`).

A comment right above a key says what it is. A map with comments inside is a heading; anything else is a
row, so that a map without any, such as `resources`, is one value. A test holds the page to it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "thumbnails"
BEGIN = "<!-- begin: values, by `make docs` -->\n"
END = "<!-- end: values -->\n"


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml: its path with dots, its comment, and the default of what is no heading."""

    path: str
    text: str
    is_heading: bool
    default: Any = None


def read_values(source: str) -> Iterator[Value]:
    """All keys of values.yaml, in its order."""
    root = yaml.compose(source, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from _walk(root, source.splitlines(), "")


def _walk(mapping: yaml.MappingNode, lines: Sequence[str], prefix: str) -> Iterator[Value]:
    for key, node in mapping.value:
        path = f"{prefix}{key.value}"
        is_heading = _has_comments(node, lines)
        default = None if is_heading else yaml.SafeLoader("").construct_document(node)
        yield Value(path, _comment(lines, key.start_mark), is_heading, default)
        if is_heading:
            yield from _walk(node, lines, f"{path}.")


def _has_comments(node: yaml.Node, lines: Sequence[str]) -> bool:
    return isinstance(node, yaml.MappingNode) and any(
        _comment(lines, key.start_mark) or _has_comments(inner, lines) for key, inner in node.value
    )


def _comment(lines: Sequence[str], mark: yaml.Mark) -> str:
    """The lines above this place that begin with # right below where its text begins, as one."""
    start = mark.line
    beginning = " " * mark.column + "# "
    while start and lines[start - 1].startswith(beginning):
        start -= 1
    return " ".join(line.removeprefix(beginning).strip() for line in lines[start : mark.line])


def table(values: Sequence[Value]) -> str:
    """Headings and tables, in Markdown."""
    parts, headed = [_HEAD], False
    for value in values:
        if not value.is_heading:
            assert "." in value.path or not headed, f"{value.path}: belongs before the headings"
            parts.append(f"| `{value.path}` | {_code(value.default)} | {_cell(value.text)} |")
        elif "." not in value.path:
            parts.append(f"\n### {value.path}\n\n{value.text}\n\n{_HEAD}")
            headed = True
    return "\n".join(parts) + "\n"


_HEAD = "| value | default | what |\n| --- | --- | --- |"


def _code(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(readme: str, source: str) -> str:
    """The README with the values of this values.yaml."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, "the README has no place for the values"
    return f"{before}{BEGIN}\n{table(list(read_values(source)))}\n{END}{after}"


if __name__ == "__main__":
    path = CHART / "README.md"
    path.write_text(page(path.read_text("utf-8"), (CHART / "values.yaml").read_text("utf-8")), "utf-8")
