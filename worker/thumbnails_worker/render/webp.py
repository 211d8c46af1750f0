"""Reads a WebP's structure, without decoding a pixel: its canvas and its frames, for `opening.py`.

Everything is bounded by the length of the data, and a broken structure ends the count: what is
wrong with a file is said by its decoder, not here.
"""

import mmap
import struct
from collections.abc import Iterator

Data = bytes | mmap.mmap


def chunks(data: Data) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk, where its content begins, and its length (RFC 9649, section 2.3)."""
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position + 8, length
        position += 8 + length + (length & 1)


def count_frames(data: Data) -> int:
    """How many ANMF chunks a WebP has; 1 for a still picture."""
    return sum(name == b"ANMF" for name, _start, _length in chunks(data)) or 1


def whole_frames(data: Data) -> bytes:
    """The WebP with those chunks alone that are all there, and its length as it is now."""
    parts = [
        data[start - 8 : start + length + (length & 1)]
        for _name, start, length in chunks(data)
        if start + length + (length & 1) <= len(data)
    ]
    return b"".join((b"RIFF", struct.pack("<I", 4 + sum(map(len, parts))), b"WEBP", *parts))


def canvas_size(head: bytes) -> tuple[int, int] | None:
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
