"""The command `thumbnails` as a process, with a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the command sees: no variable of ours but the places of its journal and its keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBNAILS_")}
    return {
        **kept,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run the command against a server: its status, standard output and standard error."""

    def run(
        url: str, *arguments: object, stdin: str = "", **options: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "thumbnails_client.cli", *map(str, arguments)],
            env={**environment, "THUMBNAILS_URL": url, **options},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
