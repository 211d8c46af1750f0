"""Reads a TIFF's first directory, and cuts smaller TIFFs out of a file, for decoding.

What Pillow reads wrong, not at all, or only as a whole is cut into parts that it reads right: planes, bands
of rows, a big-endian BigTIFF. Tags and sections are those of TIFF 6.0.
"""

import mmap
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Final, Self

from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO

from .modes import sixteen_bits_to_8, to_working
from .splice import splice

Data = bytes | mmap.mmap

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 284, 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, PROFILE = 338, 339, 347, 34_675
_FILL_ORDER, _T4_OPTIONS, _T6_OPTIONS, _COLOUR_MAP, _INK_SET = 266, 292, 293, 320, 332
_YCBCR: Final = (529, 530, 531, 532)
# What says how the pixels are stored: all else is left behind by `cut`.
_KEPT: Final = (
    *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, _FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR),
    *(_T4_OPTIONS, _T6_OPTIONS, PREDICTOR, _COLOUR_MAP, TILE_WIDTH, TILE_LENGTH, _INK_SET),
    *(EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, *_YCBCR, PROFILE),
)
UNCOMPRESSED, OLD_JPEG, JPEG, _WEBP = 1, 6, 7, 50_001
# Compressions that Pillow's wheel has not in its libtiff, as far as they have a name.
_NOT_KNOWN: Final = {
    22_610: "JPEG XR",
    33_003: "JPEG 2000",
    33_005: "JPEG 2000",
    34_661: "JBIG",
    34_712: "JPEG 2000",
    34_887: "LERC",
    34_892: "lossy JPEG (DNG)",
    34_933: "PNG",
    _WEBP: "WebP",
    50_002: "JPEG XL",
    52_546: "JPEG XL",
}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats
_TWELVE: Final = 12  # bits a sample
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5  # photometric interpretations
ASSOCIATED, UNASSOCIATED = 1, 2  # alpha, as extra samples

