"""Reads the frames of a GIF and composites them as browsers do, for decoding.

Pillow decodes the pixels, one frame at a time: each is handed to it as a GIF of its own. What is between
them is done here, since Pillow fills what a frame clears with a colour where browsers show nothing,
and enlarges the canvas for any frame that reaches beyond it. Sections are those of GIF89a.
"""

import io
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from thumbnails_contract.errors import SourceTooLarge

from .splice import splice

Data = bytes | mmap.mmap

_HEADER_BYTES: Final = 13
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_COLOUR_TABLE: Final = 0x80
_SHORT_BLOCK: Final = 128  # bytes; writers fill them up to 254 or 255, but for the last of each frame
_CLEAR, _RESTORE = 2, 3  # disposal methods (23.c.iv)
_MILLISECONDS: Final = 10  # a unit of a frame's delay


@dataclass(frozen=True, slots=True)
class GifFrame:
    """One frame: where it lies on the canvas, and where in the file."""

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: tuple[int, int]  # from, to: a local colour table, else the global one; may be empty
    start: int  # of the code size's byte, and so of the pixels
    end: int
    transparent: int | None = None
    disposal: int = 0
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class GifFile:
    """The canvas, the frames, and how often all are shown (0 for ever)."""

    size: tuple[int, int]
    frames: tuple[GifFrame, ...]
    plays: int


def count_frames(data: Data, at_most: int) -> int:
    """How many frames there are; stops counting above `at_most`."""
    return len(read_gif(data, at_most).frames)


def read_gif(data: Data, most_frames: int, most_parts: int | None = None) -> GifFile:
    """Walk through the blocks: to the trailer, the end of the data, or one more than `most_frames`.

    As browsers have it, a canvas without an area is that of the first frame, and one that the first frame
    reaches beyond is enlarged for it. Raises SourceTooLarge when there are more blocks than `most_parts`,
    short ones of a frame's data included.
    """
    parts = _Parts(most_parts)
    width, height = struct.unpack("<HH", data[6:10].ljust(4, b"\0"))
    everywhere = _table(_HEADER_BYTES, data[10] if len(data) > 10 else 0)  # noqa: PLR2004 - its place
    position = everywhere[1]
    found: list[GifFrame] = []
    plays, control = 1, b""
    while position < len(data) and len(found) <= most_frames:
        kind = data[position]
        if kind == _EXTENSION and position + 2 < len(data):
            label, begin = data[position + 1], position + 2
            position = parts.skip(data, begin)
            if label == _GRAPHIC_CONTROL and data[begin] >= 4:  # noqa: PLR2004 - 23.b
                control = data[begin + 1 : begin + 5]
            elif label == _APPLICATION and data[begin + 1 : begin + 12] in _LOOPS:
                plays = _plays(data[begin + 12 : begin + 16], plays)
        elif kind == _IMAGE and position + 10 < len(data):
            left, top, wide, high, packed = struct.unpack("<HHHHB", data[position + 1 : position + 10])
            local = _table(position + 10, packed)
            start = local[1]
            position = parts.skip(data, start + 1)
            found.append(
                GifFrame(
                    left,
                    top,
                    wide,
                    high,
                    bool(packed & 0x40),
                    local if local[0] < local[1] else everywhere,
                    start,
                    min(position, len(data)),
                    *_control(control),
                )
            )
            control = b""
        else:
            break
    if found:
        first = found[0]
        if not (width and height):
            width, height = first.width, first.height
        elif first.width and first.height:
            width, height = max(width, first.left + first.width), max(height, first.top + first.height)
    return GifFile((width, height), tuple(found), plays)


def first_picture(data: Data, file: GifFile, *, tolerant: bool = False) -> Image.Image:
    """The first state of the canvas; in mode P or L where its frame covers all: that is small."""
    frame = file.frames[0]
    if not covers_all(file) or tolerant:
        return next(composite(data, GifFile(file.size, file.frames[:1], 1), tolerant=tolerant))[0]
    picture = _decode(data, frame, None)
    if frame.transparent is not None:
        picture.info["transparency"] = frame.transparent
    return picture


def covers_all(file: GifFile) -> bool:
    """Whether the first frame is exactly the canvas."""
    first = file.frames[0]
    return (first.left, first.top, first.width, first.height) == (0, 0, *file.size)


def composite(data: Data, file: GifFile, *, tolerant: bool = False) -> Iterator[tuple[Image.Image, int]]:
    """Each state of the canvas, and how many milliseconds it stays: RGB when all is opaque, else RGBA.

    A picture that was given is not changed later; the same one again is the same state. Raises what Pillow
    raises for pixels that it cannot decode; when `tolerant`, those that are missing are transparent (the
    caller sets Pillow's own tolerance).
    """
    opaque = _is_opaque(file) and not tolerant
    canvas = given = Image.new("RGB" if opaque else "RGBA", file.size)
    for index, frame in enumerate(file.frames):
        if index and _says_again(data, file.frames[index - 1], frame):
            yield given, frame.milliseconds
            continue
        before = canvas.copy() if frame.disposal == _RESTORE else None
        if frame.width and frame.height:
            _draw(canvas, data, frame, tolerant=tolerant)
        last = index == len(file.frames) - 1
        given = canvas if last else canvas.copy()
        yield given, frame.milliseconds
        if before is not None:
            canvas = before
        elif frame.disposal == _CLEAR:
            canvas.paste((0, 0, 0, 0)[: len(canvas.getbands())], _box(frame, file.size))


