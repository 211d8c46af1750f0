"""TIFF (revision 6.0, Adobe's supplements, BigTIFF)."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pyvips
from PIL import Image

from . import exif, icc, jpeg, scene
from .kind import COARSE, LOSSY, Pixels, given, kinds_of, still

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_NONE, _PACKBITS, _DEFLATE, _OLD_DEFLATE = 1, 32_773, 8, 32_946
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ASSOCIATED, _UNASSOCIATED = 1, 2
_SHORT, _LONG, _LONG8, _RATIONAL, _UNDEFINED = 3, 4, 16, 5, 7
_BYTES: Final = {_SHORT: "H", _LONG: "I", _LONG8: "Q", _UNDEFINED: "B"}

Order = Literal["<", ">"]
Tags = Mapping[int, tuple[int, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Page:
    """One picture: samples as stored (rows, columns, channels) and how they are laid out."""

    samples: np.ndarray
    photometric: int
    bits: int = 8
    compression: int = _NONE
    rows_per_strip: int = 16
    tile: int | None = None
    planar: bool = False
    predictor: bool = False
    extra: int | None = None  # what the last channel is
    tags: Tags = field(default_factory=dict)


def _packbits(data: bytes) -> bytes:
    pieces = (data[at : at + 128] for at in range(0, len(data), 128))
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


def _block(samples: np.ndarray, page: Page, order: Order) -> bytes:
    """One strip or tile: the samples packed, predicted and compressed."""
    rows = samples.reshape(samples.shape[0], -1)
    if page.predictor:
        step = 1 if page.planar else page.samples.shape[2]
        rows = rows.copy()
        rows[:, step:] -= samples.reshape(samples.shape[0], -1)[:, :-step]
    if page.bits % 8:
        bits = (rows[..., None] >> np.arange(page.bits - 1, -1, -1)) & 1
        data = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    else:
        data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    match page.compression:
        case 32_773:
            return _packbits(data)
        case 8 | 32_946:
            return zlib.compress(data)
        case _:
            return data


def _blocks(page: Page, order: Order) -> list[bytes]:
    height, width, channels = page.samples.shape
    planes = [page.samples[..., [index]] for index in range(channels)] if page.planar else [page.samples]
    blocks = []
    for plane in planes:
        if page.tile is None:
            step = page.rows_per_strip
            blocks += [_block(plane[at : at + step], page, order) for at in range(0, height, step)]
            continue
        side = page.tile
        for y in range(0, height, side):
            for x in range(0, width, side):
                part = plane[y : y + side, x : x + side]
                missing = ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0))
                blocks.append(_block(np.pad(part, missing), page, order))
    return blocks


def write(*pages: Page, order: Order = "<", big: bool = False) -> bytes:
    """A TIFF of these pages, in the byte order `<` or `>`; `big`: a BigTIFF."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    pointer, count = ("Q", "Q") if big else ("I", "H")
    file = bytearray(start + (struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)))
    link = len(file) - (8 if big else 4)
    for page in pages:
        places, sizes = [], []
        for block in _blocks(page, order):
            places.append(len(file))
            sizes.append(len(block))
            file += block + bytes(len(block) % 2)
        height, width, channels = page.samples.shape
        kind = {"u": _UNSIGNED, "i": _SIGNED, "f": _FLOAT}[page.samples.dtype.kind]
        tags: dict[int, tuple[int, Sequence[int]]] = {
            256: (_LONG, [width]),
            257: (_LONG, [height]),
            258: (_SHORT, [page.bits] * channels),
            259: (_SHORT, [page.compression]),
            262: (_SHORT, [page.photometric]),
            277: (_SHORT, [channels]),
            284: (_SHORT, [2 if page.planar else 1]),
            339: (_SHORT, [kind] * channels),
        }
        if page.tile is None:
            tags |= {273: (_LONG, places), 278: (_LONG, [page.rows_per_strip]), 279: (_LONG, sizes)}
        else:
            tags |= {
                322: (_LONG, [page.tile]),
                323: (_LONG, [page.tile]),
                324: (_LONG, places),
                325: (_LONG, sizes),
            }
        if page.predictor:
            tags[317] = (_SHORT, [2])
        if page.extra is not None:
            tags[338] = (_SHORT, [page.extra])
        tags |= page.tags
        entries = b""
        for number, (type_, values) in sorted(tags.items()):
            if type_ == _RATIONAL:
                content = b"".join(struct.pack(f"{order}II", value, 1) for value in values)
            else:
                content = struct.pack(f"{order}{len(values)}{_BYTES[type_]}", *values)
            if len(content) > struct.calcsize(pointer):
                at = len(file)
                file += content + bytes(len(content) % 2)
                content = struct.pack(order + pointer, at)
            content = content.ljust(struct.calcsize(pointer), b"\0")
            entries += struct.pack(f"{order}HH{pointer}", number, type_, len(values)) + content
        struct.pack_into(order + pointer, file, link, len(file))
        file += struct.pack(order + count, len(tags)) + entries
        link = len(file)
        file += bytes(struct.calcsize(pointer))
    return bytes(file)


