"""Reads what a PNG says beside its pixels, and mends what does not concern them, for decoding.

Sections are those of the W3C's PNG (third edition). Chunks are found by their lengths alone; nothing
is inflated unless a stream has to be counted or mended, and then in pieces.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .splice import splice

Data = bytes | mmap.mmap

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type (11.2.1)
GREY, RGB, PALETTE = 0, 2, 3
# First column and row of each pass of Adam7, and how far apart those are that follow (8.2).
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_SPARE_BYTES: Final = 1 << 16  # of a stream, beside its rows
_INFLATED_BYTES: Final = 1 << 18
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ANIMATION: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
# Ancillary chunks that change what a viewer sees, and the lengths that they have at least.
_USEFUL: Final = {b"tRNS": 1, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"iCCP": 3, b"eXIf": 8}
_ANIMATION_BYTES: Final = {b"acTL": 8, b"fcTL": 26, b"fdAT": 4}
_MOST_PROFILE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk lies: `start` is that of its data, which may end behind the file's end."""

    kind: bytes
    start: int
    length: int

    def data(self, file: Data) -> bytes:
        """What the chunk holds."""
        return file[self.start : self.start + self.length]

    def is_whole(self, file: Data) -> bool:
        """Whether all of it is there, and its checksum is right."""
        end = self.start + self.length
        stated = file[end : end + 4]
        if len(stated) < 4:  # noqa: PLR2004 - length of a checksum
            return False
        with memoryview(file) as whole, whole[self.start - 4 : end] as view:
            return zlib.crc32(view) == int.from_bytes(stated, "big")


@dataclass(frozen=True, slots=True)
class Facts:
    """The image header (11.2.1), and how colours are to be understood (4.3): None where a file is silent."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    transparent: bytes | None = None
    gamma: int | None = None  # times 100,000, as in the file
    chromaticities: tuple[int, ...] | None = None  # white, red, green, blue: x and y, times 100,000
    is_srgb: bool = False
    has_profile: bool = False
    code_points: bytes | None = None  # cICP: primaries, transfer, matrix, full range

    @property
    def row_sizes(self) -> Iterator[tuple[int, int]]:
        """How many rows the stream has, and the bytes of each with its filter's: for every pass."""
        bits = self.depth * CHANNELS.get(self.colour, 1)
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        for left, top, across, down in passes:
            columns, rows = -(-(self.width - left) // across), -(-(self.height - top) // down)
            if columns > 0 and rows > 0:
                yield rows, 1 + (columns * bits + 7) // 8


def chunks(data: Data, position: int = len(SIGNATURE)) -> Iterator[Chunk]:
    """All chunks in order, to the end of the data or to what is no chunk."""
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if not kind.isalpha():
            return
        yield Chunk(kind, position + 8, length)
        position += 12 + length


def read_facts(data: Data) -> Facts | None:
    """What stands before the pixels; None when the header itself is not there."""
    header = data[16:29]
    if len(header) < 13 or data[12:16] != b"IHDR":  # noqa: PLR2004 - length of the header
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    found: dict[bytes, bytes] = {}
    for chunk in chunks(data):
        if chunk.kind == b"IDAT":
            break
        if chunk.kind in _USEFUL and chunk.length >= _USEFUL[chunk.kind]:
            found.setdefault(chunk.kind, b"" if chunk.kind == b"iCCP" else chunk.data(data))
    return Facts(
        width,
        height,
        depth,
        colour,
        bool(interlaced),
        transparent=found.get(b"tRNS"),
        gamma=int.from_bytes(found[b"gAMA"][:4], "big") if b"gAMA" in found else None,
        chromaticities=struct.unpack(">8I", found[b"cHRM"][:32]) if b"cHRM" in found else None,
        is_srgb=b"sRGB" in found,
        has_profile=b"iCCP" in found,
        code_points=found[b"cICP"][:4] if b"cICP" in found else None,
    )


def is_of_apple(data: Data) -> bool:
    """Whether it is what Xcode makes of a PNG for a device: no PNG any more, but it has the signature."""
    return data[12:16] == b"CgBI"


def count_frames(data: Data) -> int:
    """What acTL says, which stands before the pixels (APNG, now 11.3.6.1); 1 for a still picture."""
    for chunk in chunks(data):
        if chunk.kind == b"acTL" and chunk.length >= _ANIMATION_BYTES[b"acTL"]:
            return int.from_bytes(chunk.data(data)[:4], "big") or 1
        if chunk.kind == b"IDAT":
            break
    return 1


def transparency(facts: Facts) -> int | tuple[int, int, int] | None:
    """The one level or colour that tRNS makes transparent (11.3.1.1), as Pillow's pixels have it.

    Pillow compares the number in the file, which has the file's depth, with pixels that it scaled to 8
    bits, but for grey of 16 bits. None for palettes, whose alphas it reads right, and without tRNS.
    """
    data = facts.transparent
    if data is None or facts.colour not in (GREY, RGB):
        return None
    levels = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]
    most = (1 << facts.depth) - 1
    if facts.colour == RGB:
        if len(levels) < 3:  # noqa: PLR2004 - red, green, blue
            return None
        shift = facts.depth - 8
        red, green, blue = ((level & most) >> shift for level in levels[:3])
        return red, green, blue
    if not levels:
        return None
    level = levels[0] & most
    return level if facts.depth >= 8 else level * 255 // most  # noqa: PLR2004 - bits