def _says_again(data: Data, previous: GifFrame, frame: GifFrame) -> bool:
    """Whether a frame draws the very same over what the previous one left: nothing has to be decoded."""
    return (
        previous.disposal not in (_CLEAR, _RESTORE)
        and replace(
            previous,
            start=frame.start,
            end=frame.end,
            palette=frame.palette,
            milliseconds=frame.milliseconds,
        )
        == frame
        and frame.end - frame.start == previous.end - previous.start
        and data[frame.start : frame.end] == data[previous.start : previous.end]
        and data[slice(*frame.palette)] == data[slice(*previous.palette)]
    )


def _is_opaque(file: GifFile) -> bool:
    """Whether the first frame covers all, and nothing is taken away again that would show what is behind."""
    if not file.frames:
        return False
    first = file.frames[0]
    covers = _box(first, file.size) == (0, 0, *file.size) and first.transparent is None
    return covers and all(
        frame.disposal != _CLEAR and not (frame is first and frame.disposal == _RESTORE)
        for frame in file.frames[: max(1, len(file.frames) - 1)]
        if len(file.frames) > 1
    )


def _draw(canvas: Image.Image, data: Data, frame: GifFrame, *, tolerant: bool) -> None:
    """Put a frame's pixels over what is there."""
    where, nothing = (frame.left, frame.top), frame.transparent
    picture = _decode(data, frame, nothing if tolerant else None)
    if tolerant and nothing is None:
        counts = picture.histogram()
        nothing = next((level for level in range(255, -1, -1) if not counts[level]), None)
        if nothing is not None:
            picture = _decode(data, frame, nothing)
    if nothing is None:
        canvas.paste(picture.convert("RGB"), where)
        return
    # By the index: another one may have the same colour.
    mask = picture.point([0 if level == nothing else 255 for level in range(256)], "L")
    canvas.paste(picture.convert("RGB"), where, mask)


def _decode(data: Data, frame: GifFrame, missing: int | None) -> Image.Image:
    """The frame's own pixels, mode P or L; those that the file does not have get the level `missing`."""
    colours = data[slice(*frame.palette)]
    bits = max(1, (len(colours) // 3 - 1).bit_length()) if colours else 0
    file = splice(
        data,
        (
            b"GIF89a",
            struct.pack("<HHBBB", frame.width, frame.height, _COLOUR_TABLE | bits - 1 if bits else 0, 0, 0),
            colours,
            struct.pack("<BHHHHB", _IMAGE, 0, 0, frame.width, frame.height, 0x40 if frame.interlaced else 0),
            slice(frame.start, frame.end),
            bytes([_TRAILER]),
        ),
    )
    image = GifImageFile(io.BytesIO(file))
    if missing is not None:
        image.im = Image.new(image.mode, image.size, missing).im
    image.load()
    return image


def _box(frame: GifFrame, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """What of the canvas a frame covers."""
    return (
        min(frame.left, size[0]),
        min(frame.top, size[1]),
        min(frame.left + frame.width, size[0]),
        min(frame.top + frame.height, size[1]),
    )


def _control(control: bytes) -> tuple[int | None, int, int]:
    """Transparent index, disposal and milliseconds of a graphic control extension (23)."""
    if not control:
        return None, 0, 0
    packed, delay, index = struct.unpack("<BHB", control)
    return index if packed & 1 else None, packed >> 2 & 7, delay * _MILLISECONDS


def _plays(block: bytes, otherwise: int) -> int:
    """What Netscape's extension says: repeats, so that one more is shown; 0 for ever."""
    if len(block) < 4 or block[0] < 3 or block[1] & 7 != 1:  # noqa: PLR2004 - its sub-block: 3, 1, count
        return otherwise
    repeats: int = struct.unpack("<H", block[2:4])[0]
    return repeats and repeats + 1


def _table(position: int, packed: int) -> tuple[int, int]:
    """From where to where a colour table lies."""
    return position, position + (3 << ((packed & 7) + 1) if packed & _COLOUR_TABLE else 0)


class _Parts:
    """Goes over sub-blocks (15), and counts those that are too short to be worth their time."""

    def __init__(self, most: int | None) -> None:
        self._left = most

    def skip(self, data: Data, position: int) -> int:
        """Behind the sub-blocks that begin here. Raises SourceTooLarge."""
        short, size = 1, len(data)
        while position < size and (length := data[position]):
            position += 1 + length
            short += length < _SHORT_BLOCK
        if self._left is not None:
            self._left -= short
            if self._left < 0:
                raise SourceTooLarge("The GIF is made of too many blocks; save it with fewer.")
        return position + 1
