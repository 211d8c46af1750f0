"""Where the time of a PNG goes: the file of `make bench-render` to 256 pixels, step by step.

What the steps of Pillow's decoder take is told apart by files with the same pixels: one whose rows are stored
and not deflated needs no inflating, one whose rows have no filter either is read and copied, and no more.
"""

import io
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import render_inputs
from PIL.PngImagePlugin import PngImageFile

from thumbnails_contract.spec import Format
from thumbnails_worker import linux
from thumbnails_worker.render import png
from thumbnails_worker.render.encode import Recipe, encode
from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow
from thumbnails_worker.render.thumbhash import thumbhash

ORIGINAL: Final = "PNG 2048 x 1536, RGBA"
SIZE: Final = (256, 192)
ROUNDS: Final = 25
IDAT_BYTES: Final = 1 << 16


def cpu_ms(step: Callable[[], object]) -> float:
    """The least CPU time of many rounds: other work on the machine can only add to it."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        step()
        rounds.append(time.process_time() - begun)
    return min(rounds) * 1_000


def decoded(data: bytes) -> PngImageFile:
    """All pixels, as `decode.py` has Pillow read them."""
    image = PngImageFile(io.BytesIO(data))
    image.decodermaxblock = 1 << 20
    image.load()
    return image


def stored(data: bytes, rows: bytes) -> bytes:
    """The PNG with these rows (each with its filter's byte), not deflated."""
    stream = zlib.compress(rows, 0)
    pieces = (stream[at : at + IDAT_BYTES] for at in range(0, len(stream), IDAT_BYTES))
    header = next(found for found in png.chunks(data) if found.kind == b"IHDR")
    chunks = [(b"IHDR", header.data(data)), *((b"IDAT", piece) for piece in pieces), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(png.written(*part) for part in chunks)


def steps(data: bytes) -> Iterator[tuple[str, float]]:
    """Each step's name, and its milliseconds."""
    picture = decoded(data)
    filtered = zlib.decompress(b"".join(c.data(data) for c in png.chunks(data) if c.kind == b"IDAT"))
    pixels, row = picture.tobytes(), 4 * picture.width
    plain = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    whole, unpacked, copied = (
        cpu_ms(lambda file=file: decoded(file))  # type: ignore[misc] # a default is no parameter
        for file in (data, stored(data, filtered), stored(data, plain))
    )
    yield "inflating", whole - unpacked
    yield "undoing the filters of rows", unpacked - copied
    yield "reading, checksums, copying", copied
    resize = load_cykooz() or resize_with_pillow
    box = (0.0, 0.0, float(picture.width), float(picture.height))
    small = resize(picture, box, SIZE)
    yield "scaling", cpu_ms(lambda: resize(picture, box, SIZE))
    yield "writing", cpu_ms(lambda: encode([small], [0], 1, Recipe(Format.PNG)))
    yield "placeholder", cpu_ms(lambda: thumbhash(small))


def main() -> int:
    """Print the table."""
    linux.keep_freed_memory()
    original = next(original for original in render_inputs.make() if original.name == ORIGINAL)
    taken = list(steps(original.file.read_bytes()))
    total = sum(milliseconds for _, milliseconds in taken)
    for name, milliseconds in taken:
        print(f"{name:30} {milliseconds:6.1f} ms {milliseconds / total:6.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
