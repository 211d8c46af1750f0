"""Every kind of file in the table is rendered as a viewer sees it, and as libvips sees it.

Three judges for each: the pixels that the file was made from, libvips reading the same file, and another
reader of what `format: auto` wrote. Thumbnails are 48 pixels on their longer side.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hack.formats import compare
from hack.formats.compare import Seen, Thumbnail
from hack.formats.kind import Kind, Pixels
from hack.formats.table import KINDS

from thumbnails_contract.errors import ThumbnailsError
from thumbnails_contract.spec import Format, Metadata
from thumbnails_worker.render.pipeline import Rendered

Render = Callable[..., Rendered]

# What quality 80 and 256 colours cost at this size: hard edges between saturated colours are most of it.
WRITTEN_WITHIN = (12.0, 45.0)
MOST_PLAYS = 65_535  # 16 bits

SHOWN = [kind for kind in KINDS if kind.shows is not None]
REFUSED = [kind for kind in KINDS if kind.refused]
BOTH_READ = [kind for kind in SHOWN if not kind.differs]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _name(kind: Kind) -> str:
    return kind.name


@cache
def _data(kind: Kind) -> bytes:
    return kind.make()


@cache
def _shown(kind: Kind) -> Sequence[Pixels]:
    assert kind.shows is not None
    return kind.shows()


def _rendered(kind: Kind, render: Render) -> tuple[Thumbnail, tuple[int, int], Rendered]:
    """The lossless thumbnail as it is read again, its size, and all that was rendered."""
    height, width, _channels = _shown(kind)[0].shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata that is broken on purpose
        rendered = render(_data(kind), Format.PNG, Format.AUTO, wide=width >= height)
    picture = rendered.pictures[0]
    return Thumbnail.read(picture.data), (picture.width, picture.height), rendered


def _judge(frames: list[Seen], others: list[Seen], within: tuple[float, float]) -> None:
    assert len(frames) == len(others)
    for index, (frame, other) in enumerate(zip(frames, others, strict=True)):
        difference = compare.compare(frame, other)
        assert difference.within(within), f"frame {index}: {difference}"


def _as_viewers_do(milliseconds: Sequence[int]) -> list[int]:
    """A frame of 0 ms stays for 100, and so does one of which nothing is said."""
    return [length or 100 for length in milliseconds]


@pytest.mark.parametrize("kind", SHOWN, ids=_name)
def test_it_shows_what_was_put_in(kind: Kind, render: Render) -> None:
    thumbnail, size, rendered = _rendered(kind, render)
    shown = _shown(kind)
    height, width, _channels = shown[0].shape
    assert (rendered.source.width, rendered.source.height) == (width, height)
    _judge(thumbnail.frames, [compare.scaled(frame, size) for frame in shown], kind.within)


@pytest.mark.parametrize("kind", BOTH_READ, ids=_name)
def test_libvips_sees_the_same(kind: Kind, render: Render) -> None:
    thumbnail, size, _rendered_too = _rendered(kind, render)
    data = _data(kind)
    if kind.milliseconds:
        assert compare.timing_by_vips(data) == (kind.milliseconds, kind.plays)
        _judge(thumbnail.frames, compare.frames_by_vips(data, size), kind.within_vips)
    else:
        _judge(thumbnail.frames, [compare.by_vips(data, size)], kind.within_vips)


@pytest.mark.parametrize("kind", SHOWN, ids=_name)
def test_auto_writes_the_format_mode_frames_and_timing_of_the_table(kind: Kind, render: Render) -> None:
    lossless, _size, rendered = _rendered(kind, render)
    written = rendered.pictures[1]
    thumbnail = Thumbnail.read(written.data)
    format_, mode = kind.out.split()
    assert written.content_type == f"image/{format_.lower()}"
    assert thumbnail.mode == mode
    assert written.frames == kind.frames
    assert _as_viewers_do(thumbnail.milliseconds) == _as_viewers_do(kind.milliseconds)
    if kind.milliseconds:
        assert thumbnail.plays == min(kind.plays, MOST_PLAYS)
    _judge(thumbnail.frames, lossless.frames, WRITTEN_WITHIN)


@pytest.mark.parametrize("kind", SHOWN, ids=_name)
def test_keeping_metadata_changes_no_pixel(kind: Kind, render: Render) -> None:
    height, width, _channels = _shown(kind)[0].shape
    stripped = Thumbnail.read(
        render(_data(kind), Format.PNG, Format.AUTO, wide=width >= height).pictures[0].data
    )
    kept = render(_data(kind), Format.PNG, wide=width >= height, metadata=Metadata.KEEP)
    _judge(Thumbnail.read(kept.pictures[0].data).frames, stripped.frames, (0.0, 0.0))


@pytest.mark.parametrize("kind", REFUSED, ids=_name)
def test_it_is_refused_with_a_reason(kind: Kind, render: Render) -> None:
    with pytest.raises(ThumbnailsError) as refusal:
        render(kind.make(), Format.PNG)
    assert refusal.value.reason == kind.refused
    assert refusal.value.message


@pytest.mark.parametrize("kind", [kind for kind in SHOWN if "orientation" in kind.name], ids=_name)
def test_orientations_would_be_noticed(kind: Kind) -> None:
    """The judge itself: a picture that is flipped or turned is far outside of every bound."""
    shown = _shown(kind)[0]
    size = (48, 36)
    for wrong in (shown[::-1], shown[:, ::-1], shown[::-1, ::-1], shown[..., ::-1]):
        difference = compare.compare(
            compare.scaled(np.ascontiguousarray(wrong), size), compare.scaled(shown, size)
        )
        assert not difference.within(kind.within_vips)
