"""JPEG (ITU-T T.81, JFIF, Adobe's supplement)."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from . import exif, icc, scene
from .kind import LOSSY, Pixels, given, kinds_of, still

_FILES: Final = Path(__file__).parent / "files"
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_SOF0, _SOF1, _SOS = 0xC0, 0xC1, 0xDA
_MOST_PROFILE_BYTES: Final = 65_000


def write(pixels: Pixels, **options: Any) -> bytes:
    """The picture, grey or RGB, as Pillow writes it."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return _save(image, **options)


def _save(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **({"quality": 95} | options))
    return file.getvalue()


def write_inks(stored: Pixels, transform: int | None, **options: Any) -> bytes:
    """Four components as they are given; `transform` of Adobe's marker, None: no such marker."""
    data = _save(Image.fromarray(255 - stored, "CMYK"), **options)  # Pillow inverts them
    if transform is None:
        return without(data, _APP14)
    position = data.index(b"Adobe") + 11
    return data[:position] + bytes([transform]) + data[position + 1 :]


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, whole segment) up to the first scan; that is the last, with all that follows it."""
    position = 2
    while True:
        marker = data[position + 1]
        if marker == _SOS:
            yield marker, data[position:]
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position:end]
        position = end


def without(data: bytes, unwanted: int) -> bytes:
    """The file without its segments of this marker."""
    return data[:2] + b"".join(segment for marker, segment in segments(data) if marker != unwanted)


def segment(marker: int, content: bytes) -> bytes:
    """One segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def insert(data: bytes, *added: bytes) -> bytes:
    """The file with these bytes behind its first marker."""
    return data[:2] + b"".join(added) + data[2:]


def profile_segments(profile: bytes) -> list[bytes]:
    """The APP2 segments that carry a profile (ICC.1, Annex B.4)."""
    pieces = [profile[at : at + _MOST_PROFILE_BYTES] for at in range(0, len(profile), _MOST_PROFILE_BYTES)]
    return [
        segment(_APP2, b"ICC_PROFILE\0" + bytes([index + 1, len(pieces)]) + piece)
        for index, piece in enumerate(pieces)
    ]


def with_profile(data: bytes, profile: bytes) -> bytes:
    """The file with a profile."""
    return insert(data, *profile_segments(profile))


def to_inks(pixels: Pixels) -> Pixels:
    """Cyan, magenta, yellow, black, 0 (none)..255: the plain inversion, as much black as can be."""
    rgb = pixels.astype(float)
    light = rgb.max(axis=-1, keepdims=True)
    colours = 255 - rgb * 255 / np.maximum(light, 1)
    inks: Pixels = np.rint(np.concatenate([colours, 255 - light], axis=-1)).astype(np.uint8)
    return inks


def _oriented(orientation: int, *, big_endian: bool = False) -> bytes:
    data = write(exif.stored(scene.colour(), orientation))
    return insert(data, segment(_APP1, b"Exif\0\0" + exif.block(orientation, big_endian=big_endian)))


def _component_names(data: bytes, names: bytes) -> bytes:
    """The file with other names of components."""
    parts = []
    for marker, part in segments(data):
        changed = bytearray(part)
        if marker == _SOF0:
            changed[10:19:3] = names
        elif marker == _SOS:
            changed[5:11:2] = names
        parts.append(bytes(changed))
    return data[:2] + b"".join(parts)


def _ycck() -> bytes:
    ink = to_inks(scene.colour())
    luma = np.asarray(Image.fromarray(ink[..., :3]).convert("YCbCr"))
    return write_inks(np.concatenate([luma, 255 - ink[..., 3:]], axis=-1), 2)


def _twelve_bits() -> bytes:
    parts = []
    for marker, part in segments(write(scene.grey())):
        # The same coefficients, as of 12-bit samples: a flat, but valid picture.
        parts.append(bytes([0xFF, _SOF1, *part[2:4], 12, *part[5:]]) if marker == _SOF0 else part)
    return b"\xff\xd8" + b"".join(parts)


def _lossless_kind() -> bytes:
    """What a reader finds of a JPEG-LS (ITU-T T.87) up to its pixels: a frame of its own kind."""
    frame = segment(0xF7, struct.pack(">BHHB3B", 8, scene.HEIGHT, scene.WIDTH, 1, 1, 0x11, 0))
    scan = segment(_SOS, bytes([1, 1, 0, 0, 0, 0]))
    return b"\xff\xd8" + frame + scan + bytes(64) + b"\xff\xd9"


