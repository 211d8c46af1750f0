"""The programs that check what the chart makes: kubeconform and promtool, pinned by a Go module each."""

from collections.abc import Mapping
from pathlib import Path

from hack.cluster import build

_SOURCES = Path(__file__).resolve().parent / "go"


def recipes() -> tuple[build.Recipe, ...]:
    """How they are built; promtool without the clients of clouds, which take minutes to compile."""
    return (
        build.tool_recipe("kubeconform", _SOURCES / "kubeconform"),
        build.tool_recipe("promtool", _SOURCES / "promtool", tags="remove_all_sd"),
    )


def built(cache: Path) -> Mapping[str, Path]:
    """Those that are there, by name."""
    return {
        program: cache / recipe.name / program
        for recipe in recipes()
        for program in recipe.programs
        if build.is_built(recipe, cache)
    }
