"""PNG and APNG (Portable Network Graphics, third edition)."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from . import exif, icc, scene
from .kind import Pixels, given, kinds_of, still

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
_COLOUR_TYPES: Final = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}
# Start and step of each pass, across and down (section 8.2).
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_KEEP, _CLEAR, _RESTORE = 0, 1, 2
_SOURCE, _OVER = 0, 1


def chunk(name: bytes, content: bytes = b"") -> bytes:
    """One chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(samples: np.ndarray, depth: int) -> bytes:
    """The samples (rows, columns, channels) packed, a filter byte before each row; filters take turns."""
    height, width, channels = samples.shape
    if not height or not width:
        return b""
    if depth == 16:
        packed = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        packed = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = (samples.reshape(height, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)
    lines, above = [], np.zeros(packed.shape[1], np.uint8)
    for index, line in enumerate(packed):
        left = np.concatenate([np.zeros(step, np.uint8), line])[: len(line)]
        # None, Sub and Up: enough for a decoder to show that it knows where it is.
        lines.append(bytes([index % 3]) + (line - (left, above)[index % 3 - 1] * (index % 3 > 0)).tobytes())
        above = line
    return b"".join(lines)


def write(
    samples: np.ndarray,
    depth: int = 8,
    colour_type: int | None = None,
    *,
    interlaced: bool = False,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
    pieces: int = 1,
) -> bytes:
    """A PNG of these samples; `before` and `after` are chunks around its pixels, which come in `pieces`."""
    height, width, channels = samples.shape
    if colour_type is None:
        colour_type = _COLOUR_TYPES[channels]
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    passes = [samples[y::down, x::across] for x, y, across, down in _ADAM7] if interlaced else [samples]
    data = zlib.compress(b"".join(rows(part, depth) for part in passes))
    size = -(-len(data) // pieces)
    parts = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join((SIGNATURE, chunk(b"IHDR", head), *before, *parts, *after, chunk(b"IEND")))


def write_palette(indices: Pixels, table: Pixels, depth: int, alpha: bytes = b"", **options: Any) -> bytes:
    """A PNG with a palette."""
    before = [chunk(b"PLTE", table.tobytes()), *([chunk(b"tRNS", alpha)] if alpha else [])]
    return write(indices[..., None], depth, PALETTE, before=before, **options)


def profile_chunk(profile: bytes) -> bytes:
    """A chunk iCCP."""
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an APNG: a picture at a place, how it is laid down, and what becomes of it."""

    samples: Pixels
    x: int = 0
    y: int = 0
    milliseconds: int = 100
    disposal: int = _KEEP
    blend: int = _SOURCE


def write_animation(
    frames: Sequence[Frame], size: tuple[int, int], plays: int = 0, default: Pixels | None = None
) -> bytes:
    """An APNG; `default` is a picture that is no part of the animation."""
    channels = frames[0].samples.shape[2]
    number = 0
    parts = [
        SIGNATURE,
        chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, _COLOUR_TYPES[channels], 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", len(frames), plays)),
    ]
    if default is not None:
        parts.append(chunk(b"IDAT", zlib.compress(rows(default, 8))))
    for index, frame in enumerate(frames):
        height, width, _ = frame.samples.shape
        control = struct.pack(
            ">IIIIIHHBB",
            number,
            width,
            height,
            frame.x,
            frame.y,
            frame.milliseconds,
            1000,
            frame.disposal,
            frame.blend,
        )
        parts.append(chunk(b"fcTL", control))
        number += 1
        data = zlib.compress(rows(frame.samples, 8))
        if index == 0 and default is None:
            parts.append(chunk(b"IDAT", data))
        else:
            parts.append(chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
    return b"".join((*parts, chunk(b"IEND")))


# ---- what is in the files ------------------------------------------------------------------

_SIZE: Final = (scene.WIDTH, scene.HEIGHT)
_PATCH: Final = (30, 20, 60, 50)  # x, y, width, height


def patch() -> Pixels:
    """A part of another picture, RGB."""
    x, y, width, height = _PATCH
    return scene.other()[y : y + height, x : x + width]


def laid(pixels: Pixels, x: int, y: int, over: Pixels) -> Pixels:
    """The picture with another one on it; alpha of the other is 0 or 255."""
    result = over.copy()
    height, width = pixels.shape[:2]
    part = result[y : y + height, x : x + width]
    visible = pixels[..., 3:] > 0 if pixels.shape[2] in (2, 4) else np.ones((height, width, 1), bool)
    part[:] = np.where(visible, pixels, part)
    return result


def _opaque(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=-1)


def cut_out() -> Pixels:
    """The part with a hole in it, RGBA."""
    part = _opaque(patch())
    part[15:35, 20:40] = 0
    return part


def _sixteen(pixels: Pixels) -> np.ndarray:
    """16-bit samples whose low bytes are not their high ones."""
    return np.clip(pixels.astype(np.uint32) * 257 + 60, 0, 65_535).astype(np.uint16)


def _key(samples: np.ndarray, place: tuple[int, int] = (60, 75)) -> tuple[np.ndarray, bytes, np.ndarray]:
    """(colour, tRNS content, where it is) of the pixel in the middle of the yellow bar."""
    value = samples[place]
    return value, value.astype(">u2").tobytes(), np.all(samples == value, axis=-1, keepdims=True)


def _keyed(samples: np.ndarray, depth: int, **options: Any) -> bytes:
    return write(samples, depth, before=[chunk(b"tRNS", _key(samples)[1])], **options)


def _shows_keyed(samples: np.ndarray, seen: Pixels) -> list[Pixels]:
    alpha = np.where(_key(samples)[2], 0, 255).astype(np.uint8)
    return [np.concatenate([seen, alpha], axis=-1)]


def _few_levels(bits: int) -> np.ndarray:
    return scene.levels(scene.grey() / 255, (1 << bits) - 1)


def _grey(bits: int) -> bytes:
    return write(_few_levels(bits), bits)


def _shows_grey(bits: int) -> list[Pixels]:
    return [scene.posterized(scene.grey(), bits)]


def _grey_keyed(bits: int) -> bytes:
    return _keyed(_few_levels(bits), bits)


def _shows_grey_keyed(bits: int) -> list[Pixels]:
    return _shows_keyed(_few_levels(bits), *_shows_grey(bits))


def _palette(bits: int) -> bytes:
    return write_palette(*scene.palette(1 << bits), bits)


def _shows_palette(bits: int) -> list[Pixels]:
    return [scene.indexed(1 << bits)]


def _shows_first_clear() -> list[Pixels]:
    """All but the first colour of 16."""
    alpha = np.where(scene.palette(16)[0] == 0, 0, 255).astype(np.uint8)
    return [np.concatenate([scene.indexed(16), alpha[..., None]], axis=-1)]


def _oriented(value: int) -> bytes:
    return write(exif.stored(scene.colour(), value), before=[chunk(b"eXIf", exif.block(value))])


def _fading(colours: int) -> bytes:
    return bytes(255 - min(255, index * 255 // colours) for index in range(colours))


def _faded(colours: int) -> Pixels:
    indices, table = scene.palette(colours)
    alpha = np.frombuffer(_fading(colours), np.uint8)
    return np.concatenate([table[indices], alpha[indices][..., None]], axis=-1)


def _with_gamma(gamma: float, *others: bytes) -> bytes:
    """Samples that are light to the power of `gamma`, as gAMA says it (section 4.2)."""
    samples = scene.levels(scene.linear(scene.colour()) ** gamma, 65_535)
    return write(samples, 16, before=[chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000))), *others])


_SRGB_CHROMATICITIES: Final = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
_P3_CHROMATICITIES: Final = (31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)


def _chromaticities(values: Sequence[int]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


def _damaged(position_of: bytes, offset: int) -> bytes:
    data = bytearray(write(scene.colour(), before=[chunk(b"tEXt", b"Comment\0a word")], pieces=3))
    data[data.index(position_of) + offset] ^= 0x55
    return bytes(data)


def _profiled_palette() -> bytes:
    indices, table = scene.palette(64)
    before = [profile_chunk(icc.turned()), chunk(b"PLTE", icc.in_turned(table).tobytes())]
    return write(indices[..., None], 8, PALETTE, before=before)


def _without_end() -> bytes:
    return write(scene.colour())[:-12]


def _disposals() -> list[Frame]:
    """Something on top stays; another thing goes; a third leaves a hole; a fourth shows all that."""
    part = _opaque(patch())
    return [
        Frame(_opaque(scene.colour())),
        Frame(part, 0, 0, 200, _KEEP),
        Frame(part, 90, 60, 300, _RESTORE),
        Frame(part, 50, 40, 50, _CLEAR),
        Frame(cut_out(), 20, 10, 80, _KEEP, _OVER),
    ]


def _shows_disposals() -> list[Pixels]:
    part = _opaque(patch())
    first = _opaque(scene.colour())
    second = laid(part, 0, 0, first)
    third = laid(part, 90, 60, second)
    fourth = laid(part, 50, 40, second)
    holed = second.copy()
    holed[40:90, 50:110] = 0
    return [first, second, third, fourth, laid(cut_out(), 20, 10, holed)]


def _shows_small_frames() -> list[Pixels]:
    first = scene.colour()
    return [first, laid(patch(), 30, 20, first), laid(patch(), 100, 70, laid(patch(), 30, 20, first))]


_kind: Final = kinds_of("PNG", shows=still(scene.colour), out="PNG RGB")

_NO_APNG: Final = "libvips reads the first picture alone."
_SCALED: Final = "Scaled in proportion to light, as the file stores it."
_NO_GAMMA: Final = "libvips does not look at gAMA and cHRM."
_ANIMATED: Final[dict[str, Any]] = {"differs": _NO_APNG, "out": "PNG RGB"}
_GREY: Final[dict[str, Any]] = {"shows": still(scene.grey), "out": "PNG L"}

KINDS: Final = (
    *(
        _kind(
            f"grey {bits} bit",
            f"{1 << bits} levels",
            given(_grey, bits),
            shows=given(_shows_grey, bits),
            out="PNG L",
        )
        for bits in (1, 2, 4)
    ),
    _kind("grey 8 bit", "", lambda: write(scene.grey()), **_GREY),
    _kind("grey 16 bit", "", lambda: write(_sixteen(scene.grey()), 16), **_GREY),
    _kind(
        "grey alpha 8 bit", "", lambda: write(scene.grey_alpha()), shows=still(scene.grey_alpha), out="PNG LA"
    ),
    _kind(
        "grey alpha 16 bit",
        "",
        lambda: write(_sixteen(scene.grey_alpha()), 16),
        shows=still(scene.grey_alpha),
        out="PNG RGBA",
    ),
    _kind("RGB 8 bit", "", lambda: write(scene.colour())),
    _kind("RGB 16 bit", "", lambda: write(_sixteen(scene.colour()), 16)),
    _kind(
        "RGBA 8 bit", "", lambda: write(scene.colour_alpha()), shows=still(scene.colour_alpha), out="PNG RGBA"
    ),
    _kind(
        "RGBA 16 bit",
        "",
        lambda: write(_sixteen(scene.colour_alpha()), 16),
        shows=still(scene.colour_alpha),
        out="PNG RGBA",
    ),
    _kind(
        "RGBA opaque",
        "alpha that is 255 everywhere",
        lambda: write(_opaque(scene.colour())),
        note="An alpha channel that shows nothing is not written.",
    ),
    *(
        _kind(
            f"palette {bits} bit",
            f"{1 << bits} colours",
            given(_palette, bits),
            shows=given(_shows_palette, bits),
        )
        for bits in (1, 2, 4, 8)
    ),
    _kind(
        "palette tRNS",
        "alpha for each of 64 colours",
        lambda: write_palette(*scene.palette(64), 8, _fading(64)),
        shows=lambda: [_faded(64)],
        out="PNG RGBA",
    ),
    _kind(
        "palette long tRNS",
        "alpha for more colours than a palette can have",
        lambda: write_palette(*scene.palette(64), 8, _fading(64) + bytes(236)),
        shows=lambda: [_faded(64)],
        out="PNG RGBA",
        differs="What is too much is left out; libvips leaves out all of it.",
    ),
    _kind(
        "palette short tRNS",
        "alpha for one colour, the others are opaque",
        lambda: write_palette(*scene.palette(16), 4, b"\0"),
        shows=_shows_first_clear,
        out="PNG RGBA",
    ),
    *(
        _kind(
            f"grey {bits} bit tRNS",
            "one level is transparent",
            given(_grey_keyed, bits),
            shows=given(_shows_grey_keyed, bits),
            out="PNG LA",
        )
        for bits in (1, 2, 4)
    ),
    _kind(
        "grey tRNS",
        "one level is transparent",
        lambda: _keyed(scene.grey(), 8),
        shows=lambda: _shows_keyed(scene.grey(), scene.grey()),
        out="PNG LA",
    ),
    _kind(
        "grey 16 bit tRNS",
        "one level of 65,536 is transparent",
        lambda: _keyed(_sixteen(scene.grey()), 16),
        shows=lambda: _shows_keyed(_sixteen(scene.grey()), scene.grey()),
        out="PNG LA",
    ),
    _kind(
        "RGB tRNS",
        "one colour is transparent",
        lambda: _keyed(scene.colour(), 8),
        shows=lambda: _shows_keyed(scene.colour(), scene.colour()),
        out="PNG RGBA",
    ),
    _kind(
        "RGB 16 bit tRNS",
        "one colour of 2^48 is transparent",
        lambda: _keyed(_sixteen(scene.colour()), 16),
        shows=lambda: _shows_keyed(_sixteen(scene.colour()), scene.colour()),
        out="PNG RGBA",
    ),
    _kind(
        "interlaced grey 1 bit",
        "Adam7",
        lambda: write(_few_levels(1), 1, interlaced=True),
        shows=lambda: [scene.posterized(scene.grey(), 1)],
        out="PNG L",
    ),
    _kind("interlaced RGB", "Adam7", lambda: write(scene.colour(), interlaced=True)),
    _kind(
        "interlaced RGBA 16 bit",
        "Adam7",
        lambda: write(_sixteen(scene.colour_alpha()), 16, interlaced=True),
        shows=still(scene.colour_alpha),
        out="PNG RGBA",
    ),
    _kind(
        "interlaced palette",
        "Adam7",
        lambda: write_palette(*scene.palette(16), 4, interlaced=True),
        shows=lambda: [scene.indexed(16)],
    ),
    _kind(
        "gAMA of sRGB",
        "1/2.2",
        lambda: write(scene.colour(), before=[chunk(b"gAMA", struct.pack(">I", 45_455))]),
        within=(2.0, 8.0),
    ),
    _kind(
        "gAMA 1.0",
        "samples in proportion to light",
        given(_with_gamma, 1.0),
        differs=_NO_GAMMA,
        within=(4.0, 15.0),
        note=_SCALED,
    ),
    _kind("gAMA 1/1.8", "samples of old screens", given(_with_gamma, 1 / 1.8), differs=_NO_GAMMA),
    _kind(
        "gAMA and sRGB",
        "sRGB counts, gAMA does not",
        lambda: write(
            scene.colour(), before=[chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")]
        ),
    ),
    _kind(
        "cHRM of sRGB",
        "",
        lambda: write(
            scene.colour(),
            before=[chunk(b"gAMA", struct.pack(">I", 45_455)), _chromaticities(_SRGB_CHROMATICITIES)],
        ),
        within=(2.0, 8.0),
    ),
    _kind(
        "cHRM of Display P3",
        "primaries of Display P3, gamma 1/2.2",
        lambda: write(
            scene.levels(scene.linear(icc.in_display_p3(scene.colour())) ** (1 / 2.2)),
            before=[chunk(b"gAMA", struct.pack(">I", 45_455)), _chromaticities(_P3_CHROMATICITIES)],
        ),
        differs=_NO_GAMMA,
        within=(2.0, 8.0),
    ),
    _kind(
        "iCCP",
        "profile of phones",
        lambda: write(icc.in_display_p3(scene.colour()), before=[profile_chunk(icc.display_p3())]),
    ),
    _kind(
        "iCCP, alpha",
        "odd profile, RGBA",
        lambda: write(
            np.concatenate([icc.in_turned(scene.colour_alpha()[..., :3]), scene.opacity()], axis=-1),
            before=[profile_chunk(icc.turned())],
        ),
        shows=still(scene.colour_alpha),
        out="PNG RGBA",
    ),
    _kind("iCCP, palette", "odd profile, palette", _profiled_palette, shows=lambda: [scene.indexed(64)]),
    _kind(
        "iCCP, 16 bit",
        "profile of cameras",
        lambda: write(
            _sixteen(icc.in_adobe_rgb(scene.colour())), 16, before=[profile_chunk(icc.adobe_rgb())]
        ),
        within=(2.0, 8.0),
    ),
    _kind(
        "iCCP, grey",
        "grey in proportion to light, 16 bit",
        lambda: write(
            icc.in_linear_grey(scene.grey(), 65_535), 16, before=[profile_chunk(icc.linear_grey())]
        ),
        **_GREY,
        within=(2.5, 15.0),
        note=_SCALED,
    ),
    _kind(
        "iCCP of another kind",
        "RGB with a profile for grey",
        lambda: write(scene.colour(), before=[profile_chunk(icc.linear_grey())]),
    ),
    _kind(
        "broken iCCP",
        "a profile of noise",
        lambda: write(scene.colour(), before=[profile_chunk(b"noise" * 50)]),
    ),
    _kind(
        "cICP of Display P3",
        "code points instead of a profile",
        lambda: write(icc.in_display_p3(scene.colour()), before=[chunk(b"cICP", bytes([12, 13, 0, 1]))]),
        differs="libvips does not look at cICP.",
    ),
    *(
        _kind(f"orientation {value}", "eXIf before the pixels", given(_oriented, value))
        for value in (3, 6, 7)
    ),
    _kind(
        "orientation 8 at the end",
        "eXIf behind the pixels",
        lambda: write(exif.stored(scene.colour(), 8), after=[chunk(b"eXIf", exif.block(8))]),
        differs="libvips does not look behind the pixels.",
    ),
    _kind("many IDAT", "pixels in 40 chunks", lambda: write(scene.colour(), pieces=40)),
    _kind(
        "unknown chunks",
        "ancillary chunks that nobody knows",
        lambda: write(scene.colour(), before=[chunk(b"voId", b"?" * 100)], after=[chunk(b"noNe", b"")]),
    ),
    _kind(
        "bKGD",
        "a background that viewers ignore",
        lambda: write(scene.colour_alpha(), before=[chunk(b"bKGD", struct.pack(">HHH", 255, 0, 0))]),
        shows=still(scene.colour_alpha),
        out="PNG RGBA",
    ),
    _kind(
        "APNG",
        "frames smaller than the canvas",
        lambda: write_animation(
            [Frame(scene.colour()), Frame(patch(), 30, 20, 250), Frame(patch(), 100, 70, 40)], _SIZE
        ),
        shows=_shows_small_frames,
        milliseconds=(100, 250, 40),
        **_ANIMATED,
    ),
    _kind(
        "APNG disposals",
        "frames kept, cleared, restored; laid over",
        lambda: write_animation(_disposals(), _SIZE, plays=3),
        shows=_shows_disposals,
        milliseconds=(100, 200, 300, 50, 80),
        plays=3,
        differs=_NO_APNG,
        out="PNG RGBA",
    ),
    _kind(
        "APNG default image",
        "the picture for others is no frame",
        lambda: write_animation(
            [Frame(scene.colour()), Frame(scene.other())], _SIZE, default=np.zeros_like(scene.colour())
        ),
        shows=lambda: [scene.colour(), scene.other()],
        milliseconds=(100, 100),
        **_ANIMATED,
    ),
    _kind(
        "APNG zero delays",
        "frames of 0 ms",
        lambda: write_animation(
            [Frame(scene.colour(), milliseconds=0), Frame(scene.other(), milliseconds=0)], _SIZE, plays=1
        ),
        shows=lambda: [scene.colour(), scene.other()],
        milliseconds=(0, 0),
        plays=1,
        **_ANIMATED,
    ),
    _kind("APNG of one frame", "", lambda: write_animation([Frame(scene.colour())], _SIZE)),
    _kind("trailing garbage", "something else behind IEND", lambda: write(scene.colour()) + b"garbage" * 99),
    _kind("wrong checksum in text", "an ancillary chunk is damaged", given(_damaged, b"Comment", 10)),
    _kind("without its end", "IEND is missing", _without_end),
    _kind(
        "1 x 1",
        "a single pixel",
        lambda: write(scene.colour()[60:61, 30:31]),
        shows=lambda: [scene.colour()[60:61, 30:31]],
    ),
    _kind("20000 x 1", "", lambda: write(scene.colour(20_000, 1)), shows=lambda: [scene.colour(20_000, 1)]),
    _kind("1 x 20000", "", lambda: write(scene.colour(1, 20_000)), shows=lambda: [scene.colour(1, 20_000)]),
    _kind(
        "truncated",
        "the second half is missing",
        lambda: write(scene.colour(), pieces=9)[: len(write(scene.colour(), pieces=9)) // 2],
        refused="CorruptSource",
    ),
    _kind(
        "truncated interlaced",
        "the last passes are missing",
        lambda: write(scene.colour(), interlaced=True, pieces=9)[:-900],
        refused="CorruptSource",
    ),
    _kind(
        "damaged pixels",
        "a byte of the pixels is wrong",
        given(_damaged, b"IDAT", 700),
        refused="CorruptSource",
    ),
    _kind(
        "CgBI",
        "as Xcode packs it for devices",
        lambda: write(scene.colour()).replace(SIGNATURE, SIGNATURE + chunk(b"CgBI", bytes(4)), 1),
        refused="UnsupportedFormat",
        note="It has a PNG's signature, but other pixels.",
    ),
)
