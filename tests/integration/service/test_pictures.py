"""Pictures through the whole service: upright, in sRGB, transparent and moving as they were."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (250, 250, 250)


def quarters(size: int = 200) -> Image.Image:
    """Red, green / blue, white: tells which way up a picture is."""
    picture = Image.new("RGB", (size, size))
    half = size // 2
    for index, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        picture.paste(colour, (index % 2 * half, index // 2 * half, (index % 2 + 1) * half, size))
    return picture


def encode(picture: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def at_quarters(picture: Image.Image) -> list[tuple[int, ...]]:
    picture = picture.convert("RGB")
    w, h = picture.size
    places = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [picture.getpixel(place) for place in places]  # type: ignore[misc]


def close(one: Any, other: Any, tolerance: int = 25) -> bool:
    return bool((np.abs(np.asarray(one, int) - np.asarray(other, int)) <= tolerance).all())


# How a picture that is to be shown upright was stored, for each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_is_upright(client: Any, orientation: int) -> None:
    picture = quarters()
    if (stored := STORED[orientation]) is not None:
        picture = picture.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    thumbnail = client.render(encode(picture, "JPEG", quality=95, exif=exif))
    assert close(at_quarters(thumbnail), [RED, GREEN, BLUE, WHITE])
    assert 0x0112 not in thumbnail.getexif()


def test_location_does_not_leave_the_service(client: Any, photo: Any) -> None:
    exif = Image.Exif()
    exif[0x010E] = "my house"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    thumbnail = client.render(photo(exif=exif))
    assert not thumbnail.getexif()
    assert "exif" not in thumbnail.info


@pytest.mark.parametrize(("format_", "type_"), [("PNG", "image/png"), ("WEBP", "image/webp")])
def test_transparency_lives(client: Any, format_: str, type_: str) -> None:
    picture = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    picture.paste((*RED, 255), (100, 0, 200, 200))
    thumbnail = client.render(encode(picture, format_), type_).convert("RGBA")
    assert thumbnail.getpixel((20, 50))[3] == 0
    assert close(thumbnail.getpixel((80, 50)), (*RED, 255))


def test_transparency_on_a_chosen_background(client: Any) -> None:
    picture = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    thumbnail = client.render(encode(picture, "PNG"), "image/png", format="jpeg", background="#1e1edc")
    assert close(thumbnail.getpixel((50, 50)), BLUE)


def test_cmyk_becomes_rgb(client: Any) -> None:
    thumbnail = client.render(encode(Image.new("CMYK", (200, 200), (0, 255, 255, 0)), "JPEG", quality=95))
    assert thumbnail.mode == "RGB"
    red, green, blue = thumbnail.getpixel((50, 50))
    assert red > 180
    assert max(green, blue) < 90


def test_sixteen_bits_are_scaled_not_clipped(client: Any) -> None:
    ramp = np.linspace(0, 65535, 200, dtype=np.uint16)[None, :].repeat(200, axis=0)
    picture = Image.fromarray(ramp)
    thumbnail = client.render(encode(picture, "PNG"), "image/png").convert("L")
    assert close(thumbnail.getpixel((50, 50)), 128, tolerance=6)
    assert close(thumbnail.getpixel((10, 50)), 27, tolerance=6)


def test_an_srgb_profile_changes_nothing(client: Any) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    thumbnail = client.render(encode(quarters(), "JPEG", quality=95, icc_profile=profile))
    assert close(at_quarters(thumbnail), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize(("format_", "type_"), [("GIF", "image/gif"), ("WEBP", "image/webp")])
def test_an_animation_stays_one(client: Any, format_: str, type_: str) -> None:
    frames = [Image.new("RGB", (200, 200), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(
        frames[0], format_, save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=2
    )
    thumbnail = client.render(data, type_)
    assert thumbnail.n_frames == 3
    shown, durations = [], []
    for frame in ImageSequence.Iterator(thumbnail):
        shown.append(frame.convert("RGB").getpixel((50, 50)))
        durations.append(frame.info["duration"])
    assert close(shown, [RED, GREEN, BLUE])
    assert durations == [100, 200, 300]
    still = client.render(data, type_, animated="false")
    assert getattr(still, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("fit", "size"),
    [
        ("cover", (60, 60)),
        ("contain", (60, 60)),
        ("inside", (60, 30)),
        ("outside", (120, 60)),
        ("fill", (60, 60)),
    ],
)
def test_fits(client: Any, photo: Any, fit: str, size: tuple[int, int]) -> None:
    assert client.render(photo(400, 200), width="60", height="60", fit=fit).size == size


def test_one_side_is_enough(client: Any, photo: Any) -> None:
    assert client.render(photo(400, 200), width="60").size == (60, 30)


def test_positions(client: Any) -> None:
    wide = Image.new("RGB", (400, 200), RED)
    wide.paste(BLUE, (200, 0, 400, 200))
    data = encode(wide, "PNG")
    assert close(client.render(data, "image/png", position="left").convert("RGB").getpixel((50, 50)), RED)
    assert close(client.render(data, "image/png", position="right").convert("RGB").getpixel((50, 50)), BLUE)


@pytest.mark.parametrize(
    ("word", "format_"),
    [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("avif", "AVIF"), ("gif", "GIF"), ("tiff", "TIFF")],
)
def test_formats_that_can_be_asked_for(client: Any, photo: Any, word: str, format_: str) -> None:
    assert client.render(photo(), format=word).format == format_


def test_several_formats_of_one_picture(client: Any, photo: Any) -> None:
    job = client.post_image(photo(), format="webp,jpeg").json()
    assert [output["contentType"] for output in job["outputs"]] == ["image/webp", "image/jpeg"]
    for output in job["outputs"]:
        assert client.get(output["path"]).headers["Content-Type"] == output["contentType"]


def test_small_pictures_keep_their_size_when_asked(client: Any, photo: Any) -> None:
    small = photo(40, 30)
    assert client.render(small, fit="inside", withoutEnlargement="true").size == (40, 30)
    assert client.render(small, fit="inside").size == (100, 75)


# ---- real photographs


def frames_of(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1))


def played(picture: Image.Image) -> float:
    """How long an animation is, in milliseconds."""
    return float(sum(frame.info["duration"] for frame in ImageSequence.Iterator(picture)))


def test_real_photographs(client: Any, shared_pictures: Path) -> None:
    types = {
        ".jpg": "image/jpeg",
        ".png": "image/png",
        ".webp": "image/webp",
        ".gif": "image/gif",
        ".tif": "image/tiff",
    }
    files = [file for file in sorted(shared_pictures.iterdir()) if file.suffix in types]
    assert files
    for file in files:
        thumbnail = client.render(file.read_bytes(), types[file.suffix])
        assert thumbnail.size == (100, 100), file.name
        with Image.open(file) as original:
            if file.suffix == ".gif":
                # Frames that look the same may become one that is shown longer.
                assert 1 < frames_of(thumbnail) <= frames_of(original), file.name
                assert played(thumbnail) == played(original), file.name
            else:
                assert frames_of(thumbnail) == 1, file.name
        assert not thumbnail.getexif(), file.name


def test_the_eight_real_orientations_look_the_same(client: Any, shared_pictures: Path) -> None:
    thumbnails = [
        np.asarray(
            client.render((shared_pictures / f"orientation-{n}.jpg").read_bytes()).convert("RGB"), float
        )
        for n in range(1, 9)
    ]
    for thumbnail in thumbnails[1:]:
        assert np.abs(thumbnail - thumbnails[0]).mean() < 8
