"""Placeholders are those of the reference implementation (npm `thumbhash` 0.1.1, which made the vectors)."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageDraw

from thumbnails_contract.spec import Format
from thumbnails_worker.render.thumbhash import encode, thumbhash


def sweep(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height))
    for x in range(width):
        for y in range(height):
            image.putpixel(
                (x, y), ((x * 255) // max(1, width - 1), (y * 255) // max(1, height - 1), (37 * x * y) % 256)
            )
    return image


def disc() -> Image.Image:
    image, mask = sweep(20, 16), Image.new("L", (20, 16))
    ImageDraw.Draw(mask).ellipse((3, 2, 16, 13), fill=200)
    image.putalpha(mask)
    return image


def nibbles(hash_: bytes) -> list[int]:
    return [half for byte in hash_ for half in (byte & 15, byte >> 4)]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (sweep(20, 13), "3fgNLZxwdnZwiHiHh1eHhoCACfh4"),
        (sweep(9, 20), "3QgOMxxQgHeHhnh24HEI+Hg="),
        (sweep(3, 2), "V/stRayFeAqFiHiHiKh3oIFgF/iI"),
        (Image.new("RGBA", (4, 4)), "AAiCBQAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
    ],
    ids=["landscape", "portrait", "tiny", "clear"],
)
def test_vectors_of_the_reference(image: Image.Image, expected: str) -> None:
    assert thumbhash(image) == expected


def test_alpha_differs_from_the_reference_by_a_step_at_most() -> None:
    """Pillow premultiplies in 8 bits."""
    reference = base64.b64decode("XviBDIQ1cp+AfLnnBwhHgY+IcId4GKiIBg==")
    made = encode(disc())
    assert made[:6] == reference[:6]
    assert all(abs(a - b) <= 1 for a, b in zip(nibbles(made), nibbles(reference), strict=True))


def test_of_one_colour_nothing_but_its_average_is_said() -> None:
    for size in ((8, 8), (20, 20), (300, 40)):
        header = encode(Image.new("RGB", size, "red"))
        assert header[:2] == bytes.fromhex("d5fb")
        assert set(header[5:]) == {0}


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 4096), (4096, 1), (723, 11), (33, 517)])
def test_every_mode_and_shape_fits_into_the_field(mode: str, size: tuple[int, int]) -> None:
    assert 0 < len(thumbhash(Image.radial_gradient("L").resize(size).convert(mode))) <= 36


def test_a_large_picture_has_nearly_the_hash_of_a_small_one() -> None:
    small = sweep(20, 16)
    large = small.resize((801, 641), Image.Resampling.NEAREST)
    pairs = zip(nibbles(encode(small)[5:]), nibbles(encode(large)[5:]), strict=True)
    assert all(abs(a - b) <= 1 for a, b in pairs)


def test_each_thumbnail_has_one_of_the_picture_as_it_looks(
    render: Callable[..., Any], encode: Callable[..., bytes]
) -> None:
    image = Image.new("RGBA", (200, 100), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (50, 25, 150, 75))
    data = encode(image)
    with_alpha = base64.b64decode(render(data, Format.PNG, width=40).pictures[0].thumbhash)
    on_white = base64.b64decode(render(data, Format.JPEG, width=40).pictures[0].thumbhash)
    assert (with_alpha[2] >> 7, on_white[2] >> 7) == (1, 0)