# Bytes of each type of value, and how `struct` calls it (section 2; BigTIFF: 13, 16 to 18).
_TYPES: Final = {
    1: (1, "B"),
    2: (1, "s"),
    3: (2, "H"),
    4: (4, "L"),
    5: (8, "Q"),
    6: (1, "b"),
    7: (1, "s"),
    8: (2, "h"),
    9: (4, "l"),
    10: (8, "q"),
    11: (4, "f"),
    12: (8, "d"),
    13: (4, "L"),
    16: (8, "Q"),
    17: (8, "q"),
    18: (8, "Q"),
}
_INTEGERS: Final = frozenset("BHLQ")
_SHORT, _LONG = 3, 4
_MOST_ENTRIES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its type, how many values, and where in the file they begin."""

    type: int
    count: int
    start: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a file."""

    order: str  # of bytes, as `struct` says it: < or >
    is_big: bool
    entries: Mapping[int, Entry]
    known: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # in place of what the file says

    @classmethod
    def read(cls, data: Data) -> Self | None:
        """None for what is none."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 16:  # noqa: PLR2004 - two headers
            return None
        is_big = struct.unpack(f"{order}H", data[2:4]) == (43,)
        position: int = struct.unpack(
            f"{order}{'Q' if is_big else 'L'}", data[8:16] if is_big else data[4:8]
        )[0]
        head, size, inline = (8, 20, 8) if is_big else (2, 12, 4)
        if position + head > len(data):
            return None
        count: int = struct.unpack(f"{order}{'Q' if is_big else 'H'}", data[position : position + head])[0]
        entries: dict[int, Entry] = {}
        for index in range(min(count, _MOST_ENTRIES)):
            at = position + head + index * size
            if at + size > len(data):
                break
            tag, type_, values = struct.unpack(
                f"{order}HH{'Q' if is_big else 'L'}", data[at : at + size - inline]
            )
            if type_ not in _TYPES or not values:
                continue
            start = at + size - inline
            if values * _TYPES[type_][0] > inline:
                start = struct.unpack(f"{order}{'Q' if is_big else 'L'}", data[start : start + inline])[0]
            if start + values * _TYPES[type_][0] <= len(data):
                entries.setdefault(tag, Entry(type_, values, start))
        return cls(order, is_big, entries)

    def integers(self, data: Data, tag: int) -> tuple[int, ...]:
        """The values of a tag; none when it is not there, or does not hold whole numbers."""
        if tag in self.known:
            return self.known[tag]
        entry = self.entries.get(tag)
        if entry is None or _TYPES[entry.type][1] not in _INTEGERS:
            return ()
        letter = _TYPES[entry.type][1]
        values: tuple[int, ...] = struct.unpack_from(f"{self.order}{entry.count}{letter}", data, entry.start)
        return values

    def integer(self, data: Data, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.integers(data, tag)), default)

    def content(self, data: Data, tag: int) -> bytes:
        """A tag's values as bytes."""
        entry = self.entries.get(tag)
        return data[entry.start : entry.start + entry.count * _TYPES[entry.type][0]] if entry else b""

    @property
    def pieces(self) -> int:
        """How many strips or tiles there are."""
        return max((e.count for t in (STRIP_OFFSETS, TILE_OFFSETS) if (e := self.entries.get(t))), default=0)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels of a file are stored."""

    width: int
    length: int
    bits: tuple[int, ...]
    samples: int
    compression: int
    photometric: int
    sample_format: int
    planar: bool
    predictor: int
    extra: tuple[int, ...]
    piece_length: int  # rows of a strip or tile
    pieces_across: int  # tiles beside each other
    is_tiled: bool
    orientation: int

    @classmethod
    def read(cls, data: Data, directory: Directory) -> Self:
        """With the defaults of TIFF 6.0, section 8."""
        width, length = directory.integer(data, WIDTH, 0), directory.integer(data, LENGTH, 0)
        is_tiled = TILE_OFFSETS in directory.entries
        rows = directory.integer(data, TILE_LENGTH if is_tiled else ROWS_PER_STRIP, length) or length
        across = directory.integer(data, TILE_WIDTH, width) if is_tiled else width
        return cls(
            width,
            length,
            directory.integers(data, BITS)[:16] or (1,),
            directory.integer(data, SAMPLES, 1),
            directory.integer(data, COMPRESSION, UNCOMPRESSED),
            directory.integer(data, PHOTOMETRIC, WHITE_IS_ZERO),
            directory.integer(data, SAMPLE_FORMAT, UNSIGNED),
            directory.integer(data, PLANAR, 1) == 2,  # noqa: PLR2004 - section 8
            directory.integer(data, PREDICTOR, 1),
            directory.integers(data, EXTRA_SAMPLES)[:16],
            max(1, min(rows, length)) if not is_tiled else max(1, rows),
            max(1, -(-width // across)) if is_tiled and across else 1,
            is_tiled,
            directory.integer(data, ORIENTATION, 1),
        )


def why_unsupported(layout: Layout) -> str | None:
    """What of a TIFF's compression the decoder does not know, in words for the client; None when it does."""
    number = layout.compression
    if number in COMPRESSION_INFO and number not in _NOT_KNOWN:
        return None
    name = _NOT_KNOWN.get(number, f"compression {number}")
    return f"The TIFF is compressed as {name}; save it in a more common way."


@cache  # few pictures need it
def _twelve_bits_to_8() -> list[int]:
    """For `Image.point`: the 8-bit level of each of 4,096, which Pillow keeps as they are in 16 bits."""
    most = (1 << _TWELVE) - 1
    return [round(min(level, most) * 255 / most) for level in range(1 << 16)]


def finished(image: Image.Image, layout: Layout) -> Image.Image:
    """A picture as Pillow decoded it, put right where Pillow does not look at the kind of numbers."""
    white_is_zero = layout.photometric == WHITE_IS_ZERO
    if image.mode.startswith("I;16") and layout.bits == (_TWELVE,):
        return image.convert("I").point(_twelve_bits_to_8(), "L")
    if image.mode.startswith("I;16") and white_is_zero:
        return image.convert("I").point(sixteen_bits_to_8()[::-1], "L")
    if image.mode == "F" and white_is_zero:
        return to_working(image).point([255 - level for level in range(256)])
    if image.mode == "L" and layout.sample_format == SIGNED and layout.bits == (8,):
        return image.point([level if level < 128 else 0 for level in range(256)])  # noqa: PLR2004 - the sign
    if image.mode == "I" and layout.sample_format == UNSIGNED and layout.bits == (32,):
        low, _high = image.getextrema()
        if (
            isinstance(low, int | float) and low < 0
        ):  # above 2^31: the highest of four bytes, in the machine's order
            highest = 3 if sys.byteorder == "little" else 0
            return Image.frombytes("RGBA", image.size, image.tobytes()).getchannel(highest)
    return image


