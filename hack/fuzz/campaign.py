"""Renders damaged files one after the other and judges what comes of each; keeps count, and what it finds.

Input number n of a campaign is the same whenever it is made. A finding is: a renderer that died, hung or
answered nonsense; an error without a reason of its own (`RenderFailed`); a file whose thumbnails depend
on what was rendered before it; a known picture that comes out changed afterwards; descriptors that stay
open; memory that only grows.
"""

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from hack.formats import scene
from hack.formats.kind import Kind
from hack.formats.png import write as write_png

from thumbnails_contract.spec import Fit, Format, Metadata, Output, Position

from .boundary import MIB, Answer
from .mutate import mutate

_MOST_SEED_BYTES: Final = 200_000
_CHECK_EVERY: Final = 100
_SLOWEST_KEPT: Final = 5
# A renderer with nothing to do gives back what it keeps for the next picture: what is left is its own.
_MOST_RESIDENT_AT_REST: Final = 64 * MIB

OUTPUTS: Final[tuple[tuple[Output, Format], ...]] = (
    (Output(width=100, height=100), Format.AUTO),
    (Output(width=64), Format.PNG),
    (Output(width=100, height=80, fit=Fit.CONTAIN, background="#102030"), Format.JPEG),
    (Output(width=60, height=60, position=Position.ATTENTION), Format.WEBP),
    (Output(width=90, height=40, fit=Fit.FILL, metadata=Metadata.KEEP), Format.PNG),
    (Output(height=50, animated=False), Format.GIF),
    (Output(width=300, height=300, fit=Fit.INSIDE, without_enlargement=True), Format.TIFF),
)  # fmt: skip


class Renderer(Protocol):
    """What is fuzzed: `boundary.Boundary`."""

    def render(self, data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        """Have one file rendered."""

    def descriptors(self) -> int:
        """How many files it has open when it waits for the next."""

    def resident_bytes(self, bound: int) -> int:
        """Memory that it has now; when that is above the bound, once it had nothing to do for a while."""

    def most_resident_bytes(self) -> int:
        """The most that it ever had."""


@dataclass(slots=True)
class Totals:
    """What a campaign has come to; can be written and read again."""

    seed: int
    inputs: int = 0
    pictures: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    by_format: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    checks: int = 0
    seconds: float = 0.0
    slowest: list[tuple[float, int, str]] = field(default_factory=list)  # seconds, input, seed
    resident_mib: int = 0  # at rest, the most seen
    last_resident_mib: int = 0
    most_resident_mib: int = 0

    @classmethod
    def read(cls, file: Path, seed: int) -> Self:
        """What was written there, or a beginning."""
        if file.exists():
            found = json.loads(file.read_text())
            if found["seed"] == seed:
                return cls(**found | {"slowest": [tuple(item) for item in found["slowest"]]})
        return cls(seed)

    def write(self, file: Path) -> None:
        """For the next run to go on from."""
        file.write_text(json.dumps(asdict(self)))


class Campaign:
    """One run over many inputs."""

    def __init__(self, boundary: Renderer, kinds: Sequence[Kind], totals: Totals, folder: Path) -> None:
        self._boundary = boundary
        self._totals = totals
        self._folder = folder
        seeds = [(kind, kind.make()) for kind in kinds]
        self._seeds = [(kind, data) for kind, data in seeds if len(data) <= _MOST_SEED_BYTES]
        self._by_format: dict[str, list[bytes]] = defaultdict(list)
        for kind, data in self._seeds:
            self._by_format[kind.format].append(data)
        # What lies in the memory that a decoder may forget to fill: two pictures that have nothing in common.
        self._stains = [write_png(scene.colour(500, 400)), write_png(scene.other(500, 400) ^ 0x55)]
        self._known = self._boundary.render(self._stains[0], OUTPUTS)
        self._descriptors = boundary.descriptors()
        assert self._known.thumbnails

    def input(self, number: int) -> tuple[Kind, bytes, Sequence[tuple[Output, Format]]]:
        """(what it was, the damaged file, what is to be made of it)."""
        rng = random.Random(f"{self._totals.seed}:{number}")
        kind, data = rng.choice(self._seeds)
        return (
            kind,
            mutate(data, self._by_format[kind.format], rng),
            rng.sample(OUTPUTS, rng.choice((1, 1, 2))),
        )

    def run(self, until: int, tell: Callable[[Totals], None] = lambda _: None) -> None:
        """Go on until so many inputs were rendered."""
        while self._totals.inputs < until:
            self._one(self._totals.inputs)
            self._totals.inputs += 1
            if self._totals.inputs % _CHECK_EVERY == 0:
                self._check()
                tell(self._totals)
        self._check()

    def _one(self, number: int) -> None:
        kind, data, outputs = self.input(number)
        begun = time.monotonic()
        answer = self._boundary.render(data, outputs)
        seconds = time.monotonic() - begun
        totals = self._totals
        totals.seconds += seconds
        totals.slowest = sorted([*totals.slowest, (round(seconds, 3), number, kind.name)])[-_SLOWEST_KEPT:]
        counts = Counter(totals.by_format.get(kind.format, {}))
        if answer.trouble:
            self._found(answer.trouble, number, data)
        elif answer.reason:
            totals.reasons[answer.reason] = totals.reasons.get(answer.reason, 0) + 1
            if answer.reason == "RenderFailed":
                assert answer.reply is not None
                self._found(f"RenderFailed {answer.reply.detail}", number, data)
        else:
            totals.pictures += 1
            self._repeat(number, data, outputs, answer)
        counts[answer.trouble or answer.reason or "picture"] += 1
        totals.by_format[kind.format] = dict(counts)

    def _repeat(
        self, number: int, data: bytes, outputs: Sequence[tuple[Output, Format]], first: Answer
    ) -> None:
        """Render it once more after another picture: whatever differs was not in the file."""
        self._boundary.render(self._stains[number % 2], OUTPUTS[:1])
        second = self._boundary.render(data, outputs)
        self._totals.repeated += 1
        if second.thumbnails != first.thumbnails:
            self._found("depends on what came before", number, data)

    def _check(self) -> None:
        """Whether the renderer is as it was."""
        totals = self._totals
        totals.checks += 1
        totals.most_resident_mib = max(totals.most_resident_mib, self._boundary.most_resident_bytes() // MIB)
        again = self._boundary.render(self._stains[0], OUTPUTS)
        if again.thumbnails != self._known.thumbnails:
            self._found("a known picture changed", totals.inputs, b"")
        if self._boundary.descriptors() != self._descriptors:
            self._found("descriptors stay open", totals.inputs, b"")
        resident = self._boundary.resident_bytes(_MOST_RESIDENT_AT_REST)
        totals.last_resident_mib = resident // MIB
        totals.resident_mib = max(totals.resident_mib, totals.last_resident_mib)
        if resident > _MOST_RESIDENT_AT_REST:
            self._found("memory grows", totals.inputs, b"")

    def _found(self, what: str, number: int, data: bytes) -> None:
        self._totals.findings[what] = self._totals.findings.get(what, 0) + 1
        words = "-".join(what.split())[:60].replace("/", "_")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{number:06}-{words}").write_bytes(data)
