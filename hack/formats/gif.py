"""GIF (GIF87a, GIF89a, and Netscape's extension for loops)."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from . import scene
from .kind import Pixels, given, kinds_of

_NOTHING, _KEEP, _CLEAR, _RESTORE = 0, 1, 2, 3
_TRAILER: Final = b";"


def lzw(indices: Pixels, bits: int) -> bytes:
    """The image data: codes that are literals, the table cleared before it grows (appendix F)."""
    size, clear = bits + 1, 1 << bits
    codes: list[int] = []
    for number, index in enumerate(indices.ravel().tolist()):
        if number % (clear - 2) == 0:
            codes.append(clear)
        codes.append(index)
    codes.append(clear + 1)
    spread = (np.array(codes)[:, None] >> np.arange(size)) & 1
    data = np.packbits(spread.astype(np.uint8).ravel(), bitorder="little").tobytes()
    return bytes([bits]) + sub_blocks(data)


def sub_blocks(data: bytes) -> bytes:
    """The data in blocks of up to 255 bytes, and an empty one."""
    pieces = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


@dataclass(frozen=True, slots=True)
class Frame:
    """One image: indices at a place; `table` is a palette of its own."""

    indices: Pixels
    x: int = 0
    y: int = 0
    hundredths: int = 10
    disposal: int = _KEEP
    transparent: int | None = None
    table: Pixels | None = None
    interlaced: bool = False
    control: bool = True


def _colour_table(table: Pixels) -> tuple[int, bytes]:
    """(size as the format writes it, the padded table)."""
    bits = max(1, (len(table) - 1).bit_length())
    return bits - 1, table.tobytes() + bytes(3 * ((1 << bits) - len(table)))


def frame_blocks(frame: Frame, colours: int) -> bytes:
    """The blocks of one frame; `colours`: of the global palette."""
    height, width = frame.indices.shape
    blocks = b""
    if frame.control:
        flags = frame.disposal << 2 | (frame.transparent is not None)
        blocks += b"!\xf9\x04" + struct.pack("<BHB", flags, frame.hundredths, frame.transparent or 0) + b"\0"
    packed, table = frame.interlaced << 6, b""
    if frame.table is not None:
        size, table = _colour_table(frame.table)
        packed |= 0x80 | size
        colours = len(frame.table)
    blocks += b"," + struct.pack("<HHHHB", frame.x, frame.y, width, height, packed) + table
    rows = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
    indices = frame.indices[rows] if frame.interlaced else frame.indices
    return blocks + lzw(indices, max(2, (colours - 1).bit_length()))


def write(
    frames: Sequence[Frame],
    table: Pixels | None,
    size: tuple[int, int] = (scene.WIDTH, scene.HEIGHT),
    *,
    loop: int | None = None,
    background: int = 0,
    version: bytes = b"GIF89a",
    extra: bytes = b"",
    end: bytes = _TRAILER,
) -> bytes:
    """A GIF; `loop` is the count of Netscape's extension, None: there is none."""
    packed, colours = 0, b""
    if table is not None:
        bits, colours = _colour_table(table)
        packed = 0xF0 | bits
    head = version + struct.pack("<HHBBB", *size, packed, background, 0) + colours + extra
    if loop is not None:
        head += b"!\xff\x0bNETSCAPE2.0" + b"\x03\x01" + struct.pack("<H", loop) + b"\0"
    count = len(table) if table is not None else 0
    return head + b"".join(frame_blocks(frame, count) for frame in frames) + end


# ---- what is in the files ------------------------------------------------------------------

_COLOURS: Final = 32
_BACKGROUND: Final = 7
_HOLE: Final = _COLOURS - 1  # an index that the pictures do not have


def _main() -> tuple[Pixels, Pixels]:
    """(indices, palette) with a place for the transparent one, of a loud colour."""
    indices, table = scene.palette(_COLOURS - 1)
    return indices, np.concatenate([table, np.array([[255, 0, 255]], np.uint8)])


