"""Small files that ask for much end with a reason, or as a picture: with little memory, before a deadline.

Judged from outside: each file meets a fresh renderer behind the process boundary that a worker has.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hack.formats.bombs import BOMBS, Bomb

from thumbnails_contract.wire import Limits

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 110
# Of decoders and their buffers, beyond a renderer at rest. What these files ask for starts at 360 MB.
MOST_MEBIBYTES = 128

pytestmark = pytest.mark.xdist_group("bombs")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
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


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_a_bomb_does_no_harm(bomb: Bomb, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    outcome = outcomes[bomb.name]
    assert outcome["trouble"] == "", "the renderer died or hung"
    assert outcome["reason"] != "RenderFailed", outcome["detail"]
    if bomb.refused:
        assert outcome["reason"] == bomb.refused
        assert outcome["message"]
    assert outcome["seconds"] < Limits().cpu_seconds
    assert outcome["mebibytes"] < MOST_MEBIBYTES


def test_a_refusal_says_the_number_and_the_limit(outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    message = outcomes["PNG of 900 megapixels"]["message"]
    assert "900000000" in message
    assert str(Limits().pixels) in message
