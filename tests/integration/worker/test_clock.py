"""A worker whose machine has the wrong time works as any other: it compares its time with nobody's."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thumbnails_contract.spec import Output

HOUR = 3600

# Python imports this at its start, before anything else asks for the time.
WRONG_CLOCK = """
import time
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + {seconds}
time.time_ns = lambda: right_ns() + {seconds} * 10**9
"""


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
def test_a_worker_with_a_wrong_clock_works(
    operator: Any, start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK.format(seconds=seconds))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = start()
    file = io.BytesIO()
    Image.new("RGB", (200, 150), "red").save(file, "JPEG")
    for number in range(3):
        operator.add(f"item-{number}", file.getvalue(), [Output(width=50, height=50)])
    for number in range(3):
        assert operator.result(f"item-{number}").error is None
    assert worker.end() == 0
    said = datetime.fromisoformat(worker.log()[-1]["time"])
    assert abs((said - datetime.now(UTC)).total_seconds() - seconds) < HOUR / 2, "its clock was right"