def _late_height() -> bytes:
    """The header says 0 lines, and a segment behind the scan how many there are (T.81, B.2.5)."""
    data = bytearray(write(scene.colour())[:-2])
    at = data.index(bytes([0xFF, _SOF0])) + 5
    height = data[at : at + 2]
    data[at : at + 2] = bytes(2)
    return bytes(data) + segment(0xDC, bytes(height)) + b"\xff\xd9"


def _with_thumbnail() -> bytes:
    """An EXIF block that holds a JPEG of something else, as those of cameras do."""
    inner = write(scene.other(40, 30), progressive=True)
    start = b"II*\0" + struct.pack("<IHI", 8, 0, 14)
    entries = ((0x0103, 3, 1, 6), (0x0201, 4, 1, 14 + 2 + 36 + 4), (0x0202, 4, 1, len(inner)))
    table = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return insert(write(scene.colour()), segment(_APP1, b"Exif\0\0" + start + table + inner))


def _fill_bytes() -> bytes:
    parts = [b"\xff\xff\xff" + part for _marker, part in segments(write(scene.colour()))]
    return b"\xff\xd8" + b"".join(parts)


def _cut(share: float, **options: Any) -> bytes:
    data = write(scene.colour(), **options)
    return data[: int(len(data) * share)]


_kind: Final = kinds_of("JPEG", shows=still(scene.colour), out="JPEG RGB", within=LOSSY)

_TURNS: Final = (
    "as it is",
    "mirrored",
    "upside down",
    "mirrored, upside down",
    "transposed",
    "turned right",
    "transversed",
    "turned left",
)
NO_PROFILE: Final = (
    "Inks without a profile are turned into light by plain multiplication, as browsers do;"
    " libvips assumes a printing profile of its own."
)
_GREY: Final[dict[str, Any]] = {"shows": still(scene.grey), "out": "JPEG L"}

