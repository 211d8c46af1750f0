"""Fits, positions and sizes give what libvips gives for the same wish, from reduction to enlargement."""

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hack.formats import compare, jpeg, png, scene, webp
from hack.formats.compare import Seen, Thumbnail

from thumbnails_contract.spec import Fit, Format, Output, Position
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Wanted
from thumbnails_worker.render.pipeline import render as render_pipeline
from thumbnails_worker.render.resize import Resize, load_cykooz, resize_with_pillow

# Edges that lie half a pixel elsewhere, since sizes are rounded.
WITHIN = (6.0, 35.0)
WIDTH, HEIGHT = 640, 480

SOURCES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg.write(scene.colour(WIDTH, HEIGHT)),
    "PNG": lambda: png.write(scene.colour(WIDTH, HEIGHT)),
    "PNG with alpha": lambda: png.write(
        scene.with_alpha(scene.colour(WIDTH, HEIGHT), scene.opacity(WIDTH, HEIGHT))
    ),
    "WebP": lambda: webp.write(scene.colour(WIDTH, HEIGHT)),
}

WISHES: dict[str, tuple[Output, dict[str, Any]]] = {
    "width": (Output(width=90), {"width": 90, "height": 10_000}),
    "height": (Output(height=90), {"width": 10_000, "height": 90}),
    "tiny": (Output(width=8, height=6, fit=Fit.FILL), {"width": 8, "height": 6, "size": "force"}),
    "nearly as large": (Output(width=639), {"width": 639, "height": 10_000}),
    "fill": (Output(width=50, height=120, fit=Fit.FILL), {"width": 50, "height": 120, "size": "force"}),
    "inside": (Output(width=120, height=120, fit=Fit.INSIDE), {"width": 120, "height": 120}),
    "cover": (Output(width=100, height=100), {"width": 100, "height": 100, "crop": "centre"}),
    "cover, wide": (Output(width=300, height=60), {"width": 300, "height": 60, "crop": "centre"}),
    "cover, top left": (
        Output(width=60, height=150, position=Position.TOP_LEFT),
        {"width": 60, "height": 150, "crop": "low"},
    ),
    "cover, bottom right": (
        Output(width=60, height=150, position=Position.BOTTOM_RIGHT),
        {"width": 60, "height": 150, "crop": "high"},
    ),
    "enlarged": (Output(width=700), {"width": 700, "height": 10_000}),
    "not enlarged": (
        Output(width=700, without_enlargement=True),
        {"width": 700, "height": 10_000, "size": "down"},
    ),
}


@pytest.fixture(params=["pillow", "cykooz"])
def resize(request: pytest.FixtureRequest) -> Resize:
    """Each implementation of the port."""
    if request.param == "pillow":
        return resize_with_pillow
    cykooz = load_cykooz()
    if cykooz is None:
        pytest.skip("cykooz.resizer has no wheel for this machine")
    return cykooz


@cache
def _source(name: str) -> bytes:
    return SOURCES[name]()


@cache
def _by_vips(name: str, wish: str) -> Seen:
    return compare.thumbnail_by_vips(_source(name), **WISHES[wish][1])


def _render(data: bytes, output: Output, resize: Resize) -> Thumbnail:
    rendered = render_pipeline(io.BytesIO(data), data, [Wanted(output, Format.PNG)], Limits(), resize)
    return Thumbnail.read(rendered.pictures[0].data)


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("source", SOURCES)
def test_libvips_gives_the_same(source: str, wish: str, resize: Resize) -> None:
    data = _source(source)
    thumbnail = _render(data, WISHES[wish][0], resize)
    other = _by_vips(source, wish)
    assert thumbnail.frames[0].shape == other.shape
    difference = compare.compare(thumbnail.frames[0], other)
    assert difference.within(WITHIN), difference


@pytest.mark.parametrize("where", [40, 300, 560])
def test_attention_finds_what_libvips_finds(where: int, resize: Resize) -> None:
    """Something of colour and edges on a quiet ground: both crops hold it."""
    picture = np.full((HEIGHT, WIDTH, 3), (150, 155, 160), np.uint8)
    picture[200:300, where : where + 60] = (230, 60, 20)
    picture[240:260, where : where + 60] = (20, 60, 230)
    data = png.write(picture)
    output = Output(width=40, height=120, position=Position.ATTENTION)
    ours = _render(data, output, resize).frames[0]
    theirs = compare.thumbnail_by_vips(data, width=40, height=120, crop="attention")
    for crop in (ours, theirs):
        assert crop[..., 0].max() - crop[..., 2].min() > 60
