"""Decodes large PNGs and TIFFs a band of rows at a time, each shrunk at once by a whole number.

Pillow decodes these formats as a whole only. Here each band is made a file of its own. A picture whose
pixels would not fit into the memory of a worker is thus rendered in a few megabytes beside its result. Every
pixel of that is the mean of those it stands for, with alpha counted in, as libvips shrinks by whole numbers.
For `decode.py`.
"""

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from PIL import Image, ImagePalette
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from . import png, tiff
from .geometry import Size
from .modes import to_working

Data = bytes | mmap.mmap

_MOST_BAND_BYTES: Final = 4 << 20  # of pixels; more is not faster
# A band in the memory of all steps: the file that is made of it, decoded, converted, with alpha counted in.
_COPIES: Final = 8
# What all that may take of the memory that there is.
_SHARE: Final = 4
# By the bytes of a pixel in a PNG's stream: the 8-bit kind with as many (colour type, Pillow's mode).
_CARRIERS: Final = {1: (0, "L"), 2: (4, "LA"), 3: (2, "RGB"), 4: (6, "RGBA")}


def rows_of(width: int, factor: int, available_bytes: int) -> int:
    """How many rows a band has: a multiple of the factor by which it is shrunk."""
    most = min(_MOST_BAND_BYTES, available_bytes // (_COPIES * _SHARE))
    return max(1, most // (4 * width) // factor) * factor


def needed_bytes(size: Size, factor: int, rows: int, *, has_alpha: bool) -> int:
    """What bands of so many rows take, with the result and a copy of it that is turned or resized."""
    pixels = -(-size[0] // factor) * -(-size[1] // factor)
    return pixels * (12 if has_alpha else 8) + 4 * size[0] * rows * _COPIES


def shrink(bands: Iterator[Image.Image], size: Size, factor: int) -> Image.Image:
    """All bands (of a multiple of `factor` rows each) below each other, shrunk by it; sides are rounded up.

    Raises ValueError when they are not as many as the picture of `size` has rows.
    """
    target: Image.Image | None = None
    top = rows = 0
    for band in bands:
        rows += band.height
        working = to_working(band)
        small = (working.convert("RGBa") if working.mode == "RGBA" else working).reduce(factor)
        if target is None:
            target = Image.new(small.mode, (small.width, -(-size[1] // factor)))
        target.paste(small, (0, top))
        top += small.height
    if target is None or rows != size[1]:
        raise ValueError("rows are missing")
    return target.convert("RGBA") if target.mode == "RGBa" else target


def can_cut_png(facts: png.Facts) -> bool:
    """Not interlaced, nor of more than four bytes a pixel, which no 8-bit kind has."""
    if facts.interlaced or facts.colour not in png.CHANNELS:
        return False
    if facts.depth == 16:  # noqa: PLR2004 - bits
        return facts.colour in (0, 4) and facts.transparent is None
    return True


def png_bands(
    data: Data, facts: png.Facts, palette: bytes | None, transparent: object, rows: int
) -> Iterator[Image.Image]:
    """A PNG, so many rows at a time. `transparent` is Pillow's `info["transparency"]`, or None.

    A band's first row may be predicted from the row above it (section 9): that one goes ahead of it again,
    as it was decoded. Ends early when the stream does; raises zlib.error when that is damaged.
    """
    (_rows, row_bytes), *_ = facts.row_sizes
    channels = png.CHANNELS[facts.colour]
    pixel_bytes = max(1, channels * facts.depth // 8)
    colour, carrier = _CARRIERS[pixel_bytes]
    wide = (row_bytes - 1) // pixel_bytes
    above = bytes(row_bytes)
    todo = facts.height
    stream = _Stream(data)
    while todo:
        count = min(rows, todo)
        filtered = stream.read(count * row_bytes)
        if len(filtered) < count * row_bytes:
            return
        image = PngImageFile(io.BytesIO(_png(wide, count + 1, colour, above + filtered)))
        image.load()
        band = image.crop((0, 1, wide, count + 1))
        above = b"\0" + band.crop((0, count - 1, wide, count)).tobytes()
        todo -= count
        yield _unpacked(band, carrier, facts, palette, transparent)


def _unpacked(
    band: Image.Image, carrier: str, facts: png.Facts, palette: bytes | None, transparent: object
) -> Image.Image:
    """A band's pixels out of the carrier that has its bytes."""
    size = (facts.width, band.height)
    if facts.depth == 16:  # noqa: PLR2004 - bits; the higher byte of each sample comes first
        parts = band.split()
        band = parts[0] if carrier == "LA" else Image.merge("LA", (parts[0], parts[2]))
    elif facts.colour == png.PALETTE:
        raw = "P" if facts.depth == 8 else f"P;{facts.depth}"  # noqa: PLR2004 - bits
        band = Image.frombytes("P", size, band.tobytes(), "raw", raw)
        band.palette = ImagePalette.raw("RGB", palette or b"")
        band.load()
    elif facts.depth < 8:  # noqa: PLR2004 - bits
        mode, raw = ("1", "1") if facts.depth == 1 else ("L", f"L;{facts.depth}")
        band = Image.frombytes(mode, size, band.tobytes(), "raw", raw)
    if transparent is not None:
        band.info["transparency"] = transparent
    return band


class _Stream:
    """The content of a PNG's IDAT chunks, read like a file: never more of it in memory than is asked for."""

    def __init__(self, data: Data) -> None:
        self._pieces = png.inflated(data)
        self._rest = b""

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        parts, missing = [self._rest], count - len(self._rest)
        for piece in self._pieces if missing > 0 else ():
            parts.append(piece)
            missing -= len(piece)
            if missing <= 0:
                break
        whole = b"".join(parts)
        self._rest = whole[count:]
        return whole[:count]


def _png(width: int, height: int, colour: int, rows: bytes) -> bytes:
    """A PNG of 8 bits whose rows are not compressed."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return png.SIGNATURE + b"".join(png.written(kind, content) for kind, content in chunks)


def can_cut_tiff(layout: tiff.Layout, mode: str) -> bool:
    """Whether its strips can be decoded a few at a time, and each band's levels mean the same."""
    return (
        not layout.planar
        and layout.compression != tiff.OLD_JPEG
        and mode not in {"I", "F"}
        and layout.pieces_across * layout.width > 0
        and (
            layout.is_tiled or layout.piece_length < layout.length or layout.compression == tiff.UNCOMPRESSED
        )
    )


def tiff_bands(
    data: Data, directory: tiff.Directory, layout: tiff.Layout, rows: int
) -> Iterator[Image.Image]:
    """A TIFF, so many rows at a time, not turned. Raises what Pillow does; ValueError for missing strips."""
    if not layout.is_tiled and layout.piece_length >= layout.length:
        directory, layout = tiff.in_strips(data, directory, layout, rows)
    # So many strips, or rows of tiles, are decoded at once; what they have beyond a band waits for the next.
    at_once = max(1, rows // layout.piece_length)
    waiting: Image.Image | None = None
    for first in range(0, -(-layout.length // layout.piece_length), at_once):
        top = first * layout.piece_length
        length = min(at_once * layout.piece_length, layout.length - top)
        pieces = range(
            first * layout.pieces_across,
            (first + -(-length // layout.piece_length)) * layout.pieces_across,
        )
        image = TiffImageFile(io.BytesIO(tiff.cut(data, directory, pieces, {tiff.LENGTH: (length,)})))
        image.load()
        decoded = to_working(tiff.finished(image, layout))
        waiting = decoded if waiting is None else _below(waiting, decoded)
        while waiting is not None and waiting.height >= rows:
            yield waiting.crop((0, 0, waiting.width, rows))
            height = waiting.height
            waiting = waiting.crop((0, rows, waiting.width, height)) if height > rows else None
    if waiting is not None:
        yield waiting


def _below(upper: Image.Image, lower: Image.Image) -> Image.Image:
    both = Image.new(upper.mode, (upper.width, upper.height + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
