"""WebP (RFC 9649)."""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from . import exif, icc, scene
from .kind import LOSSY, Pixels, given, kinds_of, still

_EXIF, _ALPHA, _PROFILE, _ANIMATION = 0x08, 0x10, 0x20, 0x02


def write(pixels: Pixels, **options: Any) -> bytes:
    """The picture as Pillow writes it, quality 90."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", **({"quality": 90} | options))
    return file.getvalue()


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of each."""
    position = 12
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk, padded."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def riff(*parts: bytes) -> bytes:
    """The file of these chunks."""
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _extended(flags: int, width: int, height: int) -> bytes:
    return chunk(
        b"VP8X",
        struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
    )


def _pixels(data: bytes) -> bytes:
    """The chunks of a picture: ALPH and VP8, or VP8L."""
    return b"".join(
        chunk(name, content) for name, content in chunks(data) if name in {b"ALPH", b"VP8 ", b"VP8L"}
    )


def with_metadata(pixels: Pixels, *, profile: bytes = b"", exif_block: bytes = b"", **options: Any) -> bytes:
    """The picture in an extended file; EXIF stands behind the pixels, as it does in most."""
    height, width, channels = pixels.shape
    flags = _PROFILE * bool(profile) | _EXIF * bool(exif_block) | _ALPHA * (channels == 4)
    parts = [_extended(flags, width, height), _pixels(write(pixels, **options))]
    if profile:
        parts.insert(1, chunk(b"ICCP", profile))
    if exif_block:
        parts.append(chunk(b"EXIF", exif_block))
    return riff(*parts)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an animation: a picture at an even place."""

    pixels: Pixels
    x: int = 0
    y: int = 0
    milliseconds: int = 100
    blend: bool = True
    clear: bool = False  # its place afterwards


def write_animation(
    frames: Sequence[Frame],
    size: tuple[int, int],
    plays: int = 0,
    background: bytes = b"\0\0\0\0",
    **options: Any,
) -> bytes:
    """An animation; `background` (BGRA) is what viewers ignore."""
    parts = [_extended(_ANIMATION | _ALPHA, *size), chunk(b"ANIM", background + struct.pack("<H", plays))]
    for frame in frames:
        height, width = frame.pixels.shape[:2]
        numbers = (frame.x // 2, frame.y // 2, width - 1, height - 1, frame.milliseconds)
        head = b"".join(number.to_bytes(3, "little") for number in numbers)
        head += bytes([2 * (not frame.blend) + frame.clear])
        parts.append(chunk(b"ANMF", head + _pixels(write(frame.pixels, **options))))
    return riff(*parts)


# ---- what is in the files ------------------------------------------------------------------

_SIZE: Final = (scene.WIDTH, scene.HEIGHT)
_LOSSLESS: Final[dict[str, Any]] = {"lossless": True, "exact": True}


def _opaque(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=-1)


def _part() -> Pixels:
    return _opaque(scene.other()[20:70, 30:90])


def _holed() -> Pixels:
    part = _part()
    part[15:35, 20:40] = 0
    return part


def _laid(pixels: Pixels, x: int, y: int, over: Pixels, *, blend: bool = True) -> Pixels:
    result = over.copy()
    place = result[y : y + pixels.shape[0], x : x + pixels.shape[1]]
    place[:] = np.where((pixels[..., 3:] > 0) | (not blend), pixels, place)
    return result


def _moving() -> list[Frame]:
    return [
        Frame(_opaque(scene.colour())),
        Frame(_part(), 0, 0, 200),
        Frame(_holed(), 90, 60, 300, clear=True),
        Frame(_holed(), 50, 40, 40, blend=False),
    ]


def _shows_moving() -> list[Pixels]:
    first = _opaque(scene.colour())
    second = _laid(_part(), 0, 0, first)
    third = _laid(_holed(), 90, 60, second)
    cleared = second.copy()
    cleared[60:110, 90:150] = 0
    return [first, second, third, _laid(_holed(), 50, 40, cleared, blend=False)]


def _late() -> list[Pixels]:
    """A first frame that covers a part of the canvas, then another part."""
    clear = np.zeros((scene.HEIGHT, scene.WIDTH, 4), np.uint8)
    first = _laid(_part(), 30, 20, clear)
    return [first, _laid(_part(), 90, 60, first)]


def _oriented(value: int) -> bytes:
    return with_metadata(exif.stored(scene.colour(), value), exif_block=exif.block(value))


def _wrong_length(change: int) -> bytes:
    data = write(scene.colour())
    return data[:4] + struct.pack("<I", len(data) - 8 + change) + data[8:]


_kind: Final = kinds_of("WebP", shows=still(scene.colour), out="WEBP RGB", within=LOSSY)

_RGBA: Final[dict[str, Any]] = {"shows": still(scene.colour_alpha), "out": "WEBP RGBA"}

KINDS: Final = (
    _kind("lossy", "VP8", lambda: write(scene.colour())),
    _kind("lossless", "VP8L", lambda: write(scene.colour(), lossless=True)),
    _kind("lossy alpha", "VP8 and ALPH", lambda: write(scene.colour_alpha()), **_RGBA),
    _kind("lossless alpha", "VP8L with alpha", lambda: write(scene.colour_alpha(), **_LOSSLESS), **_RGBA),
    _kind(
        "lossless, 16 colours",
        "VP8L with a palette",
        lambda: write(scene.indexed(16), lossless=True),
        shows=lambda: [scene.indexed(16)],
    ),
    _kind(
        "odd sides",
        "159 x 119 pixels",
        lambda: write(scene.colour(159, 119)),
        within_vips=(4.0, 16.0),
        shows=lambda: [scene.colour(159, 119)],
    ),
    *(_kind(f"orientation {value}", "EXIF", given(_oriented, value)) for value in (2, 5, 6, 8)),
    _kind(
        "orientation 6 with a prefix",
        "EXIF that begins as in a JPEG",
        lambda: with_metadata(exif.stored(scene.colour(), 6), exif_block=b"Exif\0\0" + exif.block(6)),
    ),
    _kind(
        "Display P3",
        "profile of phones",
        lambda: with_metadata(icc.in_display_p3(scene.colour()), profile=icc.display_p3()),
    ),
    _kind(
        "odd profile, alpha",
        "a profile whose channels have each other's colours",
        lambda: with_metadata(
            np.concatenate([icc.in_turned(scene.colour_alpha()[..., :3]), scene.opacity()], axis=-1),
            profile=icc.turned(),
            **_LOSSLESS,
        ),
        **_RGBA,
    ),
    _kind(
        "broken profile",
        "half a profile",
        lambda: with_metadata(scene.colour(), profile=icc.display_p3()[:150]),
    ),
    _kind(
        "animated",
        "frames laid over, cleared, put in place; lossless",
        lambda: write_animation(_moving(), _SIZE, plays=2, **_LOSSLESS),
        shows=_shows_moving,
        milliseconds=(100, 200, 300, 40),
        plays=2,
        out="WEBP RGBA",
    ),
    _kind(
        "animated lossy",
        "",
        lambda: write_animation([Frame(scene.colour()), Frame(scene.other())], _SIZE),
        shows=lambda: [scene.colour(), scene.other()],
        milliseconds=(100, 100),
    ),
    _kind(
        "animated, late",
        "a first frame that does not cover the canvas, and a background",
        lambda: write_animation(
            [Frame(_part(), 30, 20), Frame(_part(), 90, 60)], _SIZE, background=b"\0\0\xff\xff", **_LOSSLESS
        ),
        shows=_late,
        milliseconds=(100, 100),
        out="WEBP RGBA",
    ),
    _kind(
        "animated, zero delays",
        "frames of 0 ms",
        lambda: write_animation(
            [Frame(scene.colour(), milliseconds=0), Frame(scene.other(), milliseconds=0)], _SIZE, plays=1
        ),
        shows=lambda: [scene.colour(), scene.other()],
        milliseconds=(0, 0),
        plays=1,
    ),
    _kind("animation of one frame", "", lambda: write_animation([Frame(scene.colour())], _SIZE)),
    _kind(
        "trailing garbage", "something else behind the end", lambda: write(scene.colour()) + b"garbage!" * 99
    ),
    _kind(
        "unknown chunks",
        "chunks that nobody knows",
        lambda: riff(_extended(0, *_SIZE), _pixels(write(scene.colour())), chunk(b"huh?", b"!" * 99)),
    ),
    _kind(
        "1 x 1",
        "a single pixel",
        lambda: write(scene.colour()[60:61, 30:31]),
        shows=lambda: [scene.colour()[60:61, 30:31]],
    ),
    _kind(
        "16383 x 1",
        "as long as a WebP can be",
        lambda: write(scene.colour(16_383, 1), lossless=True),
        shows=lambda: [scene.colour(16_383, 1)],
    ),
    _kind(
        "truncated",
        "the second half is missing",
        lambda: write(scene.colour())[: len(write(scene.colour())) // 2],
        refused="CorruptSource",
    ),
    _kind(
        "truncated lossless",
        "the second half is missing",
        lambda: write(scene.colour(), lossless=True)[:-500],
        refused="CorruptSource",
    ),
    _kind(
        "wrong length",
        "the file says that it is longer",
        lambda: _wrong_length(1000),
        refused="CorruptSource",
    ),
)
