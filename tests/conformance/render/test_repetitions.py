"""Frames that change nothing: shown for as long as before, and not written again."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hack.formats import gif, scene
from PIL import Image

from thumbnails_contract.spec import Format
from thumbnails_worker.render.pipeline import Rendered

Render = Callable[..., Rendered]

_KEEP, _CLEAR, _RESTORE = 1, 2, 3
FORMATS = [Format.GIF, Format.PNG, Format.WEBP, Format.AVIF]


def _first(**options: Any) -> gif.Frame:
    return gif.Frame(scene.palette(64)[0], **options)


def _other(**options: Any) -> gif.Frame:
    return gif.Frame(63 - scene.palette(64)[0], **options)


def _file(*frames: gif.Frame) -> bytes:
    return gif.write(frames, scene.palette(64)[1], loop=0)


def _shown(data: bytes) -> tuple[list[Any], list[int]]:
    """Pixels and milliseconds of each frame, by Pillow."""
    image = Image.open(io.BytesIO(data))
    pixels, lengths = [], []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        pixels.append(np.asarray(image.convert("RGBA"), int))
        lengths.append(round(image.info.get("duration", 0)))
    return pixels, lengths


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("disposal", [_KEEP, _CLEAR, _RESTORE])
def test_the_time_of_equal_frames_is_added(format_: Format, disposal: int, render: Render) -> None:
    times = {"disposal": disposal}
    repeated = _file(
        _first(hundredths=10, **times),
        _first(hundredths=20, **times),
        _other(hundredths=5, **times),
        _other(hundredths=7, **times),
        _other(hundredths=9, **times),
        _first(hundredths=30, **times),
    )
    once = _file(_first(**times), _other(**times), _first(**times))
    (picture,), (plain,) = render(repeated, format_).pictures, render(once, format_).pictures
    pixels, lengths = _shown(picture.data)
    assert lengths == [300, 210, 300]
    assert picture.frames == 3
    for seen, wanted in zip(pixels, _shown(plain.data)[0], strict=True):
        assert np.abs(seen - wanted).max() <= 3


@pytest.mark.parametrize("format_", FORMATS)
def test_frames_without_a_time_stay_as_long_as_viewers_show_them(format_: Format, render: Render) -> None:
    """Viewers show what claims to stay for 10 ms or less for 100 ms: three of them for 300."""
    data = _file(*(_first(hundredths=0) for _ in range(3)), _other(hundredths=20))
    assert _shown(render(data, format_).pictures[0].data)[1] == [300, 200]


@pytest.mark.parametrize("format_", FORMATS)
def test_an_animation_in_which_nothing_moves_is_a_picture(format_: Format, render: Render) -> None:
    rendered = render(_file(*(_first() for _ in range(50))), format_)
    assert rendered.source.frames == 50
    assert rendered.pictures[0].frames == 1
    assert len(_shown(rendered.pictures[0].data)[0]) == 1


def test_the_same_pixels_elsewhere_are_another_frame(render: Render) -> None:
    part = np.ascontiguousarray(scene.palette(64)[0][:40, :50])
    data = _file(_first(), gif.Frame(part, 10, 10), gif.Frame(part, 10, 10), gif.Frame(part, 90, 60))
    assert _shown(render(data, Format.GIF).pictures[0].data)[1] == [100, 200, 100]


def test_the_same_indices_with_other_colours_are_another_frame(render: Render) -> None:
    indices, table = scene.palette(64)
    turned = np.ascontiguousarray(table[::-1])
    data = _file(gif.Frame(indices, table=table), gif.Frame(indices, table=turned))
    assert render(data, Format.GIF).pictures[0].frames == 2