def in_strips(data: Data, directory: Directory, layout: Layout, rows: int) -> tuple[Directory, Layout]:
    """The same uncompressed picture as if its one strip were several, each of so many rows."""
    row_bytes = (
        layout.width * sum(layout.bits if len(layout.bits) > 1 else layout.bits * layout.samples) + 7
    ) // 8
    begin = directory.integer(data, STRIP_OFFSETS, 0)
    tops = range(0, layout.length, rows)
    split = {
        STRIP_OFFSETS: tuple(begin + top * row_bytes for top in tops),
        STRIP_BYTES: tuple(min(rows, layout.length - top) * row_bytes for top in tops),
        ROWS_PER_STRIP: (rows,),
    }
    return (
        Directory(directory.order, directory.is_big, directory.entries, {**directory.known, **split}),
        replace(layout, piece_length=rows),
    )


def cut(
    data: Data,
    directory: Directory,
    pieces: Sequence[int] | None = None,
    changes: Mapping[int, tuple[int, ...] | None] = MappingProxyType({}),
) -> bytes:
    """A TIFF of its own, plain and with one page, out of these strips or tiles (None: all).

    `changes` gives tags other values, or takes them away. Raises ValueError for pieces that are not there.
    """
    is_tiled = TILE_OFFSETS in directory.entries
    offsets = directory.integers(data, TILE_OFFSETS if is_tiled else STRIP_OFFSETS)
    lengths = directory.integers(data, TILE_BYTES if is_tiled else STRIP_BYTES)
    if len(offsets) == 1 and not lengths:
        lengths = (max(0, len(data) - offsets[0]),)
    chosen = range(len(offsets)) if pieces is None else pieces
    if len(offsets) != len(lengths) or not all(0 <= index < len(offsets) for index in chosen):
        raise ValueError("strips that are not there")
    tags = _kept(data, directory)
    for tag, values_or_none in (dict(directory.known) | dict(changes)).items():
        tags.pop(tag, None)
        if values_or_none is not None:
            tags[tag] = _numbers(directory.order, values_or_none)
    stored = [lengths[index] for index in chosen]
    begins, position = [], 8
    for length in stored:
        begins.append(position)
        position += length + (length & 1)
    tags[TILE_OFFSETS if is_tiled else STRIP_OFFSETS] = _numbers(directory.order, tuple(begins))
    tags[TILE_BYTES if is_tiled else STRIP_BYTES] = _numbers(directory.order, tuple(stored))
    parts: list[bytes | slice] = [
        struct.pack(f"{directory.order}2sHL", b"II" if directory.order == "<" else b"MM", 42, position)
    ]
    for index in chosen:
        end = offsets[index] + lengths[index]
        if end > len(data):
            raise ValueError("a strip that is not all there")
        parts += [slice(offsets[index], end), b"\0" * (lengths[index] & 1)]
    parts.append(_directory(directory.order, position, tags))
    return splice(data, parts)


def _kept(data: Data, directory: Directory) -> dict[int, tuple[int, int, bytes]]:
    """Type, count and content of the tags that say how pixels are stored; none of 64 bits."""
    tags = {}
    for tag in _KEPT:
        entry = directory.entries.get(tag)
        values = directory.integers(data, tag)
        if entry is not None and _TYPES[entry.type][1] == "Q" and max(values) < 1 << 32:
            tags[tag] = _numbers(directory.order, values)
        elif entry is not None and _TYPES[entry.type][1] not in "Qqd":
            tags[tag] = (entry.type, entry.count, directory.content(data, tag))
    return tags


def _numbers(order: str, values: tuple[int, ...]) -> tuple[int, int, bytes]:
    type_ = _SHORT if max(values, default=0) < 1 << 16 else _LONG
    return type_, len(values), struct.pack(f"{order}{len(values)}{_TYPES[type_][1]}", *values)


def _directory(order: str, position: int, tags: Mapping[int, tuple[int, int, bytes]]) -> bytes:
    """A directory that begins at `position`, its values behind it."""
    behind = position + 2 + 12 * len(tags) + 4
    table, values = struct.pack(f"{order}H", len(tags)), b""
    for tag in sorted(tags):
        type_, count, content = tags[tag]
        table += struct.pack(f"{order}HHL", tag, type_, count)
        if len(content) <= 4:  # noqa: PLR2004 - section 2
            table += content.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}L", behind + len(values))
            values += content + bytes(len(content) & 1)
    return table + bytes(4) + values
