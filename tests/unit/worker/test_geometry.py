"""Fits and positions: numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract.spec import Fit, Output, Position
from thumbnails_worker.render.geometry import anchor_of, place, slack
from thumbnails_worker.render.orient import to_stored, turn_size

sides = st.integers(1, 20_000)
boxes = st.integers(1, 4_096)
sizes = st.tuples(sides, sides)
positions = st.sampled_from(Position)


@st.composite
def outputs(draw: st.DrawFn) -> Output:
    width, height = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return Output(
        width=draw(boxes) if width else None,
        height=draw(boxes) if height else None,
        fit=draw(st.sampled_from(Fit)),
        position=draw(positions),
        without_enlargement=draw(st.booleans()),
    )


@pytest.mark.parametrize(
    ("fit", "canvas", "size"),
    [
        (Fit.COVER, (100, 100), (100, 100)),
        (Fit.CONTAIN, (100, 100), (100, 50)),
        (Fit.INSIDE, (100, 50), (100, 50)),
        (Fit.OUTSIDE, (200, 100), (200, 100)),
        (Fit.FILL, (100, 100), (100, 100)),
    ],
)
def test_each_fit_of_a_wide_picture(fit: Fit, canvas: tuple[int, int], size: tuple[int, int]) -> None:
    placement = place((400, 200), Output(width=100, height=100, fit=fit), (0.5, 0.5))
    assert (placement.canvas, placement.size) == (canvas, size)


@pytest.mark.parametrize("fit", Fit)
def test_a_side_left_out_follows_the_aspect_ratio(fit: Fit) -> None:
    assert place((2725, 2225), Output(width=720, fit=fit), (0.5, 0.5)).canvas == (720, 588)
    assert place((2725, 2225), Output(height=588, fit=fit), (0.5, 0.5)).canvas == (720, 588)


def test_cover_keeps_the_side_that_the_position_names() -> None:
    output = Output(width=100, height=100)
    assert place((400, 200), output, anchor_of(Position.LEFT)).crop == (0, 0, 200, 200)
    assert place((400, 200), output, anchor_of(Position.CENTER)).crop == (100, 0, 300, 200)
    assert place((400, 200), output, anchor_of(Position.BOTTOM_RIGHT)).crop == (200, 0, 400, 200)
    assert place((200, 400), output, anchor_of(Position.BOTTOM)).crop == (0, 200, 200, 400)


def test_contain_puts_the_picture_where_the_position_says() -> None:
    output = Output(width=100, height=100, fit=Fit.CONTAIN, position=Position.TOP)
    assert place((400, 200), output, (0.5, 0.5)).offset == (0, 0)
    output = Output(width=100, height=100, fit=Fit.CONTAIN, position=Position.RIGHT)
    assert place((200, 400), output, (0.5, 0.5)).offset == (50, 0)


@pytest.mark.parametrize(
    ("fit", "canvas"),
    [
        (Fit.COVER, (40, 20)),
        (Fit.CONTAIN, (100, 100)),
        (Fit.INSIDE, (40, 20)),
        (Fit.OUTSIDE, (40, 20)),
        (Fit.FILL, (40, 20)),
    ],
)
def test_a_small_picture_is_not_enlarged_when_asked(fit: Fit, canvas: tuple[int, int]) -> None:
    output = Output(width=100, height=100, fit=fit, without_enlargement=True)
    assert place((40, 20), output, (0.5, 0.5)).canvas == canvas


def test_cover_without_enlargement_still_cuts_the_long_side() -> None:
    output = Output(width=100, height=100, without_enlargement=True)
    placement = place((400, 50), output, (0.5, 0.5))
    assert (placement.canvas, placement.crop) == ((100, 50), (150, 0, 250, 50))


@given(sizes, outputs())
def test_every_placement_is_sound(source: tuple[int, int], output: Output) -> None:
    placement = place(source, output, anchor_of(output.position))
    left, top, right, bottom = placement.crop
    assert 0 <= left < right <= source[0] + 1e-6
    assert 0 <= top < bottom <= source[1] + 1e-6
    for axis in (0, 1):
        assert 1 <= placement.size[axis] <= placement.canvas[axis]
        assert 0 <= placement.offset[axis] <= placement.canvas[axis] - placement.size[axis]
    if output.without_enlargement:
        assert placement.size[0] <= source[0]
        assert placement.size[1] <= source[1]


@given(sizes, boxes, boxes, positions)
def test_inside_and_contain_stay_within_the_box_and_touch_it(
    source: tuple[int, int], width: int, height: int, position: Position
) -> None:
    for fit in (Fit.INSIDE, Fit.CONTAIN):
        placement = place(source, Output(width=width, height=height, fit=fit, position=position), (0.5, 0.5))
        assert placement.size[0] <= width
        assert placement.size[1] <= height
        assert placement.size[0] == width or placement.size[1] == height


@given(sizes, boxes, boxes)
def test_cover_fills_the_box_exactly_and_outside_covers_it(
    source: tuple[int, int], width: int, height: int
) -> None:
    assert place(source, Output(width=width, height=height), (0.5, 0.5)).size == (width, height)
    outside = place(source, Output(width=width, height=height, fit=Fit.OUTSIDE), (0.5, 0.5)).size
    assert outside[0] >= width
    assert outside[1] >= height


@given(sizes, outputs().filter(lambda output: output.fit is not Fit.FILL))
def test_the_aspect_ratio_is_kept_within_a_pixel(source: tuple[int, int], output: Output) -> None:
    placement = place(source, output, anchor_of(output.position))
    left, top, right, bottom = placement.crop
    width, height = placement.size
    # There is one scale that gives both sides, each within a pixel.
    least = max((width - 1) / (right - left), (height - 1) / (bottom - top))
    most = min((width + 1) / (right - left), (height + 1) / (bottom - top))
    assert least <= most


@given(sizes, outputs())
def test_slack_is_where_something_is_cut(source: tuple[int, int], output: Output) -> None:
    if output.fit is not Fit.COVER:
        assert slack(source, output) == (False, False)


@given(sizes, st.integers(1, 8), st.data())
def test_a_box_turned_back_lies_in_the_stored_picture(
    stored: tuple[int, int], orientation: int, data: st.DataObject
) -> None:
    displayed = turn_size(stored, orientation)
    left = data.draw(st.integers(0, displayed[0] - 1))
    top = data.draw(st.integers(0, displayed[1] - 1))
    right = data.draw(st.integers(left + 1, displayed[0]))
    bottom = data.draw(st.integers(top + 1, displayed[1]))
    box = to_stored((left, top, right, bottom), displayed, orientation)
    assert 0 <= box[0] < box[2] <= stored[0]
    assert 0 <= box[1] < box[3] <= stored[1]
    assert (box[2] - box[0], box[3] - box[1]) == turn_size((right - left, bottom - top), orientation)
