"""Peak memory of the renderer's process by kind of file, with the memory that a worker has by default.

Each file is rendered twice, to 256 pixels and to 1,920, by a renderer of its own as a worker starts it: the
same process boundary, the same limit. The peak is what Linux says of the process (VmHWM) before it ends, and
it counts the pages of the file that it read. `--write` draws the section `memory` of docs/formats.md anew.
"""

import argparse
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import page
from PIL import Image

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.messages import MAX_FILES, MAX_MESSAGE_BYTES, RenderReply, RenderRequest
from thumbnails_worker.nursery import Nursery, start_nursery
from thumbnails_worker.settings import MIB, Settings

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
WIDTHS = (256, 1_920)
SIZES = {12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000), 100: (11_600, 8_700)}
TILE = 512


@dataclass(frozen=True)
class Kind:
    """One row of the table."""

    name: str
    megapixels: int
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Measured:
    """How rendering ended, and the most memory that its process had resident."""

    ended: str
    peak_mib: int


def scene(megapixels: int, mode: str) -> Image.Image:
    """Detailed, and soon made: a tile with noise in it, repeated."""
    bands = [
        Image.blend(Image.linear_gradient("L").rotate(90 * turn).resize((TILE, TILE)), noise, 0.2)
        for turn, noise in enumerate(Image.effect_noise((TILE, TILE), level) for level in (40, 50, 60, 30))
    ]
    tile = Image.merge("RGBA", bands).convert(mode)
    picture = Image.new(mode, SIZES[megapixels])
    for left in range(0, picture.width, TILE):
        for top in range(0, picture.height, TILE):
            picture.paste(tile, (left, top))
    return picture


def kinds() -> Iterator[Kind]:
    """The rows, those first that phones and cameras make."""

    def kind(name: str, megapixels: int, mode: str, format_: str, **options: object) -> Kind:
        def make() -> bytes:
            file = io.BytesIO()
            scene(megapixels, mode).save(file, format_, **options)
            return file.getvalue()

        return Kind(name, megapixels, make)

    for megapixels in (12, 48, 100):
        yield kind("JPEG", megapixels, "RGB", "JPEG", quality=80)
    for megapixels in (12, 48, 100):
        yield kind("JPEG, progressive", megapixels, "RGB", "JPEG", quality=80, progressive=True)
    yield kind("JPEG, progressive, 4:4:4", 48, "RGB", "JPEG", quality=80, progressive=True, subsampling=0)
    yield kind("JPEG, CMYK", 48, "CMYK", "JPEG", quality=80)
    for megapixels in (12, 48, 100):
        yield kind("PNG, RGB", megapixels, "RGB", "PNG", compress_level=1)
    for megapixels in (12, 48, 100):
        yield kind("PNG, RGBA", megapixels, "RGBA", "PNG", compress_level=1)
    yield kind("PNG, palette", 48, "P", "PNG", compress_level=1)
    for megapixels in (12, 24):
        yield kind("WebP", megapixels, "RGB", "WEBP", quality=80, method=0)
    yield kind("WebP, alpha", 12, "RGBA", "WEBP", quality=80, method=0)
    yield kind("GIF", 48, "P", "GIF")
    for megapixels in (12, 48, 100):
        yield kind("TIFF, LZW", megapixels, "RGB", "TIFF", compression="tiff_lzw")
    yield kind("TIFF, RGBA", 48, "RGBA", "TIFF")


@contextmanager
def as_descriptor(data: bytes) -> Iterator[int]:
    """The file as a worker hands it to its renderer."""
    descriptor = os.memfd_create("original")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data)
        yield descriptor
    finally:
        os.close(descriptor)


def measure(nursery: Nursery, data: bytes, width: int, memory_bytes: int) -> Measured:
    """Render by a new renderer."""
    renderer = nursery.spawn(memory_bytes)
    request = RenderRequest(((Output(width=width), Format.AUTO),), Limits(), memory_bytes)
    try:
        with as_descriptor(data) as file:
            socket.send_fds(renderer.connection, [request.to_bytes()], [file])
            answer, files, _flags, _address = socket.recv_fds(
                renderer.connection, MAX_MESSAGE_BYTES, MAX_FILES
            )
        for descriptor in files:
            os.close(descriptor)
        if not answer:
            return Measured("died", 0)
        reply = RenderReply.from_bytes(answer)
        status = Path(f"/proc/{renderer.pid}/status").read_text("ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return Measured("rendered" if reply.error is None else reply.error.reason, int(peak.split()[1]) >> 10)
    finally:
        nursery.reap(renderer)


def table(nursery: Nursery, chosen: Iterator[Kind], memory_bytes: int) -> Iterator[str]:
    """The lines of the table, as they come."""
    yield "| kind | megapixels | file, MB | " + " | ".join(f"to {width} wide" for width in WIDTHS) + " |"
    yield "| --- | --- | --- |" + " --- |" * len(WIDTHS)
    for kind in chosen:
        data = kind.make()
        cells = [_cell(measure(nursery, data, width, memory_bytes)) for width in WIDTHS]
        yield f"| {kind.name} | {kind.megapixels} | {len(data) / 1e6:.1f} | {' | '.join(cells)} |"


def _cell(measured: Measured) -> str:
    return f"{measured.peak_mib} MiB" if measured.ended == "rendered" else f"`{measured.ended}`"


def main() -> int:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description="Peak memory of the renderer by kind of file.")
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    parser.add_argument("--most-megapixels", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="write the section of docs/formats.md")
    arguments = parser.parse_args()
    nursery = start_nursery()
    memory_bytes = Settings("http://none").renderer_bytes
    chosen = (
        kind
        for kind in kinds()
        if arguments.only in kind.name and kind.megapixels <= arguments.most_megapixels
    )
    lines = []
    for line in table(nursery, chosen, memory_bytes):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        lines.append(line)
    if arguments.write:
        about = (
            f"Of the renderer's process, which may have {memory_bytes // MIB} MiB in a worker of the default"
            " size (512 MiB); `SourceTooLarge` is said before any pixel is decoded."
            f" {page.made_by('python3 hack/bench/render_memory.py --write')}"
        )
        text = "\n".join(("## Peak memory", "", about, "", *lines))
        FORMATS.write_text(page.put_section(FORMATS.read_text("utf-8"), "memory", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
