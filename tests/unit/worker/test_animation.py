"""Animations stay animated: frames, timing, loops, disposal, transparency."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from thumbnails_contract.spec import Fit, Format
from thumbnails_worker.render.pipeline import Rendered

Encode = Callable[..., bytes]
Render = Callable[..., Rendered]

COLOURS = ("red", "lime", "blue", "white")
MOVING = {"GIF": Format.GIF, "PNG": Format.PNG, "WEBP": Format.WEBP}
DELAYS = [40, 670, 80, 120]


def _animation(encode: Encode, source: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (60, 40), colour) for colour in COLOURS]
    return encode(frames[0], source, save_all=True, append_images=frames[1:], duration=DELAYS, **options)


def _frames(data: bytes) -> list[tuple[Any, int]]:
    image = Image.open(io.BytesIO(data))
    found = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        found.append((image.convert("RGBA"), round(image.info.get("duration", 0))))
    return found


@pytest.mark.parametrize("output", [Format.GIF, Format.PNG, Format.WEBP, Format.AVIF])
@pytest.mark.parametrize("source", MOVING)
def test_frames_and_timing_survive(source: str, output: Format, encode: Encode, render: Render) -> None:
    rendered = render(_animation(encode, source, loop=0), output, width=30, fit=Fit.INSIDE)
    picture = rendered.pictures[0]
    frames = _frames(picture.data)
    assert [delay for _image, delay in frames] == DELAYS
    assert picture.frames == len(frames) == rendered.source.frames == 4
    for (image, _delay), colour in zip(frames, COLOURS, strict=True):
        expected: Any = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert all(abs(a - b) <= 30 for a, b in zip(image.getpixel((15, 10)), (*expected, 255), strict=True))


@pytest.mark.parametrize("source", MOVING)
@pytest.mark.parametrize(
    ("output", "still"), [(Format.JPEG, {}), (Format.TIFF, {}), (Format.WEBP, {"animated": False})]
)
def test_a_still_picture_is_the_first_frame(
    source: str, output: Format, still: dict[str, Any], encode: Encode, render: Render
) -> None:
    picture = render(_animation(encode, source), output, width=30, **still).pictures[0]
    frames = _frames(picture.data)
    assert picture.frames == len(frames) == 1
    assert all(
        abs(a - b) <= 12 for a, b in zip(frames[0][0].getpixel((15, 10)), (255, 0, 0, 255), strict=True)
    )


def _plays(data: bytes) -> int:
    """How often a file says it is shown, 0 for ever: in the words of its own format."""
    image: Any = Image.open(io.BytesIO(data))
    if image.format == "GIF":
        return int(image.info["loop"] and image.info["loop"] + 1 if "loop" in image.info else 1)
    return int(image.info["loop"])


@pytest.mark.parametrize("output", [Format.GIF, Format.PNG, Format.WEBP])
@pytest.mark.parametrize(
    ("source", "options", "plays"),
    [
        ("GIF", {}, 1),  # without the extension a GIF is shown once
        ("GIF", {"loop": 0}, 0),
        ("GIF", {"loop": 2}, 3),  # a GIF counts repeats
        ("PNG", {"loop": 3}, 3),
        ("WEBP", {"loop": 3}, 3),
        ("WEBP", {"loop": 0}, 0),
        ("PNG", {"loop": 1}, 1),
    ],
)
def test_it_is_shown_as_often_as_before(
    source: str, options: dict[str, int], plays: int, output: Format, encode: Encode, render: Render
) -> None:
    assert _plays(render(_animation(encode, source, **options), output, width=30).pictures[0].data) == plays


@pytest.mark.parametrize("output", [Format.GIF, Format.PNG, Format.WEBP, Format.AVIF])
@pytest.mark.parametrize("source", MOVING)
def test_what_was_cleared_does_not_shine_through(
    source: str, output: Format, encode: Encode, render: Render
) -> None:
    """A square that moves over nothing: each frame shows it in one place only."""
    frames = []
    for step in range(3):
        frame = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
        frame.paste((255, 0, 0, 255), (20 * step, 0, 20 * step + 20, 20))
        # Without these, libwebp would cut each frame to its opaque square, and say that there is no alpha.
        frame.putpixel((0, 0), (255, 0, 0, 100))
        frame.putpixel((59, 19), (255, 0, 0, 100))
        frames.append(frame)
    options = {"disposal": 2} if source == "GIF" else {"blend": 0} if source == "PNG" else {"lossless": True}
    data = encode(frames[0], source, save_all=True, append_images=frames[1:], duration=50, **options)
    result = _frames(render(data, output, width=30).pictures[0].data)
    for step, (image, _delay) in enumerate(result):
        assert [image.getpixel((x, 5))[3] > 128 for x in (5, 15, 25)] == [step == 0, step == 1, step == 2]


def test_only_the_part_that_changes_is_drawn_in_a_gif(encode: Encode, render: Render) -> None:
    """Pillow writes the difference to the frame before; the canvas has to be composited."""
    frames = []
    for step in range(3):
        frame = Image.new("RGB", (60, 20), "blue")
        frame.paste("red", (20 * step, 0, 20 * step + 20, 20))
        frames.append(frame)
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    for step, (image, _delay) in enumerate(_frames(render(data, Format.PNG, width=60).pictures[0].data)):
        assert [image.getpixel((x, 5))[0] > 128 for x in (10, 30, 50)] == [step == 0, step == 1, step == 2]


def test_the_default_image_of_an_apng_is_not_part_of_it(encode: Encode, render: Render) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in COLOURS[:3]]
    data = encode(
        frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True, duration=[50, 60]
    )
    rendered = render(data, Format.WEBP, width=20)
    assert rendered.source.frames == rendered.pictures[0].frames == 2
    still = _frames(render(data, Format.PNG, width=20, animated=False).pictures[0].data)
    assert still[0][0].getpixel((9, 9)) == (255, 0, 0, 255)


def test_delays_that_nobody_honours_stay_as_they_are(encode: Encode, render: Render) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in COLOURS]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=0)
    assert [delay for _image, delay in _frames(render(data, Format.GIF, width=20).pictures[0].data)] == [
        0
    ] * 4
    # AVIF has no such frames: it gets what viewers make of them
    assert [delay for _image, delay in _frames(render(data, Format.AVIF, width=20).pictures[0].data)] == [
        100
    ] * 4


def test_a_gif_of_one_frame_is_a_still_picture(encode: Encode, render: Render) -> None:
    rendered = render(encode(Image.new("RGB", (40, 40), "red"), "GIF"), width=20)
    assert (rendered.source.frames, rendered.pictures[0].frames) == (1, 1)


def test_many_colours_of_a_photo_survive_a_gif(encode: Encode, render: Render) -> None:
    smooth = Image.merge(
        "RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)]
    )
    image = _frames(render(encode(smooth), Format.GIF, width=100).pictures[0].data)[0][0].convert("RGB")
    small: Any = smooth.resize((100, 100))
    wrong = [
        abs(a - b)
        for p, q in zip(image.get_flattened_data(), small.get_flattened_data(), strict=True)
        for a, b in zip(p, q, strict=True)
    ]
    assert sum(wrong) / len(wrong) < 12


@pytest.mark.parametrize("format_", ["png", "gif", "webp", "avif"])
@pytest.mark.parametrize(
    "milliseconds", [[70_001, 3], [65_535, 65_535], [1_000_003, 20], [2**24 - 1, 2**24 - 1], [40, 0, 655_350]]
)
def test_frames_that_stay_longer_than_a_format_can_say(
    render: Render, encode: Encode, format_: str, milliseconds: list[int]
) -> None:
    for colours in (["red", "red", "red"], ["red", "blue", "green"]):
        frames = [Image.new("RGB", (40, 30), colour) for colour in colours[: len(milliseconds)]]
        data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=milliseconds)
        rendered = render(data, Format(format_))
        assert rendered.pictures[0].content_type == f"image/{format_}"
