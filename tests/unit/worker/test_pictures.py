"""Thumbnails have the right pixels: formats, orientation, alpha, colour, depth, positions."""

import io
import struct
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageCms

from thumbnails_contract.spec import Fit, Format, Metadata, Output, Position
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Rendered, Wanted, render
from thumbnails_worker.render.resize import Resize, resize_with_pillow

Make = Callable[..., Any]
Encode = Callable[..., bytes]
Close = Callable[..., bool]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))


def colours(image: Image.Image) -> list[Any]:
    """The pixels in the middle of the four quarters."""
    rgb = image.convert("RGB")
    return [rgb.getpixel((int(x * rgb.width), int(y * rgb.height))) for x, y in CORNERS]


@pytest.mark.parametrize("output", [f for f in Format if f is not Format.AUTO])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_every_format_becomes_every_format(
    source: str, output: Format, quarters: Make, encode: Encode, render: Callable[..., Rendered], close: Close
) -> None:
    rendered = render(encode(quarters(), source), output, width=50, height=50)
    picture = rendered.pictures[0]
    image = Image.open(io.BytesIO(picture.data))
    assert image.format == output.value.upper()
    assert picture.content_type == f"image/{output.value}"
    assert (picture.width, picture.height, picture.frames) == (*image.size, 1) == (50, 50, 1)
    assert all(close(a, b, 30) for a, b in zip(colours(image), [RED, GREEN, BLUE, WHITE], strict=True))
    assert rendered.source.format == source.lower()
    assert (rendered.source.width, rendered.source.height) == (200, 120)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("GIF", "GIF"), ("TIFF", "JPEG")],
)
def test_auto_keeps_the_format_but_browsers_show_no_tiff(
    source: str, expected: str, quarters: Make, encode: Encode, thumbnail: Make
) -> None:
    assert thumbnail(encode(quarters(), source), Format.AUTO).format == expected


def test_auto_makes_a_transparent_tiff_a_png(encode: Encode, thumbnail: Make) -> None:
    image = Image.new("RGBA", (50, 50), (255, 0, 0, 100))
    assert thumbnail(encode(image, "TIFF"), Format.AUTO).format == "PNG"