def has_too_much(data: Data, facts: Facts) -> bool:
    """Whether the compressed pixels have more bytes than all rows would have that are not compressed at all.

    Pillow inflates a stream to its end, however many rows that would be.
    """
    stored = sum(rows * size for rows, size in facts.row_sizes) * count_frames(data)
    most = stored + stored // 64 + _SPARE_BYTES * (1 + count_frames(data))
    return sum(chunk.length for chunk in chunks(data) if chunk.kind in (b"IDAT", b"fdAT")) > most


def is_whole(data: Data) -> bool:
    """Whether the compressed stream holds as many bytes as the rows need; True where that is not clear.

    Pillow takes a stream that ends early for the whole picture. Costs one more inflation, in pieces.
    """
    facts = read_facts(data)
    if facts is None or facts.colour not in CHANNELS:
        return True
    needed = sum(rows * size for rows, size in facts.row_sizes)
    found = 0
    try:
        for piece in inflated(data):
            found += len(piece)
            if found >= needed:
                return True
    except zlib.error:
        return True  # what is wrong with the stream itself is for the decoder to say
    return False


def inflated(data: Data) -> Iterator[bytes]:
    """The rows, with their filters' bytes, in pieces of whatever length. Raises zlib.error."""
    inflate = zlib.decompressobj()
    for chunk in chunks(data):
        if chunk.kind != b"IDAT":
            continue
        piece = chunk.data(data)
        while piece and not inflate.eof:
            yield inflate.decompress(piece, _INFLATED_BYTES)
            piece = inflate.unconsumed_tail


def written(kind: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file (5.3)."""
    check = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I4s", len(content), kind), content, struct.pack(">I", check)))


def mended(data: Data) -> bytes | None:
    """The same picture without what is wrong beside its pixels; None when that is not where the fault is.

    Kept are critical chunks and, of the others, those that viewers heed, as long as they are whole. A
    wrong checksum of the pixels' own stream is put right when the checksums of its chunks are: then
    nothing was damaged on the way (10.1, 13.2). Costs a copy of the file.
    """
    found = [chunk for chunk in chunks(data) if chunk.start <= len(data)]
    if not found or not all(
        chunk.is_whole(data) for chunk in found if chunk.kind in (b"IHDR", b"PLTE") and chunk.length < 1 << 16
    ):
        return None
    animated = all(
        chunk.is_whole(data) and chunk.length >= _ANIMATION_BYTES[chunk.kind]
        for chunk in found
        if chunk.kind in _ANIMATION
    )
    parts: list[bytes | slice] = [SIGNATURE]
    stream: list[Chunk] = []
    for chunk in found:
        if chunk.kind == b"IDAT":
            stream.append(chunk)
            if len(stream) == 1:
                parts.append(b"")  # its place
        elif (
            chunk.kind in _CRITICAL
            or (chunk.kind in _ANIMATION and animated)
            or (chunk.kind in _USEFUL and _is_useful(chunk, data))
        ):
            parts.append(slice(chunk.start - 8, chunk.start + chunk.length + 4))
        if chunk.kind == b"IEND":
            break
    if not stream:
        return None
    pixels = _mended_stream([chunk.data(data) for chunk in stream], all(c.is_whole(data) for c in stream))
    parts[parts.index(b"")] = written(b"IDAT", pixels)
    return splice(data, parts)


def _is_useful(chunk: Chunk, data: Data) -> bool:
    if chunk.length < _USEFUL[chunk.kind] or not chunk.is_whole(data):
        return False
    if chunk.kind != b"iCCP":
        return True
    name, _, rest = chunk.data(data).partition(b"\0")
    if len(name) > 79 or rest[:1] != b"\0":  # noqa: PLR2004 - 11.3.2.3
        return False
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(rest[1:], _MOST_PROFILE_BYTES)
    except zlib.error:
        return False
    return inflate.eof


def _mended_stream(pieces: list[bytes], are_whole: bool) -> bytes:
    """The zlib stream (RFC 1950) with the checksum that its content has; as it was where it is damaged."""
    stream = b"".join(pieces)
    if not are_whole:
        return stream
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    check, piece = 1, stream[2:]
    try:
        while not inflate.eof:
            content = inflate.decompress(piece, _INFLATED_BYTES)
            if not content and not inflate.unconsumed_tail and not inflate.eof:
                return stream  # it ends too early
            check = zlib.adler32(content, check)
            piece = inflate.unconsumed_tail
    except zlib.error:
        return stream
    return stream[: len(stream) - len(inflate.unused_data)] + struct.pack(">I", check)
