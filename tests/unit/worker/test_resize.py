"""Resizing keeps what is where: both implementations, from pixels and from a JPEG that is decoded smaller."""

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from thumbnails_contract.spec import Fit, Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Wanted, render
from thumbnails_worker.render.resize import Resize


def detailed(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A picture with edges of every direction and size."""
    image = Image.new("RGB", size, (250, 240, 90))
    draw = ImageDraw.Draw(image)
    for index in range(0, max(size), 37):
        draw.ellipse((index - 60, index - 25, index + 9, index + 40), fill=(index % 256, 30, 200))
        draw.line((size[0] - index, 0, index // 3, size[1]), fill=(20, index % 200, 60), width=5)
    return image.convert(mode)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean over all pixels and channels, of 255."""
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(90, 70), (31, 200), (700, 3)])
@pytest.mark.parametrize("box", [(0.0, 0.0, 1400.0, 1100.0), (301.5, 17.25, 1200.0, 1090.75)])
def test_a_box_is_scaled_as_pillow_would_with_all_pixels(
    mode: str, size: tuple[int, int], box: tuple[float, float, float, float], resize: Resize
) -> None:
    image = detailed((1400, 1100), mode)
    exact = image.resize(size, Image.Resampling.LANCZOS, box)
    made = resize(image, box, size)
    assert (made.mode, made.size) == (mode, size)
    assert difference(made, exact) < 3


@pytest.mark.parametrize(("width", "height"), [(100, 81), (256, 209), (300, 244), (420, 342)])
def test_a_jpeg_that_is_decoded_smaller_is_not_stretched(
    width: int, height: int, resize: Resize, encode: Callable[..., bytes]
) -> None:
    """Its decoded size is rounded up: 2725 pixels at an eighth are 340.625, not 341."""
    original = detailed((1361, 1107)).filter(ImageFilter.GaussianBlur(6))
    data = encode(original, "JPEG", quality=95, subsampling=0)
    wanted = [Wanted(Output(width=width, height=height, fit=Fit.FILL), Format.PNG)]
    (picture,) = render(io.BytesIO(data), data, wanted, Limits(), resize).pictures
    exact = original.resize((width, height), Image.Resampling.LANCZOS)
    assert difference(Image.open(io.BytesIO(picture.data)), exact) < 0.45


def test_a_picture_with_two_sizes_is_not_given_to_code_that_trusts_them(resize: Resize) -> None:
    image = detailed((200, 100))
    image._size = (100, 200)
    with pytest.raises(ValueError, match=r"."):
        resize(image, (0, 0, 100, 200), (10, 20))
