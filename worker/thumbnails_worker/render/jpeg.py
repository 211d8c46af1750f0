"""Reads a JPEG's segments, and leaves out those that are damaged and say nothing of pixels, for decoding.

Sections and tables are those of ITU-T T.81.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .splice import splice

Data = bytes | mmap.mmap

_SOI: Final = b"\xff\xd8"
_SOS, _APP0, _APP2, _APP15, _COM = 0xDA, 0xE0, 0xE2, 0xEF, 0xFE
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# Frames: baseline, extended, progressive and lossless, each with Huffman or arithmetic coding (table B.1).
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_LOSSLESS: Final = frozenset({0xC3, 0xCB})
_HIERARCHICAL: Final = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_LS: Final = 0xF7  # SOF55 of ITU-T T.87
_ANY_FRAME: Final = _FRAMES | {_LS}
_BITS: Final = 8
_EOI: Final = b"\xff\xd9"
_SCAN: Final = re.compile(rb"\xff\xda")
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# What may stand before the first scan; beyond it metadata is left out. Pillow's time for many segments grows
# with the square of their number.
_MOST_SEGMENTS: Final = 500
_MOST_HEADER_BYTES: Final = 8 << 20
_MOST_PROFILE_BYTES: Final = 4 << 20
_COMPONENTS: Final = frozenset({1, 3, 4})


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker and where the bytes behind its length lie; `end` may be behind the file's end."""

    marker: int
    start: int
    end: int


def segments(data: Data) -> Iterator[Segment]:
    """The segments up to the first scan, which is the last one given; stops where there is none."""
    position = len(_SOI)
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker in (0x00, 0xFF):  # noqa: PLR2004 - B.1.1.2: filler, or rubbish
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + max(2, length)
        yield Segment(marker, position + 4, end)
        if marker == _SOS:
            return
        position = end


def why_unsupported(data: Data) -> str | None:
    """What of a JPEG's frame the decoder does not know, in words for the client; None when it knows all."""
    segment = next((segment for segment in segments(data) if segment.marker in _ANY_FRAME), None)
    frame = data[segment.start : segment.start + 6] if segment else b""
    if segment is None or len(frame) < 6:  # noqa: PLR2004 - B.2.2
        return None
    bits, lines, components = frame[0], frame[1:3], frame[5]
    reasons = (
        (segment.marker == _LS, "It is a JPEG-LS; save it as a plain JPEG."),
        (lines == b"\0\0", "The JPEG tells its height behind its pixels (DNL); save it anew."),
        (segment.marker in _HIERARCHICAL, "It is a hierarchical JPEG; save it as a plain one."),
        (bits != _BITS, f"The JPEG has {bits} bits a sample; save it with {_BITS}."),
        (segment.marker in _LOSSLESS, "It is a lossless JPEG; save it as a plain one."),
        (
            components not in _COMPONENTS,
            f"The JPEG has {components} components; save it as grey, RGB or CMYK.",
        ),
    )
    return next((why for applies, why in reasons if applies), None)


def has_large_header(data: Data) -> bool:
    """Whether there is so much before the first scan that it has to be `mended` first of all."""
    return any(
        count > _MOST_SEGMENTS or segment.end > _MOST_HEADER_BYTES
        for count, segment in enumerate(segments(data))
    )


def count_scans(data: Data, at_most: int) -> int:
    """How many scans a JPEG has; stops counting above `at_most`.

    In entropy-coded data 0xFF is followed by 0x00 or RSTn (B.1.1.5), so a quick search finds at least as
    many as there are. Only when those are too many, markers are followed one by one: the segments between
    scans, and whatever stands behind the picture's end, may have such bytes as well.
    """
    start = next((s.start - 4 for s in segments(data) if s.marker == _SOS), None)
    if start is None:
        return 0
    quick = 0
    for _ in _SCAN.finditer(data, start):
        quick += 1
        if quick > at_most:
            break
    if quick <= at_most:
        return quick
    count, position = 0, start
    while count <= at_most and (found := _MARKER.search(data, position)):
        marker, position = data[found.start() + 1], found.end()
        if marker == _EOI[1]:
            break
        count += marker == _SOS
        if marker not in _STANDALONE and position + 2 <= len(data):
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return count


def end_of_image(data: Data) -> int:
    """Where the end marker stands that ends the first picture; the end of the data when there is none."""
    start = next((s.end for s in segments(data) if s.marker == _SOS), 0)
    found = re.compile(_EOI).search(data, start)
    return found.start() if found else len(data)


def mended(data: Data) -> bytes | None:
    """The same picture with those segments alone that say something of its pixels; None without a scan.

    Of APPn segments those are kept that have their full length: JFIF, one EXIF, ICC profiles, Adobe's. As
    libjpeg does (jdmarker.c), others count for nothing. Costs a copy of the file.
    """
    parts: list[bytes | slice] = [_SOI]
    seen: set[int] = set()
    profile_bytes = 0
    for segment in segments(data):
        if segment.marker == _SOS:
            parts.append(slice(segment.start - 4, len(data)))
            return splice(data, parts)
        if segment.end > len(data):
            return None
        if _APP0 <= segment.marker <= _APP15 or segment.marker == _COM:
            if not _is_useful(segment.marker, data[segment.start : segment.end]):
                continue
            if segment.marker == _APP2:
                profile_bytes += segment.end - segment.start
                if profile_bytes > _MOST_PROFILE_BYTES:
                    continue
            elif segment.marker in seen:
                continue
            seen.add(segment.marker)
        parts.append(slice(segment.start - 4, segment.end))
    return None


def _is_useful(marker: int, content: bytes) -> bool:
    match marker:
        case 0xE0:
            return content.startswith(b"JFIF\0") and len(content) >= 14  # noqa: PLR2004 - JFIF 1.02
        case 0xE1:
            return content.startswith(b"Exif\0\0")
        case 0xE2:
            return content.startswith(b"ICC_PROFILE\0") and len(content) > 14  # noqa: PLR2004 - ICC.1, B.4
        case 0xEE:
            return content.startswith(b"Adobe") and len(content) >= 12  # noqa: PLR2004 - Adobe TN 5116
        case _:
            return False
