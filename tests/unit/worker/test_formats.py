"""What the modules of each format read: profiles that a PNG describes, frames of a GIF, parts of a TIFF."""

import io
import mmap
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from thumbnails_contract.errors import SourceTooLarge, UnsupportedFormat
from thumbnails_contract.spec import Format
from thumbnails_worker.render import gif, png, tiff
from thumbnails_worker.render.profiles import described_profile
from thumbnails_worker.render.splice import splice

Encode = Callable[..., bytes]
Make = Callable[..., Any]
Close = Callable[..., bool]


def _facts(**what: Any) -> png.Facts:
    return png.Facts(1, 1, 8, what.pop("colour", png.RGB), interlaced=False, **what)


SRGB = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
P3 = (31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"gamma": 45_455},
        {"gamma": 0},
        {"gamma": 45_455, "chromaticities": SRGB},
        {"gamma": 100_000, "is_srgb": True},
        {"gamma": 100_000, "has_profile": True},
        {"code_points": bytes([1, 2, 0, 1])},  # a transfer that is not known
        {"gamma": 100_000, "code_points": bytes([1, 16, 0, 1])},  # cICP counts, and is not understood
    ],
)
def test_pixels_that_are_srgb_or_have_a_profile_need_none(what: dict[str, Any]) -> None:
    assert described_profile(_facts(**what)) is None


@pytest.mark.parametrize(
    ("what", "pixel", "expected"),
    [
        ({"gamma": 100_000}, (127, 127, 127), (187, 187, 187)),  # half of the light
        ({"gamma": 45_455, "chromaticities": P3}, (200, 100, 100), (214, 94, 97)),
        ({"code_points": bytes([12, 13, 0, 1])}, (200, 100, 100), (214, 94, 97)),
        ({"code_points": bytes([1, 8, 0, 1])}, (127, 127, 127), (187, 187, 187)),
        ({"code_points": bytes([12, 13, 0, 1]), "is_srgb": True}, (200, 100, 100), (214, 94, 97)),
        ({"gamma": 100_000, "chromaticities": (0,) * 8}, (127, 127, 127), (187, 187, 187)),
    ],
)
def test_a_described_profile_brings_pixels_to_srgb(
    what: dict[str, Any], pixel: tuple[int, ...], expected: tuple[int, ...], close: Close
) -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(described_profile(_facts(**what)) or b""))
    made = ImageCms.profileToProfile(Image.new("RGB", (1, 1), pixel), profile, ImageCms.createProfile("sRGB"))
    assert made is not None
    assert close(made.getpixel((0, 0)), expected, 3)


def test_a_described_profile_of_grey_is_one_of_grey() -> None:
    profile = ImageCms.ImageCmsProfile(
        io.BytesIO(described_profile(_facts(colour=png.GREY, gamma=100_000)) or b"")
    )
    assert profile.profile.xcolor_space.strip() == "GRAY"


@pytest.mark.parametrize(
    ("depth", "colour", "stated", "meant"),
    [
        (1, png.GREY, (1,), 255),
        (2, png.GREY, (2,), 170),
        (4, png.GREY, (3,), 51),
        (8, png.GREY, (0x1234,), 0x34),
        (16, png.GREY, (0x1234,), 0x1234),
        (8, png.RGB, (1, 2, 3), (1, 2, 3)),
        (16, png.RGB, (0x1234, 0x5678, 0x9ABC), (0x12, 0x56, 0x9A)),
        (8, png.PALETTE, (1,), None),
        (8, png.RGB, (1,), None),
    ],
)
def test_the_transparent_colour_of_a_png_is_in_the_pixels_own_levels(
    depth: int, colour: int, stated: tuple[int, ...], meant: object
) -> None:
    facts = png.Facts(
        1, 1, depth, colour, interlaced=False, transparent=struct.pack(f">{len(stated)}H", *stated)
    )
    assert png.transparency(facts) == meant


@pytest.mark.parametrize("interlaced", [False, True])
def test_rows_of_a_png_are_counted_in_all_passes(interlaced: bool, encode: Encode) -> None:
    facts = png.Facts(13, 7, 4, png.GREY, interlaced=interlaced)
    stored = sum(rows * size for rows, size in facts.row_sizes)
    # PNG, section 8.2: passes of 2x1, 2x1, 4x1, 3x2, 7x2, 6x4, 13x3 pixels
    assert stored == (2 + 2 + 3 + 2 * 3 + 2 * 5 + 4 * 4 + 3 * 8 if interlaced else 7 * 8)


def _gif(frames: list[bytes], size: tuple[int, int] = (4, 4), behind: bytes = b"") -> bytes:
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
    return b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + palette + b"".join(frames) + behind + b";"