def _indices() -> Pixels:
    return _main()[0]


def _table() -> Pixels:
    return _main()[1]


def _seen(indices: Pixels) -> Pixels:
    """RGBA of indices."""
    alpha = np.where(indices == _HOLE, 0, 255).astype(np.uint8)
    return np.concatenate([_table()[indices] * (alpha[..., None] > 0), alpha[..., None]], axis=-1)


def _rgb(indices: Pixels) -> Pixels:
    return _table()[indices]


def _holed() -> Pixels:
    """The picture with transparency where the scene's mask has it."""
    return np.where(scene.mask()[..., 0] > 0, _indices(), _HOLE).astype(np.uint8)


def _part() -> Pixels:
    """Another picture: the lower right corner upside down."""
    return np.ascontiguousarray(_indices()[70:, 100:][::-1, ::-1])


def _part_holed() -> Pixels:
    part = _part().copy()
    part[15:35, 20:40] = _HOLE
    return part


def _laid(part: Pixels, x: int, y: int, over: Pixels) -> Pixels:
    result = over.copy()
    place = result[y : y + part.shape[0], x : x + part.shape[1]]
    shown = part[: place.shape[0], : place.shape[1]]
    place[:] = np.where(shown == _HOLE, place, shown)
    return result


def _cleared(x: int, y: int, part: Pixels, of: Pixels) -> Pixels:
    result = of.copy()
    result[y : y + part.shape[0], x : x + part.shape[1]] = _HOLE
    return result


_EMPTY: Final = np.full((scene.HEIGHT, scene.WIDTH), _HOLE, np.uint8)


def _disposals() -> list[Frame]:
    return [
        Frame(_indices(), hundredths=10),
        Frame(_part(), 0, 0, 20, _NOTHING),
        Frame(_part(), 90, 60, 30, _RESTORE),
        Frame(_part(), 50, 40, 5, _CLEAR, _HOLE),
        Frame(_part_holed(), 20, 10, 8, _KEEP, _HOLE),
    ]


def _shows_disposals() -> list[Pixels]:
    first = _indices()
    second = _laid(_part(), 0, 0, first)
    third = _laid(_part(), 90, 60, second)
    fourth = _laid(_part(), 50, 40, second)
    holed = _cleared(50, 40, _part(), second)
    return [_seen(frame) for frame in (first, second, third, fourth, _laid(_part_holed(), 20, 10, holed))]


def _each(disposal: int) -> list[Frame]:
    """Three frames that differ, with this disposal."""
    return [
        Frame(_indices(), disposal=disposal, transparent=_HOLE),
        Frame(_part_holed(), 10, 10, disposal=disposal, transparent=_HOLE),
        Frame(_part_holed(), 80, 60, disposal=disposal, transparent=_HOLE),
    ]


def _write_each(disposal: int) -> bytes:
    return write(_each(disposal), _table(), loop=0)


def _shows_each(disposal: int) -> list[Pixels]:
    canvas, shown = _EMPTY, []
    for frame in _each(disposal):
        seen = _laid(frame.indices, frame.x, frame.y, canvas)
        shown.append(_seen(seen))
        if disposal == _CLEAR:
            canvas = _cleared(frame.x, frame.y, frame.indices, seen)
        elif disposal != _RESTORE:
            canvas = seen
    return shown


def _late(transparent: int | None = None) -> list[Frame]:
    return [Frame(_part(), 30, 20, transparent=transparent), Frame(_part(), 90, 60, transparent=transparent)]


def _clears_without_transparency() -> list[Frame]:
    return [Frame(_indices()), Frame(_part(), 50, 40, disposal=_CLEAR), Frame(_part(), 0, 0)]


def _shows_cleared() -> list[Pixels]:
    first = _indices()
    second = _laid(_part(), 50, 40, first)
    cleared = _cleared(50, 40, _part(), first)
    return [_seen(first), _seen(second), _seen(_laid(_part(), 0, 0, cleared))]


