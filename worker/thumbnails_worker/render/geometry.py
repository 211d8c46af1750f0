"""Decides which part of a picture goes where in a thumbnail: numbers in, numbers out.

The fits are those of sharp (lib/resize.js, src/pipeline.cc `ResolveShrink`), which took them from
CSS `object-fit`. Sizes are whole pixels, (width, height); boxes are (left, top, right, bottom) in
pixels of the picture as displayed, and may be fractional.
"""

from dataclasses import dataclass
from typing import Final

from thumbnails_contract.spec import Fit, Output, Position

Size = tuple[int, int]
Box = tuple[float, float, float, float]

# Where along an axis a position lies: 0 is left or top, 1 is right or bottom.
_ANCHORS: Final[dict[Position, tuple[float, float]]] = {
    Position.CENTER: (0.5, 0.5),
    Position.TOP: (0.5, 0.0),
    Position.TOP_RIGHT: (1.0, 0.0),
    Position.RIGHT: (1.0, 0.5),
    Position.BOTTOM_RIGHT: (1.0, 1.0),
    Position.BOTTOM: (0.5, 1.0),
    Position.BOTTOM_LEFT: (0.0, 1.0),
    Position.LEFT: (0.0, 0.5),
    Position.TOP_LEFT: (0.0, 0.0),
    Position.ATTENTION: (0.5, 0.5),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """`crop` of the picture is scaled to `size` and laid on a `canvas` with its corner at `offset`."""

    crop: Box
    size: Size
    canvas: Size
    offset: tuple[int, int]
    whole: Size  # what the whole picture measures at this scale: how finely it must be decoded

    @property
    def padded(self) -> bool:
        """Whether some of the canvas stays background."""
        return self.size != self.canvas


def anchor_of(position: Position) -> tuple[float, float]:
    """The (x, y) anchor, each 0..1, of a position; `attention` is the center until somebody looks."""
    return _ANCHORS[position]


def place(source: Size, output: Output, anchor: tuple[float, float]) -> Placement:
    """Where a picture of size `source` goes in `output`. `anchor`: what a crop keeps, 0..1 an axis."""
    width, height = source
    box = _box(source, output)
    scale_x, scale_y = _scales(source, box, output)
    whole = (_pixels(width * scale_x), _pixels(height * scale_y))
    everything = (0.0, 0.0, float(width), float(height))
    if output.fit is Fit.COVER:
        size = (min(whole[0], box[0]), min(whole[1], box[1]))
        left, right = _span(width, size[0] / whole[0], anchor[0])
        top, bottom = _span(height, size[1] / whole[1], anchor[1])
        return Placement((left, top, right, bottom), size, size, (0, 0), whole)
    if output.fit is Fit.CONTAIN:
        size = (min(whole[0], box[0]), min(whole[1], box[1]))
        x, y = anchor_of(output.position)
        offset = (round((box[0] - size[0]) * x), round((box[1] - size[1]) * y))
        return Placement(everything, size, box, offset, size)
    return Placement(everything, whole, whole, (0, 0), whole)


def slack(source: Size, output: Output) -> tuple[bool, bool]:
    """Whether a cover crop leaves a choice along x and along y."""
    left, top, right, bottom = place(source, output, (0.5, 0.5)).crop
    return right - left < source[0], bottom - top < source[1]


def _box(source: Size, output: Output) -> Size:
    """The box that was asked for; a side that was left out follows the picture's aspect ratio."""
    width, height = output.width, output.height
    if width is None:
        assert height is not None
        return _pixels(source[0] * height / source[1]), height
    if height is None:
        return width, _pixels(source[1] * width / source[0])
    return width, height


def _scales(source: Size, box: Size, output: Output) -> tuple[float, float]:
    x, y = box[0] / source[0], box[1] / source[1]
    if output.width is None:  # the side that follows was rounded: the other one is exact
        x = y
    elif output.height is None:
        y = x
    elif output.fit in (Fit.COVER, Fit.OUTSIDE):
        x = y = max(x, y)
    elif output.fit in (Fit.CONTAIN, Fit.INSIDE):
        x = y = min(x, y)
    if output.without_enlargement:
        x, y = min(x, 1.0), min(y, 1.0)
    return x, y


def _span(length: int, share: float, anchor: float) -> tuple[float, float]:
    """The part of an axis, `share` of its `length`, that a crop keeps."""
    kept = min(float(length), length * share)
    start = (length - kept) * anchor
    return start, start + kept


def _pixels(length: float) -> int:
    return max(1, int(length + 0.5))