def _turned(image: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """Stored so that with this orientation it is displayed as `image`."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (image.transpose(undo[orientation]) if orientation > 1 else image), exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_orientations_come_out_upright(
    source: str,
    orientation: int,
    quarters: Make,
    encode: Encode,
    render: Callable[..., Rendered],
    close: Close,
) -> None:
    stored, exif = _turned(quarters(), orientation)
    data = encode(stored, source, exif=exif)
    # One quarter off: a crop that is taken from the wrong end shows other colours.
    for position, expected in (
        (Position.LEFT, [RED, RED, BLUE, BLUE]),
        (Position.RIGHT, [GREEN, GREEN, WHITE, WHITE]),
    ):
        rendered = render(data, Format.PNG, width=40, height=60, position=position)
        image = Image.open(io.BytesIO(rendered.pictures[0].data))
        assert image.size == (40, 60)
        assert all(close(a, b, 40) for a, b in zip(colours(image), expected, strict=True))
        assert (rendered.source.width, rendered.source.height) == (200, 120)


@pytest.mark.parametrize("position", [p for p in Position if p is not Position.ATTENTION])
def test_cover_shows_the_part_that_the_position_names(
    position: Position, encode: Encode, thumbnail: Make, close: Close
) -> None:
    """A strip whose level rises from left to right says by its mean which part was kept."""
    strip = Image.linear_gradient("L").rotate(90).resize((300, 100))
    image = thumbnail(encode(strip), width=50, height=50, position=position).convert("L")
    levels = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    word = position.value
    expected = 42 if "left" in word else 212 if "right" in word else 127
    assert close((levels,), (expected,), 6)


def test_attention_finds_what_is_interesting(encode: Encode, thumbnail: Make) -> None:
    image = Image.new("RGB", (400, 100), "grey")
    image.paste("red", (330, 30, 370, 70))
    for x in range(335, 365, 6):
        image.paste("yellow", (x, 30, x + 3, 70))
    data = encode(image)
    reds = [
        max(
            pixel[0] - pixel[2]
            for pixel in thumbnail(data, width=50, height=50, position=position)
            .convert("RGB")
            .get_flattened_data()
        )
        for position in (Position.CENTER, Position.ATTENTION)
    ]
    assert reds[0] < 10
    assert reds[1] > 150


def test_attention_without_anything_interesting_is_the_middle(encode: Encode, thumbnail: Make) -> None:
    data = encode(Image.new("RGB", (300, 100), "grey"))
    assert thumbnail(data, width=50, height=50, position=Position.ATTENTION).getpixel((25, 25)) == (
        128,
        128,
        128,
    )


def test_transparency_is_kept_and_its_colour_does_not_bleed(
    resize: Resize, encode: Encode, thumbnail: Make, close: Close
) -> None:
    image = Image.new("RGBA", (200, 200), (0, 255, 0, 0))  # invisible green
    image.paste((255, 0, 0, 255), (0, 0, 103, 200))
    for format_ in (Format.PNG, Format.WEBP, Format.AVIF, Format.TIFF):
        result = thumbnail(encode(image), format_, width=50, height=50, resize=resize).convert("RGBA")
        assert result.getpixel((45, 25))[3] < 10
        for x in range(30):
            red, green, _blue, alpha = result.getpixel((x, 25))
            assert alpha < 30 or green <= 60, (format_, x)
            assert alpha < 30 or red >= 190


def test_jpeg_gets_white_behind_transparency_or_the_colour_that_was_chosen(
    encode: Encode, thumbnail: Make, close: Close
) -> None:
    data = encode(Image.new("RGBA", (50, 50), (0, 0, 0, 0)))
    assert close(thumbnail(data, Format.JPEG).getpixel((50, 50)), WHITE)
    assert close(thumbnail(data, Format.JPEG, width=50, background="#ff0000").getpixel((25, 25)), RED)
    assert close(thumbnail(data, Format.JPEG, width=50, background="transparent").getpixel((25, 25)), WHITE)
    assert close(
        thumbnail(data, Format.PNG, width=50, background="#ff0000").convert("RGB").getpixel((25, 25)), RED
    )


@pytest.mark.parametrize(
    ("format_", "background", "expected"),
    [
        (Format.PNG, None, (255, 255, 255, 0)),
        (Format.JPEG, None, (255, 255, 255, 255)),
        (Format.PNG, "#0000ff", (0, 0, 255, 255)),
        (Format.PNG, "#0000ff80", (0, 0, 255, 128)),
        (Format.JPEG, "#0000ff80", (127, 127, 255, 255)),
        (Format.PNG, "transparent", (255, 255, 255, 0)),
    ],
)
def test_the_background_of_contain(
    format_: Format,
    background: str | None,
    expected: Any,
    quarters: Make,
    encode: Encode,
    thumbnail: Make,
    close: Close,
) -> None:
    image = thumbnail(
        encode(quarters(), "JPEG"), format_, width=100, height=100, fit=Fit.CONTAIN, background=background
    ).convert("RGBA")
    assert close(image.getpixel((50, 5)), expected, 3) or (
        expected[3] == 0 and image.getpixel((50, 5))[3] == 0
    )
    assert image.getpixel((50, 50))[3] == 255


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (60, 60), 1), (255, 255, 255, 255)),
        (Image.new("L", (60, 60), 77), (77, 77, 77, 255)),
        (Image.new("LA", (60, 60), (77, 128)), (77, 77, 77, 128)),
        (Image.new("RGBA", (60, 60), (10, 20, 30, 128)), (10, 20, 30, 128)),
        (Image.new("I;16", (60, 60), 77 * 257), (77, 77, 77, 255)),
        (Image.new("RGB", (60, 60), (10, 20, 30)).quantize(4), (10, 20, 30, 255)),
    ],
    ids=["1", "L", "LA", "RGBA", "I;16", "P"],
)
def test_every_mode_of_png(
    image: Image.Image, expected: Any, encode: Encode, thumbnail: Make, close: Close
) -> None:
    assert close(thumbnail(encode(image), width=30).convert("RGBA").getpixel((15, 15)), expected, 2)


def test_transparent_entries_of_palettes_and_keys(encode: Encode, thumbnail: Make) -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (20, 0, 40, 40))
    for source in ("PNG", "GIF"):
        result = thumbnail(encode(image, source, transparency=0), width=20).convert("RGBA")
        assert result.getpixel((4, 10))[3] == 0
        assert result.getpixel((16, 10)) == (0, 255, 0, 255)
    keyed = Image.new("RGB", (40, 40), (1, 2, 3))
    assert thumbnail(encode(keyed, transparency=(1, 2, 3)), width=20).convert("RGBA").getpixel((9, 9))[3] == 0
    grey = Image.new("L", (40, 40), 9)
    assert thumbnail(encode(grey, transparency=9), width=20).convert("RGBA").getpixel((9, 9))[3] == 0


@pytest.mark.parametrize("source", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut(source: str, encode: Encode, thumbnail: Make) -> None:
    ramp = Image.frombytes(
        "I;16", (256, 8), struct.pack("<2048H", *(x * 257 for _ in range(8) for x in range(256)))
    )
    result = thumbnail(encode(ramp, source), width=256, height=8)
    assert result.mode == "L"
    assert [result.getpixel((x, 4)) for x in (0, 64, 128, 255)] == [0, 64, 128, 255]


def test_floats_and_integers_of_tiff(encode: Encode, thumbnail: Make, close: Close) -> None:
    assert close(
        (thumbnail(encode(Image.new("F", (40, 40), 0.5), "TIFF"), width=20).convert("L").getpixel((9, 9)),),
        (127,),
        2,
    )
    image = Image.new("I", (40, 40), 2**30)
    image.paste(2**29, (0, 0, 20, 40))
    assert close((thumbnail(encode(image, "TIFF"), width=20).convert("L").getpixel((3, 9)),), (128,), 12)


@pytest.mark.parametrize("format_", [Format.JPEG, Format.PNG])
def test_grey_stays_grey(format_: Format, encode: Encode, thumbnail: Make) -> None:
    assert thumbnail(encode(Image.new("L", (60, 60), 77), "JPEG"), format_).mode == "L"


def test_grey_with_alpha_stays_grey_with_alpha(encode: Encode, thumbnail: Make) -> None:
    assert thumbnail(encode(Image.new("LA", (60, 60), (77, 128)))).mode == "LA"


def test_cmyk_becomes_rgb(encode: Encode, thumbnail: Make, close: Close) -> None:
    image = Image.new("CMYK", (60, 60), (0, 255, 255, 0))
    for source in ("JPEG", "TIFF"):
        assert close(thumbnail(encode(image, source)).getpixel((9, 9)), RED, 8)


def _swapped_profile() -> bytes:
    """A profile that calls itself sRGB, with red and green in each other's place: it shows when applied."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(struct.unpack(">I", data[128:132])[0]):
        entry = 132 + 12 * index
        name = bytes(data[entry : entry + 4])
        if name in (b"rXYZ", b"gXYZ"):
            data[entry : entry + 4] = b"gXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_applied_and_not_passed_on(
    source: str, encode: Encode, thumbnail: Make, close: Close
) -> None:
    data = encode(Image.new("RGB", (60, 60), RED), source, icc_profile=_swapped_profile())
    result = thumbnail(data)
    assert close(result.getpixel((9, 9)), GREEN, 8)
    assert "icc_profile" not in result.info