def _shows_late() -> list[Pixels]:
    first = _laid(_part(), 30, 20, _EMPTY)
    return [_seen(first), _seen(_laid(_part(), 90, 60, first))]


def _local() -> list[Frame]:
    """Palettes of their own, turned round; there is no common one."""
    return [
        Frame(_COLOURS - 1 - _indices(), table=np.ascontiguousarray(_table()[::-1])),
        Frame(_part(), 0, 0, table=_table()),
    ]


def _turning(count: int) -> list[Frame]:
    """Frames that all differ."""
    return [Frame(np.ascontiguousarray(np.roll(_indices(), 8 * number, axis=1))) for number in range(count)]


def _shows_turning(count: int) -> list[Pixels]:
    return [_rgb(frame.indices) for frame in _turning(count)]


_kind: Final = kinds_of("GIF", shows=lambda: [_rgb(_indices())], out="GIF RGB")


def _two(**options: Any) -> Callable[[], bytes]:
    return lambda: write(_turning(2), _table(), **options)


_BLACK: Final = "Nothing is where no frame was, as in browsers; libvips makes that black."
_TWO: Final[dict[str, Any]] = {"shows": lambda: _shows_turning(2), "milliseconds": (100, 100)}
_HOLED: Final[dict[str, Any]] = {"shows": lambda: [_seen(_holed())], "out": "GIF RGBA"}

