"""`make bench-render`: our renderer beside Pillow, libvips, sharp; draws its section of docs/benchmarks.md.

For each original and width the renderers take turns, one picture each, round by round, each in a process of
its own with one thread; what is compared is CPU time, since that is what a worker pays with. How near each
thumbnail comes to a full-quality reference stands beside it: speed that costs quality does not count.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import page
import PIL
import pyvips
import render_inputs
import render_quality
from render_inputs import Original
from similarity import Reference, Similarity

HERE = Path(__file__).parent
SHARP_VERSION = "0.35.5"
SHARP_FOLDER = (
    Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    / "thumbnails"
    / "bench"
    / f"sharp-{SHARP_VERSION}"
)
ROUNDS = 15
WARM_UP = 2
TO_REACH = 1.1
NAMES = {
    "ours": "**ours**",
    "fallback": "ours, with Pillow's resize",
    "pillow": "bare Pillow",
    "vips": "pyvips",
    "sharp": "sharp",
}


class Engine:
    """A renderer's process."""

    def __init__(self, command: list[str]) -> None:
        environment = os.environ | {"VIPS_CONCURRENCY": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.greeting = self._read()

    def render(self, original: Original, width: int, to: Path | None = None) -> dict[str, Any]:
        assert self._process.stdin is not None
        task = {
            "file": str(original.file),
            "format": original.written_as,
            "progressive": original.progressive,
            "width": width,
            "to": str(to) if to else None,
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Measured:
    """What one renderer took for one original and width, round by round, and what came out."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    bytes: int = 0
    similarity: Similarity | None = None

    def ratio(self, sharp: "Measured") -> float:
        """How many times faster than sharp, by CPU time: the median of the rounds' ratios."""
        return statistics.median(theirs / own for theirs, own in zip(sharp.cpu, self.cpu, strict=True))


WHERE_TIME_GOES = """\
Where the time goes: *JPEG* is decoded smaller by libjpeg-turbo, by all of them; what is left is scaling
(SIMD) and encoding. The larger the photo, the less is left: that decoding is four fifths of sharp's time for
12 MP, and nine tenths for 48 MP (72 of 80 ms), so that nothing on it could be faster than 1.1 there.
*PNG*: nearly nine tenths are Pillow's decoding. Of the time of the file below to 256 wide, a third is
inflating (zlib-ng), nearly half is undoing the filters of rows (Paeth's, which Pillow does a byte at a
time; libpng and libspng do it with SIMD), and a fourteenth is reading, checksums and copies; scaling and
writing take as much as that each, or less (`python3 hack/bench/render_png.py`). *WebP*: the most is
decoding by libwebp, as in libvips; Pillow takes all pixels through the animation decoder, which copies
canvases, while libvips can have libwebp scale. What is ours of both formats, scaling and encoding,
is the smaller part."""

Table = dict[tuple[str, int], dict[str, Measured]]


def install_sharp() -> Path | None:
    """Where sharp is, installed on first use; None when that cannot be."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("sharp is left out: there is no node and npm")
        return None
    if not (SHARP_FOLDER / "node_modules" / "sharp").is_dir():
        SHARP_FOLDER.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--prefix",
                str(SHARP_FOLDER),
                f"sharp@{SHARP_VERSION}",
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(f"sharp is left out, npm says:\n{done.stderr}")
            return None
    return SHARP_FOLDER


def start_engines() -> dict[str, Engine]:
    engines = {
        name: Engine([sys.executable, str(HERE / "render_engine.py"), name])
        for name in ("ours", "fallback", "pillow", "vips")
    }
    if folder := install_sharp():
        engines["sharp"] = Engine(["node", str(HERE / "render_sharp.mjs"), str(folder)])
    return engines


def measure(engines: dict[str, Engine], originals: list[Original], rounds: int) -> Table:
    table: Table = {}
    for original in originals:
        reference = Reference(original.file)
        for width in original.widths:
            row = table[original.name, width] = {name: Measured() for name in engines}
            with tempfile.NamedTemporaryFile() as file:
                for name, engine in engines.items():
                    row[name].bytes = engine.render(original, width, Path(file.name))["bytes"]
                    row[name].similarity = reference.compare(Path(file.name).read_bytes())
            for number in range(WARM_UP + rounds):
                for name, engine in engines.items():
                    took = engine.render(original, width)
                    if number >= WARM_UP:
                        row[name].cpu.append(took["cpu"])
                        row[name].wall.append(took["wall"])
            line = ", ".join(f"{name} {statistics.median(m.cpu) * 1e3:.1f}" for name, m in row.items())
            print(f"  {original.name} to {width}: CPU ms: {line}", flush=True)
    return table


def report(table: Table, originals: list[Original], rounds: int, versions: str) -> str:
    parts = [
        f"""\
## The renderer, beside Pillow, libvips and sharp

{page.made_by("make bench-render")} {versions}

One thread each, in turn, {rounds} rounds; medians. The same filter (Lanczos3), quality (80), chroma
subsampling (4:2:0), optimised Huffman tables, WebP effort (4) for all; PNG at the level that each has as its
own default. *x sharp* is sharp's CPU time over that of the row. *PSNR* and *SSIM* compare with a reference:
all pixels decoded, resized with Lanczos3 in floating point, not compressed.

{WHERE_TIME_GOES}"""
    ]
    if all("sharp" in row for row in table.values()):
        name = originals[0].name
        ratios = {
            width: table[name, width]["ours"].ratio(table[name, width]["sharp"])
            for width in originals[0].widths
        }
        cells = " | ".join(f"**{ratio:.2f}**" for ratio in ratios.values())
        heads = " | ".join(f"to {width} wide" for width in ratios)
        dashes = " | ".join("---" for _ in ratios)
        parts.append(
            f"| {name}, one core | {heads} |\n| --- | {dashes} |\n"
            f"| x sharp's speed (to reach: {TO_REACH}) | {cells} |"
        )
    for original in originals:
        rows = [
            f"### {original.name}",
            "",
            "| to | | CPU ms | wall ms | x sharp | bytes | PSNR | SSIM |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for width in original.widths:
            row = table[original.name, width]
            for name, measured in row.items():
                assert measured.similarity is not None
                ratio = f"{measured.ratio(row['sharp']):.2f}" if "sharp" in row else ""
                rows.append(
                    f"| {width} | {NAMES[name]} | {statistics.median(measured.cpu) * 1e3:.1f} "
                    f"| {statistics.median(measured.wall) * 1e3:.1f} | {ratio} | {measured.bytes:,} "
                    f"| {measured.similarity.psnr:.2f} | {measured.similarity.ssim:.4f} |"
                )
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def versions_of(engines: dict[str, Engine]) -> str:
    said = f"Pillow {PIL.__version__}, libvips {pyvips.base.version(0)}.{pyvips.base.version(1)}"
    if "sharp" in engines:
        sharp = engines["sharp"].greeting["versions"]
        said += f", sharp {sharp['sharp']} (libvips {sharp['vips']})"
    return f"{said}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="originals whose name contains this")
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    originals = [original for original in render_inputs.make() if options.only in original.name]
    engines = start_engines()
    table = measure(engines, originals, options.rounds)
    section = report(table, originals, options.rounds, versions_of(engines))
    for engine in engines.values():
        engine.close()
    if not options.only:
        section += "\n\n" + render_quality.report(render_quality.measure())
    print(section)
    if not options.print_only and not options.only:
        page.write_section("render", section)


if __name__ == "__main__":
    main()
