"""Pictures that do not fit into the memory as a whole are decoded in bands, and look the same."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from thumbnails_contract.errors import CorruptSource, SourceTooLarge
from thumbnails_worker.render.pipeline import Rendered

Encode = Callable[..., bytes]
Render = Callable[..., Rendered]
Make = Callable[..., Any]

SIZE = (700, 601)
# Less than the pixels of any of these take, one byte each.
AVAILABLE = 400_000


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Smooth, with an alpha channel; in its lower half nothing repeats the upper one."""
    gradients = (
        Image.linear_gradient("L"),
        Image.radial_gradient("L"),
        Image.linear_gradient("L").rotate(90),
        Image.radial_gradient("L").point(lambda level: 255 - level // 2),
    )
    return Image.merge("RGBA", [gradient.resize(SIZE) for gradient in gradients])


def _of_mode(scene: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return scene.convert("L").convert("I").point(lambda level: level * 257).convert("I;16")
    if mode == "P":
        return scene.convert("RGB").quantize(200)
    if mode == "P4":
        return scene.convert("RGB").quantize(16)
    if mode == "CMYK":
        return scene.convert("RGB").convert("CMYK")
    return scene.convert(mode)


def _assert_same_in_bands(data: bytes, thumbnail: Make) -> None:
    whole = thumbnail(data, width=110).convert("RGBA").convert("RGBa")
    banded = thumbnail(data, width=110, available_bytes=AVAILABLE).convert("RGBA").convert("RGBa")
    assert banded.size == whole.size
    # colours of transparent pixels do not count
    assert max(ImageStat.Stat(ImageChops.difference(whole, banded)).mean) < 2.0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P4", "RGB", "RGBA", "I;16"])
def test_a_png_in_bands(mode: str, scene: Image.Image, encode: Encode, thumbnail: Make) -> None:
    picture = _of_mode(scene, mode)
    _assert_same_in_bands(encode(picture, bits=4) if mode == "P4" else encode(picture), thumbnail)


def test_transparent_colours_of_a_png_in_bands(scene: Image.Image, encode: Encode, thumbnail: Make) -> None:
    palette = _of_mode(scene, "P")
    for data in (
        encode(palette, transparency=7),
        encode(palette, transparency=bytes(range(200))),
        encode(scene.convert("L").point(lambda level: level // 64 * 64), transparency=64),
    ):
        _assert_same_in_bands(data, thumbnail)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_tiff_in_bands(
    mode: str, compression: str | None, scene: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    data = encode(_of_mode(scene, mode), "TIFF", compression=compression)
    _assert_same_in_bands(data, thumbnail)


@pytest.mark.parametrize("options", [{"tiffinfo": {278: SIZE[1]}}, {"compression": "jpeg", "quality": 95}])
def test_other_strips_of_a_tiff_in_bands(
    options: dict[str, Any], scene: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    _assert_same_in_bands(encode(scene.convert("RGB"), "TIFF", **options), thumbnail)


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("source", ["PNG", "TIFF"])
def test_a_picture_in_bands_is_turned(
    source: str, orientation: int, scene: Image.Image, encode: Encode, thumbnail: Make
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _assert_same_in_bands(encode(scene.convert("RGB"), source, exif=exif), thumbnail)


@pytest.mark.parametrize("source", ["PNG", "TIFF"])
def test_a_truncated_picture_in_bands_is_damaged(
    source: str, scene: Image.Image, encode: Encode, render: Render
) -> None:
    data = encode(scene, source)
    with pytest.raises(CorruptSource):
        render(data[: len(data) * 3 // 4], width=110, available_bytes=AVAILABLE)


def test_what_cannot_be_shrunk_so_far_is_too_large(
    scene: Image.Image, encode: Encode, render: Render
) -> None:
    for source in ("PNG", "TIFF"):
        with pytest.raises(SourceTooLarge, match="MiB of memory"):
            render(encode(scene, source), width=600, available_bytes=AVAILABLE)