KINDS: Final = (
    _kind("baseline 4:2:0", "colour at half resolution", given(write, scene.colour(), subsampling="4:2:0")),
    _kind(
        "baseline 4:2:2",
        "colour at half width",
        given(write, scene.colour(), subsampling="4:2:2"),
        within=(4.0, 16.0),
    ),
    _kind("baseline 4:4:4", "colour at full resolution", given(write, scene.colour(), subsampling="4:4:4")),
    _kind("progressive", "several scans", given(write, scene.colour(), progressive=True)),
    _kind(
        "progressive 4:4:4",
        "several scans, colour at full resolution",
        given(write, scene.colour(), progressive=True, subsampling="4:4:4"),
    ),
    _kind("optimized", "Huffman tables of its own", given(write, scene.colour(), optimize=True)),
    _kind("arithmetic", "arithmetic coding", (_FILES / "arithmetic.jpg").read_bytes),
    _kind(
        "progressive arithmetic",
        "the same, several scans",
        (_FILES / "arithmetic-progressive.jpg").read_bytes,
    ),
    _kind("not interleaved", "a scan for each component", (_FILES / "not-interleaved.jpg").read_bytes),
    _kind(
        "4:1:1",
        "colour at a quarter of the width",
        (_FILES / "4-1-1.jpg").read_bytes,
        within=(8.0, 30.0),
        within_vips=(8.0, 30.0),
        note="Decoded small, colour edges are a little softer.",
    ),
    _kind("4:4:0", "colour at half height", (_FILES / "4-4-0.jpg").read_bytes),
    _kind(
        "restart markers", "one after each row of blocks", given(write, scene.colour(), restart_marker_rows=1)
    ),
    _kind("low quality", "coarse quantization", given(write, scene.colour(), quality=20), within=(8.0, 30.0)),
    _kind(
        "odd sides",
        "159 x 119 pixels, 4:2:0",
        given(write, scene.colour(159, 119)),
        within=(4.0, 16.0),
        within_vips=(4.0, 16.0),
        shows=lambda: [scene.colour(159, 119)],
    ),
    _kind("grey", "one component", given(write, scene.grey()), **_GREY),
    _kind(
        "grey progressive",
        "one component, several scans",
        given(write, scene.grey(), progressive=True),
        **_GREY,
    ),
    _kind("RGB", "Adobe's marker: not YCbCr", given(write, scene.colour(), keep_rgb=True)),
    _kind(
        "RGB by names",
        "components called R, G, B, and no marker",
        lambda: _component_names(without(write(scene.colour(), keep_rgb=True), _APP14), b"RGB"),
    ),
    _kind("YCbCr without JFIF", "no marker at all", lambda: without(write(scene.colour()), _APP0)),
    _kind(
        "CMYK",
        "Adobe's marker: inverted inks",
        lambda: write_inks(255 - to_inks(scene.colour()), 0),
        differs=NO_PROFILE,
    ),
    _kind(
        "CMYK progressive",
        "the same, several scans",
        lambda: write_inks(255 - to_inks(scene.colour()), 0, progressive=True),
        differs=NO_PROFILE,
    ),
    _kind(
        "CMYK not inverted",
        "no marker: inks as they are",
        lambda: write_inks(to_inks(scene.colour()), None),
        differs=NO_PROFILE,
    ),
    _kind("YCCK", "Adobe's marker: inverted inks as YCbCr and black", _ycck, differs=NO_PROFILE),
    _kind(
        "CMYK with a profile",
        "a printing profile of 0.9 MB in 15 segments",
        lambda: with_profile(write_inks(255 - icc.in_cmyk(scene.colour()), 0), icc.cmyk()),
        within=(14.0, 50.0),
        note="What inks cannot show is lost in the file.",
    ),
    *(
        _kind(f"orientation {value}", f"EXIF: stored {_TURNS[value - 1]}", given(_oriented, value))
        for value in range(1, 9)
    ),
    _kind("orientation 6 big-endian", "EXIF in the other byte order", given(_oriented, 6, big_endian=True)),
    _kind(
        "orientation 9",
        "EXIF with a value that means nothing",
        lambda: insert(write(scene.colour()), segment(_APP1, b"Exif\0\0" + exif.block(9))),
    ),
    _kind(
        "broken EXIF",
        "an EXIF block of noise",
        lambda: insert(write(scene.colour()), segment(_APP1, b"Exif\0\0" + bytes(range(200)))),
    ),
    _kind("EXIF thumbnail", "a small JPEG of something else inside", _with_thumbnail),
    _kind("sRGB profile", "", lambda: with_profile(write(scene.colour()), icc.srgb())),
    _kind(
        "Display P3",
        "profile of phones",
        lambda: with_profile(write(icc.in_display_p3(scene.colour())), icc.display_p3()),
    ),
    _kind(
        "Adobe RGB",
        "profile of cameras",
        lambda: with_profile(write(icc.in_adobe_rgb(scene.colour())), icc.adobe_rgb()),
    ),
    _kind(
        "odd profile",
        "a profile whose channels have each other's colours",
        lambda: with_profile(write(icc.in_turned(scene.colour()), subsampling="4:4:4"), icc.turned()),
    ),
    _kind(
        "grey profile",
        "grey in proportion to light",
        lambda: with_profile(write(icc.in_linear_grey(scene.grey())), icc.linear_grey()),
        **_GREY,
    ),
    _kind(
        "profile of another kind",
        "a grey picture with a profile for RGB",
        lambda: with_profile(write(scene.grey()), icc.turned()),
        **_GREY,
    ),
    _kind(
        "broken profile",
        "half a profile",
        lambda: with_profile(write(scene.colour()), icc.display_p3()[:200]),
    ),
    _kind(
        "profile in disorder",
        "segments of a profile, the last one missing",
        lambda: insert(write(scene.colour()), *profile_segments(icc.cmyk())[:-1]),
    ),
    _kind("fill bytes", "FF bytes before each marker", _fill_bytes),
    _kind(
        "trailing garbage",
        "something else behind the end",
        lambda: write(scene.colour()) + b"\0garbage\xff" * 500,
    ),
    _kind(
        "two pictures",
        "a second JPEG behind the first (MPO)",
        lambda: write(scene.colour()) + write(scene.other()),
    ),
    _kind("without its end", "the end marker is missing", lambda: write(scene.colour())[:-2]),
    _kind(
        "1 x 1",
        "a single pixel",
        given(write, scene.colour()[60:61, 30:31]),
        shows=lambda: [scene.colour()[60:61, 30:31]],
    ),
    _kind("20000 x 1", "", given(write, scene.colour(20_000, 1)), shows=lambda: [scene.colour(20_000, 1)]),
    _kind("1 x 20000", "", given(write, scene.colour(1, 20_000)), shows=lambda: [scene.colour(1, 20_000)]),
    _kind("truncated", "the second half is missing", given(_cut, 0.5), refused="CorruptSource"),
    _kind(
        "truncated progressive",
        "the last scans are missing",
        given(_cut, 0.7, progressive=True),
        refused="CorruptSource",
    ),
    _kind(
        "12 bits",
        "samples of 12 bits",
        _twelve_bits,
        refused="UnsupportedFormat",
        note="libjpeg of Pillow's wheels reads 8 bits a sample.",
    ),
    _kind("JPEG-LS", "another coding with the same marker", _lossless_kind, refused="UnsupportedFormat"),
    _kind("height behind the pixels", "DNL", _late_height, refused="UnsupportedFormat"),
)
