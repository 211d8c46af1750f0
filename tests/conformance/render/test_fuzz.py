"""Damaged files give a picture or a reason; the fuzzer that says so notices when they do not.

`make fuzz` renders 50,000 of them; here it is a few hundred, and the judge itself is judged.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hack.formats.table import KINDS
from hack.fuzz.boundary import Answer
from hack.fuzz.campaign import Campaign, Totals
from hack.fuzz.mutate import mutate

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.status import ErrorFacts
from thumbnails_worker.messages import RenderReply

ROOT = Path(__file__).parents[3]
INPUTS = 300
PATIENCE_SECONDS = 110
SOME = [
    next(kind for kind in KINDS if kind.name == name)
    for name in ("JPEG grey", "PNG palette 1 bit", "WebP lossless", "GIF two colours", "TIFF grey 1 bit")
]

Render = Callable[[bytes, Sequence[tuple[Output, Format]]], Answer]


def _run(folder: Path, inputs: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hack.fuzz", f"--inputs={inputs}", "--seed=2026", f"--folder={folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_damaged_files_give_a_picture_or_a_reason(tmp_path: Path) -> None:
    ended = _run(tmp_path, INPUTS)
    assert ended.returncode == 0, ended.stdout
    assert f"inputs    {INPUTS} " in ended.stdout
    assert "findings  none" in ended.stdout
    totals = Totals.read(tmp_path / "totals-2026.json", 2026)
    assert totals.pictures > 0
    assert totals.reasons["CorruptSource"] > 0
    assert set(totals.by_format) == {"JPEG", "PNG", "WebP", "GIF", "TIFF"}


def test_a_campaign_goes_on_where_it_ended(tmp_path: Path) -> None:
    _run(tmp_path, 20)
    ended = _run(tmp_path, 30)
    assert "inputs    30 " in ended.stdout
    assert Totals.read(tmp_path / "totals-2026.json", 2026).checks == 2


def test_the_same_number_is_the_same_file(tmp_path: Path) -> None:
    campaigns = [Campaign(FakeBoundary(), SOME, Totals(5), tmp_path) for _ in range(2)]
    made = [[campaign.input(number)[1] for number in range(50)] for campaign in campaigns]
    assert made[0] == made[1]
    assert len(set(made[0])) > 45


def test_every_format_is_damaged_by_its_structure() -> None:
    seeds = {kind.format: kind.make() for kind in SOME}
    for data in seeds.values():
        damaged = [mutate(data, [data], random.Random(number)) for number in range(40)]
        assert len(set(damaged)) > 30


# ---- the judge -----------------------------------------------------------------------------

PICTURE = Answer(RenderReply(), (b"thumbnail",))


class FakeBoundary:
    """A renderer that answers as it is told."""

    def __init__(self, render: Render = lambda data, outputs: PICTURE) -> None:
        self._render = render
        self.resident = 40 << 20
        self.open = 4

    def render(self, data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        return self._render(data, outputs)

    def descriptors(self) -> int:
        return self.open

    def resident_bytes(self, bound: int) -> int:
        return self.resident

    def most_resident_bytes(self) -> int:
        return self.resident


class Sequel:
    """The known picture, and then whatever comes."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = [PICTURE, *answers]

    def __call__(self, data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        return self.answers.pop(0) if self.answers else PICTURE


def _findings(boundary: FakeBoundary, tmp_path: Path, inputs: int = 1) -> list[str]:
    totals = Totals(1)
    Campaign(boundary, SOME, totals, tmp_path / "findings").run(inputs)
    return list(totals.findings)


def test_pictures_that_are_always_the_same_are_no_finding(tmp_path: Path) -> None:
    assert _findings(FakeBoundary(), tmp_path, 5) == []


def test_reasons_are_no_finding(tmp_path: Path) -> None:
    refusal = Answer(RenderReply(error=ErrorFacts("CorruptSource", "damaged")))
    assert _findings(FakeBoundary(Sequel(refusal)), tmp_path) == []


@pytest.mark.parametrize("trouble", ["death by signal 11", "hang", "reply"])
def test_a_renderer_in_trouble_is_a_finding_and_its_file_is_kept(trouble: str, tmp_path: Path) -> None:
    assert _findings(FakeBoundary(Sequel(Answer(None, trouble=trouble))), tmp_path) == [trouble]
    (kept,) = (tmp_path / "findings").iterdir()
    assert kept.stat().st_size > 0


def test_an_error_without_a_reason_is_a_finding(tmp_path: Path) -> None:
    failure = Answer(RenderReply(error=ErrorFacts("RenderFailed", "no"), detail="KeyError: 3"))
    assert _findings(FakeBoundary(Sequel(failure)), tmp_path) == ["RenderFailed KeyError: 3"]


def test_thumbnails_that_depend_on_what_came_before_are_a_finding(tmp_path: Path) -> None:
    leaked = Answer(RenderReply(), (b"another's pixels",))
    assert _findings(FakeBoundary(Sequel(PICTURE, PICTURE, leaked)), tmp_path) == [
        "depends on what came before"
    ]


def test_a_known_picture_that_changes_is_a_finding(tmp_path: Path) -> None:
    refusal = Answer(RenderReply(error=ErrorFacts("CorruptSource", "damaged")))
    changed = Answer(RenderReply(), (b"other pixels",))
    assert _findings(FakeBoundary(Sequel(refusal, changed)), tmp_path) == ["a known picture changed"]


def test_descriptors_that_stay_open_are_a_finding(tmp_path: Path) -> None:
    boundary = FakeBoundary()

    def leak(data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        boundary.open += 1
        return PICTURE

    boundary._render = leak
    assert _findings(boundary, tmp_path) == ["descriptors stay open"]


def test_memory_that_only_grows_is_a_finding(tmp_path: Path) -> None:
    boundary = FakeBoundary()

    def grow(data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        boundary.resident += 30 << 20
        return PICTURE

    boundary._render = grow
    assert _findings(boundary, tmp_path, 5) == ["memory grows"]