def by_vips(pixels: np.ndarray, interpretation: str = "srgb", **options: Any) -> bytes:
    """A TIFF by libvips, for compressions that are too long to write by hand."""
    height, width, channels = pixels.shape
    formats = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
    image = pyvips.Image.new_from_memory(
        pixels.tobytes(), width, height, channels, formats[str(pixels.dtype)]
    )
    data: bytes = image.copy(interpretation=interpretation).tiffsave_buffer(**options)
    return data


def by_pillow(pixels: Pixels, compression: str, **options: Any) -> bytes:
    """A TIFF by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        file, "TIFF", compression=compression, **options
    )
    return file.getvalue()


# ---- what is in the files ------------------------------------------------------------------


def _sixteen(pixels: Pixels) -> np.ndarray:
    return pixels.astype(np.uint16) * 257


def _signed() -> np.ndarray:
    return (scene.grey().astype(np.int16) - 128).astype(np.int8)


def _premultiplied() -> Pixels:
    picture = scene.colour_alpha()
    colours = np.rint(picture[..., :3].astype(float) * picture[..., 3:] / 255).astype(np.uint8)
    return np.concatenate([colours, picture[..., 3:]], axis=-1)


def _ycbcr() -> Pixels:
    return np.asarray(Image.fromarray(scene.colour()).convert("YCbCr"))


def _inks_alpha() -> Pixels:
    return scene.with_alpha(jpeg.to_inks(scene.colour()), scene.opacity())


def _inverted_grey_alpha() -> Pixels:
    pixels = scene.grey_alpha().copy()
    pixels[..., 0] = 255 - pixels[..., 0]
    return pixels


def _lab() -> Pixels:
    """CIE L*a*b* (D50), 8 bits; a and b are signed."""
    height, width, _ = scene.colour().shape
    image = pyvips.Image.new_from_memory(scene.colour().tobytes(), width, height, 3, "uchar")
    profile_connection = image.copy(interpretation="srgb").icc_import(input_profile="srgb", pcs="lab")
    values = np.frombuffer(profile_connection.write_to_memory(), np.float32).reshape(height, width, 3)
    scaled = np.rint(values * [255 / 100, 1, 1])
    return scaled.astype(np.int16).astype(np.uint8)


def _colour_map(table: Pixels) -> Tags:
    return {320: (_SHORT, [int(level) * 257 for level in table.T.ravel()])}


def _undefined(number: int, content: bytes) -> Tags:
    return {number: (_UNDEFINED, list(content))}


def _grey(bits: int) -> bytes:
    return write(Page(scene.levels(scene.grey() / 255, (1 << bits) - 1), BLACK_IS_ZERO, bits))


def _shows_grey(bits: int) -> list[Pixels]:
    return [scene.posterized(scene.grey(), bits)]


def _palette(bits: int) -> bytes:
    indices, table = scene.palette(1 << bits)
    return write(Page(indices[..., None], PALETTE, bits, tags=_colour_map(table)))


def _shows_palette(bits: int) -> list[Pixels]:
    return [scene.indexed(1 << bits)]


def _compressed_as(number: int) -> bytes:
    return write(Page(scene.colour(), RGB, tags={259: (_SHORT, [number])}))


def _fax(compression: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene.bilevel()[..., 0] > 0).save(file, "TIFF", compression=compression)
    return file.getvalue()


def _oriented(value: int, compression: int = _NONE) -> bytes:
    pixels = exif.stored(scene.colour(), value)
    return write(Page(pixels, RGB, compression=compression, tags={274: (_SHORT, [value])}))


def _colour(**options: Any) -> Page:
    return Page(scene.colour(), RGB, **options)


def _old_jpeg() -> bytes:
    """Compression 6, as scanners of the nineties wrote it: a whole JPEG file, and tags that point to it."""
    inner = jpeg.write(scene.colour())
    page = Page(
        np.zeros((1, 1, 3), np.uint8),
        YCBCR,
        compression=6,
        tags={
            256: (_LONG, [scene.WIDTH]),
            257: (_LONG, [scene.HEIGHT]),
            273: (_LONG, [8]),
            278: (_LONG, [scene.HEIGHT]),
            279: (_LONG, [len(inner)]),
            513: (_LONG, [8]),
            514: (_LONG, [len(inner)]),
            530: (_SHORT, [2, 2]),
        },
    )
    data = write(page)
    # The JPEG takes the place of the strip that `write` made: everything behind moves.
    file = bytearray(data[:8] + inner + bytes(len(inner) % 2))
    shift = len(file) - 8
    file += data[8:]
    struct.pack_into("<I", file, 4, int.from_bytes(data[4:8], "little") + shift)
    directory = int.from_bytes(file[4:8], "little")
    for index in range(int.from_bytes(file[directory : directory + 2], "little")):
        at = directory + 2 + 12 * index
        _tag, type_, count = struct.unpack_from("<HHI", file, at)
        if count * struct.calcsize(_BYTES.get(type_, "Q")) > 4:
            struct.pack_into("<I", file, at + 8, int.from_bytes(file[at + 8 : at + 12], "little") + shift)
    return bytes(file)


_kind: Final = kinds_of("TIFF", shows=still(scene.colour), out="JPEG RGB")

_GREY: Final[dict[str, Any]] = {"shows": still(scene.grey), "out": "JPEG L"}
_BILEVEL: Final[dict[str, Any]] = {"shows": still(scene.bilevel), "out": "JPEG L"}
_RGBA: Final[dict[str, Any]] = {"shows": still(scene.colour_alpha), "out": "PNG RGBA"}

KINDS: Final = (
    _kind("strips", "RGB, not compressed", lambda: write(_colour())),
    _kind("one strip", "RGB, not compressed", lambda: write(_colour(rows_per_strip=1 << 16))),
    _kind("big-endian", "the other byte order", lambda: write(_colour(), order=">")),
    _kind("BigTIFF", "64-bit offsets", lambda: write(_colour(), big=True)),
    _kind("BigTIFF, big-endian", "", lambda: write(_colour(), order=">", big=True)),
    _kind("tiles", "32 x 32 pixels each", lambda: write(_colour(tile=32))),
    _kind("planes", "a plane for each channel", lambda: write(_colour(planar=True))),
    _kind(
        "planes in tiles",
        "",
        lambda: write(_colour(planar=True, tile=32)),
        differs="libvips does not read these.",
    ),
    _kind("PackBits", "", lambda: write(_colour(compression=_PACKBITS))),
    _kind("deflate", "", lambda: write(_colour(compression=_DEFLATE))),
    _kind("deflate, old number", "", lambda: write(_colour(compression=_OLD_DEFLATE))),
    _kind(
        "deflate, predictor",
        "differences are stored",
        lambda: write(_colour(compression=_DEFLATE, predictor=True)),
    ),
    _kind("LZW", "", lambda: by_pillow(scene.colour(), "tiff_lzw")),
    _kind(
        "LZW in tiles, predictor",
        "",
        lambda: by_vips(
            scene.colour(),
            compression="lzw",
            tile=True,
            tile_width=64,
            tile_height=64,
            predictor="horizontal",
        ),
    ),
    _kind(
        "JPEG",
        "YCbCr strips of JPEG",
        lambda: by_vips(scene.colour(), compression="jpeg", Q=90),
        within=LOSSY,
    ),
    _kind(
        "JPEG in tiles",
        "",
        lambda: by_vips(scene.colour(), compression="jpeg", Q=90, tile=True, tile_width=64, tile_height=64),
        within=LOSSY,
    ),
    _kind(
        "JPEG, grey",
        "",
        lambda: by_vips(scene.grey(), "b-w", compression="jpeg", Q=90),
        **(_GREY | {"within": LOSSY}),
    ),
    _kind(
        "old JPEG",
        "compression 6 of the first specification",
        _old_jpeg,
        within=COARSE,
        differs="libvips' wheel does not read these.",
    ),
    _kind("CCITT group 3", "fax", lambda: _fax("group3"), **_BILEVEL),
    _kind("CCITT group 4", "fax", lambda: _fax("group4"), **_BILEVEL),
    _kind(
        "Zstandard",
        "compression 50000",
        lambda: by_pillow(scene.colour(), "zstd"),
        differs="libvips' wheel has no such codec.",
    ),
    *(
        _kind(
            f"grey {bits} bit",
            f"{1 << bits} levels",
            given(_grey, bits),
            shows=given(_shows_grey, bits),
            out="JPEG L",
        )
        for bits in (1, 2, 4)
    ),
    _kind("grey 8 bit", "", lambda: write(Page(scene.grey(), BLACK_IS_ZERO)), **_GREY),
    _kind("grey 12 bit", "4,096 levels", given(_grey, 12), **_GREY, differs="libvips does not read these."),
    _kind("grey 16 bit", "", lambda: write(Page(_sixteen(scene.grey()), BLACK_IS_ZERO, 16)), **_GREY),
    _kind(
        "grey 16 bit, big-endian",
        "",
        lambda: write(Page(_sixteen(scene.grey()), BLACK_IS_ZERO, 16), order=">"),
        **_GREY,
    ),
    _kind(
        "white is zero, 1 bit",
        "inverted",
        lambda: write(Page(1 - scene.bilevel() // 255, WHITE_IS_ZERO, 1)),
        **_BILEVEL,
    ),
    _kind(
        "white is zero, 8 bit", "inverted", lambda: write(Page(255 - scene.grey(), WHITE_IS_ZERO)), **_GREY
    ),
    _kind(
        "white is zero, 16 bit",
        "inverted",
        lambda: write(Page(65_535 - _sixteen(scene.grey()), WHITE_IS_ZERO, 16)),
        **_GREY,
    ),
    _kind(
        "grey 32 bit",
        "unsigned integers",
        lambda: write(Page(scene.grey().astype(np.uint32) * 16_843_009, BLACK_IS_ZERO, 32)),
        **_GREY,
        differs="libvips cuts off what is above 255.",
    ),
    _kind(
        "grey float",
        "0..1",
        lambda: write(Page((scene.grey() / 255).astype(np.float32), BLACK_IS_ZERO, 32)),
        **_GREY,
        differs="libvips takes floats for 0..255 always.",
    ),
    _kind(
        "grey float 0..255",
        "",
        lambda: write(Page(scene.grey().astype(np.float32), BLACK_IS_ZERO, 32)),
        **_GREY,
    ),
    _kind(
        "grey signed 8 bit",
        "-128..127: what is below zero is black",
        lambda: write(Page(_signed(), BLACK_IS_ZERO)),
        shows=lambda: [_signed().clip(0).astype(np.uint8)],
        out="JPEG L",
    ),
    _kind(
        "grey signed 16 bit",
        "0..32767: half of what is white",
        lambda: write(
            Page((scene.grey().astype(np.int32) * 32_767 // 255).astype(np.int16), BLACK_IS_ZERO, 16)
        ),
        shows=lambda: [scene.grey() // 2],
        out="JPEG L",
    ),
    _kind("RGB 16 bit", "", lambda: write(Page(_sixteen(scene.colour()), RGB, 16))),
    _kind("RGB 16 bit, big-endian", "", lambda: write(Page(_sixteen(scene.colour()), RGB, 16), order=">")),
    _kind("RGB 16 bit planes", "", lambda: write(Page(_sixteen(scene.colour()), RGB, 16, planar=True))),
    _kind(
        "RGB float",
        "0..1 in proportion to light, as renderers write it",
        lambda: write(Page(scene.linear(scene.colour()).astype(np.float32), RGB, 32)),
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
        "RGBA",
        "alpha beside colours",
        lambda: write(Page(scene.colour_alpha(), RGB, extra=_UNASSOCIATED)),
        **_RGBA,
    ),
    _kind(
        "RGBA associated",
        "colours multiplied by alpha",
        lambda: write(Page(_premultiplied(), RGB, extra=_ASSOCIATED)),
        **_RGBA,
        within=(1.5, 8.0),
    ),
    _kind(
        "RGBA 16 bit",
        "",
        lambda: write(Page(_sixteen(scene.colour_alpha()), RGB, 16, extra=_UNASSOCIATED)),
        **_RGBA,
    ),
    _kind(
        "RGBA 16 bit associated",
        "",
        lambda: write(Page(_sixteen(_premultiplied()), RGB, 16, extra=_ASSOCIATED)),
        **_RGBA,
        within=(1.5, 8.0),
    ),
    _kind(
        "RGBA planes",
        "",
        lambda: write(Page(scene.colour_alpha(), RGB, extra=_UNASSOCIATED, planar=True)),
        **_RGBA,
    ),
    _kind(
        "RGB and something",
        "a fourth channel that is not alpha",
        lambda: write(Page(scene.colour_alpha(), RGB, extra=0)),
        shows=lambda: [scene.colour_alpha()[..., :3]],
        differs="libvips takes any fourth channel for alpha.",
    ),
    _kind(
        "grey alpha",
        "",
        lambda: write(Page(scene.grey_alpha(), BLACK_IS_ZERO, extra=_UNASSOCIATED)),
        shows=still(scene.grey_alpha),
        out="PNG LA",
    ),
    _kind(
        "CMYK",
        "inks without a profile",
        lambda: write(Page(jpeg.to_inks(scene.colour()), SEPARATED)),
        within=(2.0, 8.0),
        differs=jpeg.NO_PROFILE,
    ),
    _kind(
        "CMYK with a profile",
        "",
        lambda: write(Page(icc.in_cmyk(scene.colour()), SEPARATED, tags=_undefined(34_675, icc.cmyk()))),
        within=(14.0, 50.0),
    ),
    _kind(
        "CMYK planes",
        "",
        lambda: write(Page(jpeg.to_inks(scene.colour()), SEPARATED, planar=True)),
        within=(2.0, 8.0),
        differs=jpeg.NO_PROFILE,
    ),
    _kind(
        "CMYK with alpha",
        "a fifth channel that is alpha",
        lambda: write(Page(_inks_alpha(), SEPARATED, extra=_UNASSOCIATED)),
        **_RGBA,
        within=(2.0, 8.0),
        differs=jpeg.NO_PROFILE,
    ),
    _kind(
        "CMYK with alpha, planes",
        "",
        lambda: write(Page(_inks_alpha(), SEPARATED, extra=_UNASSOCIATED, planar=True)),
        **_RGBA,
        within=(2.0, 8.0),
        differs=jpeg.NO_PROFILE,
    ),
    _kind(
        "white is zero, alpha",
        "inverted",
        lambda: write(Page(_inverted_grey_alpha(), WHITE_IS_ZERO, extra=_UNASSOCIATED)),
        shows=still(scene.grey_alpha),
        out="PNG RGBA",
    ),
    *(
        _kind(
            f"{name} in it",
            f"compression {number}",
            given(_compressed_as, number),
            refused="UnsupportedFormat",
            note="Pillow's wheels have no such codec for TIFF.",
        )
        for name, number in (("WebP", 50_001), ("JPEG 2000", 34_712), ("LERC", 34_887), ("PNG", 34_933))
    ),
    _kind(
        "YCbCr",
        "not compressed",
        lambda: write(
            Page(
                _ycbcr(), YCBCR, tags={530: (_SHORT, [1, 1]), 532: (_RATIONAL, [0, 255, 128, 255, 128, 255])}
            )
        ),
        within=LOSSY,
        differs="libvips shows the numbers as RGB.",
    ),
    _kind(
        "Lab",
        "CIE L*a*b*, 8 bit",
        lambda: write(Page(_lab(), LAB)),
        within=LOSSY,
        differs="libvips does not read these.",
    ),
    _kind(
        "Display P3",
        "profile of phones",
        lambda: write(
            Page(icc.in_display_p3(scene.colour()), RGB, tags=_undefined(34_675, icc.display_p3()))
        ),
    ),
    _kind(
        "broken profile",
        "half a profile",
        lambda: write(_colour(tags=_undefined(34_675, icc.display_p3()[:200]))),
    ),
    _kind("orientation 6, deflate", "", lambda: _oriented(6, _DEFLATE)),
    *(_kind(f"orientation {value}", "", given(_oriented, value)) for value in range(1, 9)),
    _kind(
        "pages",
        "the first of three is shown",
        lambda: write(_colour(), Page(scene.other(), RGB), Page(scene.grey(), BLACK_IS_ZERO)),
    ),
    _kind(
        "pyramid",
        "smaller copies as further pages",
        lambda: by_vips(
            scene.colour(), tile=True, pyramid=True, tile_width=32, tile_height=32, compression="deflate"
        ),
    ),
    _kind("trailing garbage", "something else behind the end", lambda: write(_colour()) + b"garbage" * 99),
    _kind(
        "1 x 1",
        "a single pixel",
        lambda: write(Page(scene.colour()[60:61, 30:31], RGB)),
        shows=lambda: [scene.colour()[60:61, 30:31]],
    ),
    _kind(
        "20000 x 1",
        "",
        lambda: write(Page(scene.colour(20_000, 1), RGB)),
        shows=lambda: [scene.colour(20_000, 1)],
    ),
    _kind(
        "1 x 20000",
        "",
        lambda: write(Page(scene.colour(1, 20_000), RGB)),
        shows=lambda: [scene.colour(1, 20_000)],
    ),
    _kind(
        "truncated",
        "the directory at the end is missing",
        lambda: write(_colour())[:30_000],
        refused="CorruptSource",
    ),
    _kind(
        "truncated strip",
        "the last strip ends early",
        lambda: by_pillow(scene.colour(), "tiff_lzw")[:-2_000],
        refused="CorruptSource",
    ),
)