def _frame(
    level: int, box: tuple[int, int, int, int], *, disposal: int = 0, transparent: int | None = None
) -> bytes:
    """One frame of one colour, as codes that are not compressed (each is followed by clear)."""
    left, top, width, height = box
    bits = "".join(f"{code:03b}"[::-1] for _ in range(width * height) for code in (4, level)) + "101"[::-1]
    packed = int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")
    control = struct.pack(
        "<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | (transparent is not None), 5, transparent or 0, 0
    )
    blocks = b"".join(
        bytes([len(packed[at : at + 255])]) + packed[at : at + 255] for at in range(0, len(packed), 255)
    )
    return control + struct.pack("<BHHHHBB", 0x2C, left, top, width, height, 0, 2) + blocks + b"\0"


def _states(data: bytes) -> list[Image.Image]:
    return [image.convert("RGBA") for image, _ms in gif.composite(data, gif.read_gif(data, 100))]


RED, GREEN, NOTHING = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 0, 0)
ALL, CORNER = (0, 0, 4, 4), (0, 0, 2, 2)


@pytest.mark.parametrize(
    ("frames", "corner", "rest"),
    [
        ([_frame(0, ALL), _frame(1, CORNER)], GREEN, RED),
        ([_frame(0, CORNER)], RED, NOTHING),  # the first does not cover the canvas
        ([_frame(0, CORNER), _frame(1, (2, 2, 2, 2))], RED, GREEN),
        ([_frame(0, ALL, disposal=2), _frame(1, CORNER)], GREEN, NOTHING),
        ([_frame(0, ALL), _frame(1, CORNER, disposal=2), _frame(0, (3, 3, 1, 1))], NOTHING, RED),
        ([_frame(0, ALL), _frame(1, CORNER, disposal=3), _frame(0, (3, 3, 1, 1))], RED, RED),
        ([_frame(0, ALL, disposal=3), _frame(1, CORNER)], GREEN, NOTHING),
        ([_frame(0, ALL), _frame(1, ALL, transparent=1)], RED, RED),
        ([_frame(0, ALL), _frame(1, (0, 0, 9, 2))], GREEN, RED),  # beyond the canvas
    ],
)
def test_frames_of_a_gif_are_put_together_as_in_browsers(
    frames: list[bytes], corner: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    state = _states(_gif(frames))[-1]
    assert state.size == (4, 4)
    assert (state.getpixel((0, 0)), state.getpixel((3, 3))) == (corner, rest)


def test_a_canvas_without_an_area_is_that_of_the_first_frame() -> None:
    assert gif.read_gif(_gif([_frame(0, (0, 0, 3, 2))], (0, 0)), 9).size == (3, 2)


def test_a_gif_of_tiny_blocks_is_refused() -> None:
    data = _gif([_frame(0, ALL)], behind=b"!\xfe" + b"\1x" * 5_000 + b"\0")
    assert len(gif.read_gif(data, 9, 10_000).frames) == 1
    with pytest.raises(SourceTooLarge, match="too many blocks"):
        gif.read_gif(data, 9, 1_000)


def test_a_part_of_a_tiff_is_a_tiff(encode: Encode) -> None:
    picture = Image.effect_noise((64, 64), 90)
    data = encode(picture, "TIFF", compression="tiff_lzw", tiffinfo={278: 16})
    directory = tiff.Directory.read(data)
    assert directory is not None
    layout = tiff.Layout.read(data, directory)
    assert (layout.piece_length, directory.pieces, layout.bits) == (16, 4, (8,))
    part = Image.open(io.BytesIO(tiff.cut(data, directory, [1, 2], {tiff.LENGTH: (32,)})))
    assert part.tobytes() == picture.crop((0, 16, 64, 48)).tobytes()
    with pytest.raises(ValueError, match="not there"):
        tiff.cut(data, directory, [4])


def _tiff(
    order: str, samples: list[list[float]], kind: str, tags: dict[int, tuple[int, ...]], *, planar: bool
) -> bytes:
    """A TIFF of 4 x 4 pixels of one colour: `samples` are the numbers of its channels."""
    letter = {"float": "f", "short": "H", "half": "e"}[kind]
    size = struct.calcsize(letter)
    pixel = [value for (value,) in samples]
    values = [value for value in pixel for _ in range(16)] if planar else pixel * 16
    pixels = struct.pack(f"{order}{len(values)}{letter}", *values)
    strips = len(samples) if planar else 1
    fields = {
        256: (4,),
        257: (4,),
        258: (size * 8,) * len(samples),
        259: (1,),
        262: (2,),
        273: tuple(8 + index * len(pixels) // strips for index in range(strips)),
        277: (len(samples),),
        278: (4,),
        279: (len(pixels) // strips,) * strips,
        284: (2 if planar else 1,),
        339: ({"float": 3, "short": 1, "half": 3}[kind],) * len(samples),
    } | tags
    table, behind = struct.pack(f"{order}H", len(fields)), b""
    start = 8 + len(pixels) + 2 + 12 * len(fields) + 4
    for tag, numbers in sorted(fields.items()):
        content = struct.pack(f"{order}{len(numbers)}L", *numbers)
        table += struct.pack(f"{order}HHL", tag, 4, len(numbers))
        table += content if len(numbers) == 1 else struct.pack(f"{order}L", start + len(behind))
        behind += content if len(numbers) > 1 else b""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8 + len(pixels))
    return head + pixels + table + bytes(4) + behind


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_channels_of_16_bits_and_of_floats(order: str, planar: bool, thumbnail: Make, close: Close) -> None:
    shorts = _tiff(order, [[65_535], [32_896], [0]], "short", {}, planar=planar)
    assert close(thumbnail(shorts, width=4).getpixel((2, 2)), (255, 128, 0), 1)
    # floats are amounts of light
    floats = _tiff(order, [[1.0], [0.214], [-1.0]], "float", {}, planar=planar)
    assert close(thumbnail(floats, width=4).getpixel((2, 2)), (255, 127, 0), 2)
    clear = _tiff(order, [[1.0], [1.0], [1.0], [0.5]], "float", {338: (2,)}, planar=planar)
    assert close(thumbnail(clear, width=4).getpixel((2, 2)), (255, 255, 255, 128), 1)


def test_of_two_sizes_of_a_tiff_the_first_counts(thumbnail: Make) -> None:
    data = bytearray(_tiff("<", [[65_535], [0], [0]], "short", {}, planar=False))
    start = int.from_bytes(data[4:8], "little") + 2
    # in place of the compression, whose default is none
    data[start + 3 * 12 : start + 4 * 12] = struct.pack("<HHLL", 256, 4, 1, 2)
    result = thumbnail(bytes(data), width=4)
    assert (result.size, result.getpixel((3, 3))) == ((4, 4), (255, 0, 0))


def test_a_kind_of_numbers_that_is_not_known_is_said(thumbnail: Make) -> None:
    with pytest.raises(UnsupportedFormat, match=r"3 sample\(s\) of 16 bits a pixel, floats"):
        thumbnail(_tiff("<", [[1.0], [1.0], [1.0]], "half", {}, planar=False))


def test_inks_are_inverted_where_adobe_says_so_alone(encode: Encode, thumbnail: Make, close: Close) -> None:
    data = encode(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG")
    assert close(thumbnail(data, width=20).getpixel((9, 9)), (255, 0, 0), 8)
    start = data.index(b"\xff\xee")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    plain = data[:start] + data[start + 2 + length :]
    assert close(thumbnail(plain, width=20).getpixel((9, 9)), (0, 0, 0), 8)


def test_sixteen_bits_of_grey_have_one_transparent_level(encode: Encode, thumbnail: Make) -> None:
    levels = [0x1234 if x < 20 else 0x1235 for _ in range(40) for x in range(40)]
    data = encode(Image.frombytes("I;16", (40, 40), struct.pack("<1600H", *levels)))
    content = struct.pack(">H", 0x1234)
    chunk = struct.pack(">I", 2) + b"tRNS" + content + struct.pack(">I", zlib.crc32(b"tRNS" + content))
    result = thumbnail(data[:33] + chunk + data[33:], Format.PNG, width=40).convert("RGBA")
    assert (result.getpixel((5, 20))[3], result.getpixel((35, 20))[3]) == (0, 255)


def test_a_mapped_file_can_be_closed_whatever_went_wrong(encode: Encode, tmp_path: Path) -> None:
    file = tmp_path / "part.tif"
    file.write_bytes(encode(Image.effect_noise((64, 64), 90), "TIFF", tiffinfo={278: 16}))
    with file.open("rb") as opened, pytest.raises(TypeError) as caught:  # noqa: SIM117 - closed before it is left
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            splice(data, [slice(0, 9), None])  # type: ignore[list-item]
    assert caught.type is TypeError


def test_strips_that_are_not_all_there_are_said(encode: Encode) -> None:
    data = encode(Image.effect_noise((64, 64), 90), "TIFF", tiffinfo={278: 16})
    directory = tiff.Directory.read(data)
    assert directory is not None
    beyond = replace(directory, known={tiff.STRIP_BYTES: (1 << 20,) * 4})
    with pytest.raises(ValueError, match="not all there"):
        tiff.cut(data, beyond)
