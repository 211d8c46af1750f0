"""Small files that ask for much end with a reason, or as a picture: with little memory, before a deadline.

Judged from outside: each file meets a fresh renderer behind the process boundary that a worker has.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hack.formats.bombs import BOMBS, Bomb

from thumbnails_contract.wire import Limits

Outcome = Mapping[str, Any]

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 110
# Of decoders and their buffers, beyond a renderer at rest. What these files ask for starts at 360 MB.
MOST_MEBIBYTES = 128


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """What became of each bomb, by its name."""
    folder = tmp_path_factory.mktemp("bombs")
    files = {str(index): bomb for index, bomb in enumerate(BOMBS)}
    for name, bomb in files.items():
        (folder / name).write_bytes(bomb.make())
    answered = subprocess.run(
        [sys.executable, "-m", "hack.fuzz.outcome", *(str(folder / name) for name in files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    lines = map(json.loads, answered.stdout.splitlines())
    return {files[line["file"]].name: line for line in lines}


# One test for all of them: they share a process that takes a second to start.
def test_bombs_do_no_harm(outcomes: Mapping[str, Outcome]) -> None:
    assert list(outcomes) == [bomb.name for bomb in BOMBS]
    complaints = {bomb.name: list(_complaints(bomb, outcomes[bomb.name])) for bomb in BOMBS}
    assert {name: found for name, found in complaints.items() if found} == {}
    message = outcomes["PNG of 900 megapixels"]["message"]
    assert "900000000" in message and str(Limits().pixels) in message


def _complaints(bomb: Bomb, outcome: Outcome) -> Iterator[str]:
    if outcome["trouble"]:
        yield f"the renderer ended: {outcome['trouble']}"
        return
    if outcome["reason"] == "RenderFailed":
        yield f"no reason: {outcome['detail']}"
    if bomb.refused and outcome["reason"] != bomb.refused:
        yield f"{outcome['reason'] or 'a picture'} instead of {bomb.refused}"
    if outcome["seconds"] >= Limits().cpu_seconds:
        yield f"{outcome['seconds']} s"
    if outcome.get("mebibytes", 0) >= MOST_MEBIBYTES:
        yield f"{outcome['mebibytes']} MiB"
