"""Counts in a file's structure, without decoding a pixel: scans of a JPEG, frames of an animation.

Everything is bounded by the length of the data, and a broken structure ends the count: what is
wrong with a file is said by its decoder, not here.
"""

import mmap
import struct
import zlib
from typing import Final

Data = bytes | mmap.mmap

_JPEG_SOS: Final = 0xDA
_JPEG_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type (PNG, section 11.2.1)
_INFLATED_BYTES: Final = 1 << 20
_GIF_HEADER_BYTES: Final = 13
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C
_GIF_COLOUR_TABLE: Final = 0x80


def count_jpeg_scans(data: Data, at_most: int) -> int:
    """How many scans (SOS markers) a JPEG has; stops counting above `at_most`.

    In entropy-coded data 0xFF is followed by 0x00 or RSTn (ITU-T T.81, B.1.1.5), so after the first
    scan each FFDA is one more. Segments before that are skipped: an EXIF thumbnail has scans as well.
    """
    position = 2
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker == _JPEG_SOS:  # noqa: PLR2004 - T.81, table B.1
            break
        if marker == 0xFF or marker in _JPEG_STANDALONE:  # noqa: PLR2004 - fill bytes
            position += 1 if marker == 0xFF else 2  # noqa: PLR2004 - as above
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    count = 0
    while count <= at_most and (position := data.find(b"\xff\xda", position)) >= 0:
        count += 1
        position += 2
    return count


def count_gif_frames(data: Data, at_most: int) -> int:
    """How many image descriptors a GIF has; stops counting above `at_most`."""
    size = len(data)
    if size < _GIF_HEADER_BYTES:
        return 0
    position = _GIF_HEADER_BYTES + _colour_table_bytes(data[10])
    count = 0
    while position < size and count <= at_most:
        block = data[position]
        if block == _GIF_EXTENSION:
            position = _skip_sub_blocks(data, position + 2)
        elif block == _GIF_IMAGE and position + 10 < size:
            count += 1
            position = _skip_sub_blocks(data, position + 11 + _colour_table_bytes(data[position + 9]))
        else:
            break
    return count


def count_webp_frames(data: Data) -> int:
    """How many ANMF chunks a WebP has; 1 for a still picture."""
    position, count = 12, 0
    while position + 8 <= len(data):
        count += data[position : position + 4] == b"ANMF"
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + length + (length & 1)
    return count or 1


def count_png_frames(data: Data) -> int:
    """`num_frames` of an APNG's acTL chunk, which stands before the first IDAT; 1 for a still picture."""
    position = 8
    while position + 16 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"acTL":
            return int.from_bytes(data[position + 8 : position + 12], "big")
        if kind == b"IDAT":
            break
        position += 12 + length
    return 1


def png_is_whole(data: Data) -> bool:
    """Whether a PNG's compressed stream holds as many bytes as its rows need; True where that is not clear.

    Pillow takes a stream that ends early for the whole picture. Costs one more inflation, in pieces.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced or colour not in _PNG_CHANNELS:
        return True
    needed: int = height * (1 + (width * depth * _PNG_CHANNELS[colour] + 7) // 8)
    inflate = zlib.decompressobj()
    position, found = 8, 0
    while position + 8 <= len(data) and found < needed:
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            piece = data[position + 8 : position + 8 + length]
            while piece and not inflate.eof:
                try:
                    found += len(inflate.decompress(piece, _INFLATED_BYTES))
                except zlib.error:
                    return True  # what is wrong with the stream itself is for the decoder to say
                piece = inflate.unconsumed_tail
        position += 12 + length
    return found >= needed


def webp_canvas(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP from its first 30 bytes; None when they do not say (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:  # noqa: PLR2004 - length of the fixed header
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L" and len(head) >= 25:  # noqa: PLR2004 - as above
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) >= 30:  # noqa: PLR2004 - as above
        return (
            int.from_bytes(head[26:28], "little") & 0x3FFF,
            int.from_bytes(head[28:30], "little") & 0x3FFF,
        )
    return None


def _colour_table_bytes(packed: int) -> int:
    return 3 << ((packed & 7) + 1) if packed & _GIF_COLOUR_TABLE else 0


def _skip_sub_blocks(data: Data, position: int) -> int:
    size = len(data)
    while position < size and (length := data[position]):
        position += 1 + length
    return position + 1
