"""A truncated file: refused, or with `render_truncated` what is there of it, and never anything else."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hack.formats import compare, gif, jpeg, png, scene, tiff, webp
from hack.formats.compare import Thumbnail
from hack.formats.kind import COARSE, Pixels

from thumbnails_contract.errors import CorruptSource
from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Wanted
from thumbnails_worker.render.pipeline import render as render_pipeline
from thumbnails_worker.render.resize import resize_with_pillow

SIZE = (80, 60)
WHOLE: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg.write(scene.colour()),
    "PNG": lambda: png.write(scene.colour(), pieces=20),
    "WebP lossless": lambda: webp.write(scene.colour(), lossless=True),
    "GIF": lambda: gif.write([gif.Frame(scene.palette(64)[0])], scene.palette(64)[1]),
    "TIFF": lambda: tiff.by_vips(scene.colour(), compression="none"),
}
SHOWN_IN_PART = ("JPEG", "PNG", "GIF")  # formats that come from top to bottom, header first


def _render(data: bytes, *, render_truncated: bool) -> Sequence[compare.Seen]:
    wanted = [Wanted(Output(width=SIZE[0], height=SIZE[1]), Format.PNG)]
    limits = Limits(render_truncated=render_truncated)
    rendered = render_pipeline(io.BytesIO(data), data, wanted, limits, resize_with_pillow)
    return Thumbnail.read(rendered.pictures[0].data).frames


def _shown(name: str) -> Pixels:
    return scene.indexed(64) if name == "GIF" else scene.colour()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", WHOLE)
def test_it_is_refused_unless_that_is_wanted(name: str, share: float) -> None:
    data = WHOLE[name]()
    with pytest.raises(CorruptSource):
        _render(data[: int(len(data) * share)], render_truncated=False)


@pytest.mark.parametrize("name", SHOWN_IN_PART)
def test_what_is_there_is_shown_when_that_is_wanted(name: str) -> None:
    data = WHOLE[name]()
    (frame,) = _render(data[: int(len(data) * 0.75)], render_truncated=True)
    whole = compare.scaled(_shown(name), SIZE)
    top = SIZE[1] // 3
    assert compare.compare(frame[:top], whole[:top]).within(COARSE)
    assert np.abs(frame[-4:] - whole[-4:]).mean() > COARSE[0]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_the_same_either_way(name: str) -> None:
    data = WHOLE[name]()
    (one,), (other,) = (_render(data, render_truncated=wish) for wish in (False, True))
    assert np.array_equal(one, other)