def test_a_profile_leaves_alpha_alone(encode: Encode, thumbnail: Make, close: Close) -> None:
    data = encode(Image.new("RGBA", (60, 60), (*RED, 100)), icc_profile=_swapped_profile())
    assert close(thumbnail(data).getpixel((9, 9)), (*GREEN, 100), 8)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_broken_profile_is_ignored(profile: bytes, encode: Encode, thumbnail: Make, close: Close) -> None:
    data = encode(Image.new("RGB", (60, 60), RED), "JPEG", icc_profile=profile)
    assert close(thumbnail(data).getpixel((9, 9)), RED, 5)


def test_metadata_is_left_behind_unless_it_is_to_be_kept(
    quarters: Make, encode: Encode, thumbnail: Make
) -> None:
    stored, exif = _turned(quarters(), 6)
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825)[1] = "N"  # where it was
    data = encode(stored, "JPEG", exif=exif, comment=b"a comment")
    for format_ in (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF):
        bare = thumbnail(data, format_, width=100)
        assert not bare.getexif()
        assert "comment" not in bare.info
        kept = thumbnail(data, format_, width=100, metadata=Metadata.KEEP).getexif()
        assert kept[0x010F] == "a camera"
        assert 0x0112 not in kept
        assert kept.get_ifd(0x8825)[1] == "N"