KINDS: Final = (
    _kind("still", "one frame", lambda: write([Frame(_indices())], _table())),
    _kind(
        "GIF87a",
        "the older version",
        lambda: write([Frame(_indices(), control=False)], _table(), version=b"GIF87a"),
    ),
    _kind("interlaced", "rows in four passes", lambda: write([Frame(_indices(), interlaced=True)], _table())),
    _kind(
        "transparent",
        "one colour is transparent",
        lambda: write([Frame(_holed(), transparent=_HOLE)], _table()),
        **_HOLED,
    ),
    _kind(
        "transparent, interlaced",
        "",
        lambda: write([Frame(_holed(), transparent=_HOLE, interlaced=True)], _table()),
        **_HOLED,
    ),
    _kind(
        "transparent background",
        "the background is the transparent colour",
        lambda: write([Frame(_holed(), transparent=_HOLE)], _table(), background=_HOLE),
        **_HOLED,
    ),
    _kind(
        "two colours",
        "",
        lambda: write([Frame(scene.palette(2)[0])], scene.palette(2)[1]),
        shows=lambda: [scene.indexed(2)],
    ),
    _kind(
        "256 colours",
        "",
        lambda: write([Frame(scene.palette(256)[0])], scene.palette(256)[1]),
        shows=lambda: [scene.indexed(256)],
    ),
    _kind("local palette", "a palette of the frame alone", lambda: write(_local()[:1], None)),
    _kind(
        "smaller than its canvas",
        "a still frame that covers a part",
        lambda: write([Frame(_part(), 30, 20)], _table()),
        shows=lambda: _shows_late()[:1],
        out="GIF RGBA",
        differs=_BLACK,
    ),
    _kind(
        "comment",
        "and an extension that nobody knows",
        lambda: write([Frame(_indices())], _table(), extra=b"!\xfe\x05hello\0!\x77\x03abc\0"),
    ),
    _kind("animated", "frames of the whole canvas, for ever", _two(loop=0), **_TWO),
    *(
        _kind(
            f"disposal {disposal}",
            text,
            given(_write_each, disposal),
            shows=given(_shows_each, disposal),
            milliseconds=(100,) * 3,
            out=out,
        )
        for disposal, text, out in (
            (_NOTHING, "nothing is said about frames afterwards", "GIF RGB"),
            (_KEEP, "frames are kept", "GIF RGB"),
            (_CLEAR, "frames are cleared", "GIF RGBA"),
            (_RESTORE, "what was before comes back", "GIF RGBA"),
        )
    ),
    _kind(
        "disposals mixed",
        "parts that are kept, restored, cleared",
        lambda: write(_disposals(), _table(), loop=2),
        shows=_shows_disposals,
        milliseconds=(100, 200, 300, 50, 80),
        plays=3,
        out="GIF RGBA",
    ),
    _kind(
        "clear without transparency",
        "a frame is cleared, and no frame has a transparent colour",
        lambda: write(_clears_without_transparency(), _table(), loop=0, background=_BACKGROUND),
        shows=_shows_cleared,
        milliseconds=(100,) * 3,
        out="GIF RGBA",
        differs="Nothing is there afterwards, as in browsers; libvips paints the background.",
    ),
    _kind(
        "late",
        "a first frame that does not cover the canvas",
        lambda: write(_late(_HOLE), _table(), loop=0),
        shows=_shows_late,
        milliseconds=(100, 100),
        out="GIF RGBA",
    ),
    _kind(
        "late, opaque",
        "the same, and no frame has a transparent colour",
        lambda: write(_late(), _table(), loop=0),
        shows=_shows_late,
        milliseconds=(100, 100),
        out="GIF RGBA",
        differs=_BLACK,
    ),
    _kind(
        "local palettes",
        "each frame has its own, there is no common one",
        lambda: write(_local(), None, loop=0),
        shows=lambda: [_rgb(_indices()), _rgb(_laid(_part(), 0, 0, _indices()))],
        milliseconds=(100, 100),
    ),
    _kind(
        "zero delays",
        "frames of 0 ms",
        lambda: write([Frame(frame.indices, hundredths=0) for frame in _turning(2)], _table(), loop=0),
        shows=lambda: _shows_turning(2),
        milliseconds=(0, 0),
    ),
    _kind("no loop", "without Netscape's extension", _two(), **_TWO, plays=1),
    _kind("loop 1", "shown once more", _two(loop=1), **_TWO, plays=2),
    _kind("loop 65535", "", _two(loop=65_535), **_TWO, plays=65_536),
    _kind(
        "trailing garbage",
        "something else behind the end",
        lambda: write([Frame(_indices())], _table()) + b"garbage" * 99,
    ),
    _kind("animated, trailing garbage", "", _two(loop=0, end=b";" + b"garbage,!" * 99), **_TWO),
    _kind("without its end", "the trailer is missing", lambda: write([Frame(_indices())], _table(), end=b"")),
    _kind(
        "first frame beyond the canvas",
        "a canvas that is too small for its first frame",
        lambda: write([Frame(_indices()), Frame(_part(), 130, 90)], _table(), (80, 60), loop=0),
        shows=lambda: [_rgb(_indices()), _rgb(_laid(_part(), 130, 90, _indices()))],
        milliseconds=(100, 100),
    ),
    _kind(
        "beyond the canvas",
        "a later frame that reaches beyond the canvas",
        lambda: write([Frame(_indices()), Frame(_part(), 130, 90)], _table(), loop=0),
        shows=lambda: [_rgb(_indices()), _rgb(_laid(_part(), 130, 90, _indices()))],
        milliseconds=(100, 100),
    ),
    _kind(
        "1 x 1",
        "a single pixel",
        lambda: write([Frame(_indices()[60:61, 30:31])], _table(), (1, 1)),
        shows=lambda: [_rgb(_indices()[60:61, 30:31])],
    ),
    _kind(
        "20000 x 1",
        "",
        lambda: write([Frame(np.tile(_indices()[:1], 125))], _table(), (20_000, 1)),
        within=(4.0, 8.0),
        within_vips=(4.0, 12.0),
        shows=lambda: [_rgb(np.tile(_indices()[:1], 125))],
    ),
    _kind(
        "truncated",
        "the second half is missing",
        lambda: write([Frame(_indices())], _table())[:9_000],
        refused="CorruptSource",
    ),
    _kind(
        "truncated animation",
        "the last frame is cut off",
        lambda: _two(loop=0)()[:-3_000],
        refused="CorruptSource",
    ),
)
