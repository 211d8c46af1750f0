"""What a renderer keeps of one picture does not concern the next, and nothing is kept for long.

Judged from outside: one renderer behind the process boundary that a worker has renders one after the other.
"""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 110
MOST_KEPT_MEBIBYTES = 16


def _picture(size: tuple[int, int], mode: str, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert(mode).save(file, format_, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def with_alpha() -> bytes:
    """Its premultiplied copy takes 34 MiB."""
    return _picture((3000, 3000), "RGBA", "PNG", compress_level=1)


def _outcomes(folder: Path, files: Sequence[bytes], memory_mib: int) -> list[dict[str, Any]]:
    paths = [folder / str(index) for index in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    answered = subprocess.run(
        [sys.executable, "-m", "hack.fuzz.outcome", "--one-renderer", f"--memory-mib={memory_mib}", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return [json.loads(line) for line in answered.stdout.splitlines()]


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3000, 3300), {"format_": "WEBP", "quality": 50, "method": 0}),
        ((5200, 4000), {"format_": "JPEG", "progressive": True, "subsampling": 0}),
    ],
    ids=["WebP", "JPEG"],
)
def test_what_is_kept_of_one_picture_takes_no_memory_from_the_next(
    size: tuple[int, int], options: dict[str, Any], with_alpha: bytes, tmp_path: Path
) -> None:
    """Its decoder gets no memory, and may say that the file is damaged: it is tried once more."""
    files = [with_alpha, _picture(size, "RGB", **options)]
    assert [outcome["reason"] for outcome in _outcomes(tmp_path, files, 160)] == ["", ""]


def test_a_renderer_with_nothing_to_do_keeps_nothing(with_alpha: bytes, tmp_path: Path) -> None:
    (outcome,) = _outcomes(tmp_path, [with_alpha], 384)
    assert outcome["mebibytes"] > 2 * MOST_KEPT_MEBIBYTES
    assert outcome["kept_mebibytes"] < MOST_KEPT_MEBIBYTES