@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_broken_exif_is_no_reason_to_fail(quarters: Make, encode: Encode, thumbnail: Make) -> None:
    data = encode(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffrubbish")
    assert thumbnail(data, width=50, height=50, metadata=Metadata.KEEP).size == (50, 50)


def test_both_resizers_make_the_same_picture(encode: Encode, thumbnail: Make, resize: Resize) -> None:
    smooth = Image.merge(
        "RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256), 9)]
    )
    data = encode(smooth.resize((997, 613)))
    one = thumbnail(data, width=101, height=77, resize=resize)
    other = thumbnail(data, width=101, height=77, resize=resize_with_pillow)
    differences = [
        abs(a - b)
        for p, q in zip(one.get_flattened_data(), other.get_flattened_data(), strict=True)
        for a, b in zip(p, q, strict=True)
    ]
    assert max(differences) <= 3


def test_a_size_that_is_there_already_is_not_resampled(encode: Encode, thumbnail: Make) -> None:
    noise = Image.effect_noise((64, 48), 90)
    assert thumbnail(encode(noise), width=64, height=48).tobytes() == noise.tobytes()


def test_quality_makes_a_difference(encode: Encode, render: Callable[..., Rendered]) -> None:
    data = encode(Image.effect_noise((300, 300), 90))
    for format_ in (Format.JPEG, Format.WEBP, Format.AVIF):
        small, large = (len(render(data, format_, width=100, quality=q).pictures[0].data) for q in (20, 95))
        assert small < large


def test_outputs_of_one_picture_come_in_order(quarters: Make, encode: Encode) -> None:
    data = encode(quarters(800, 480), "JPEG")
    wanted = [
        Wanted(Output(name="a", width=40), Format.WEBP),
        Wanted(Output(name="b", width=400), Format.JPEG),
        Wanted(Output(name="a", width=40), Format.PNG),
    ]
    rendered = render(io.BytesIO(data), data, wanted, Limits(), resize_with_pillow)
    assert [(p.content_type, p.width) for p in rendered.pictures] == [
        ("image/webp", 40),
        ("image/jpeg", 400),
        ("image/png", 40),
    ]


def test_a_tiff_of_many_pages_gives_its_first(
    quarters: Make, encode: Encode, render: Callable[..., Rendered]
) -> None:
    pages = [quarters(), Image.new("RGB", (10, 10), "black")]
    rendered = render(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]), Format.GIF)
    assert (rendered.source.width, rendered.source.frames, rendered.pictures[0].frames) == (200, 1, 1)
