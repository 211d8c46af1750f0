"""`position: attention` keeps what is interesting, and the middle where nothing is."""

import pytest
from PIL import Image, ImageDraw

from thumbnails_worker.render.attention import best_anchor, find_anchor

WIDE = (0.25, 1.0)  # a quarter of the width is kept


def _canvas(colour: str = "grey") -> Image.Image:
    return Image.new("RGBA", (400, 100), colour)


def _with(colour: str, left: int, canvas: Image.Image) -> Image.Image:
    ImageDraw.Draw(canvas).rectangle((left, 20, left + 40, 80), fill=colour)
    return canvas


@pytest.mark.parametrize("left", [0, 50, 180, 300, 359])
@pytest.mark.parametrize("colour", ["red", "white", "black", "#e0ac80"])
def test_the_crop_holds_what_stands_out(colour: str, left: int) -> None:
    across, down = find_anchor(_with(colour, left, _canvas()), WIDE)
    begin = across * 300
    assert begin - 8 <= left
    assert left + 40 <= begin + 100 + 8
    assert down == 0.5


def test_rows_are_chosen_as_columns_are() -> None:
    upright = _with("red", 300, _canvas()).rotate(-90, expand=True)
    across, down = find_anchor(upright, (1.0, 0.25))
    assert across == 0.5
    assert down > 0.65


@pytest.mark.parametrize("colour", ["grey", "white", "black", "red"])
def test_the_middle_is_kept_where_nothing_stands_out(colour: str) -> None:
    assert find_anchor(_canvas(colour), WIDE) == pytest.approx((0.5, 0.5), abs=0.02)


def test_skin_is_preferred_to_another_colour_as_light() -> None:
    canvas = _with("#a0b4c8", 20, _with("#c89678", 340, _canvas("#b0b0b0")))
    assert find_anchor(canvas, WIDE)[0] > 0.7


def test_what_cannot_be_seen_counts_for_nothing() -> None:
    canvas = _with("red", 340, _canvas())
    hidden = _with("yellow", 20, canvas.copy())
    mask = Image.new("L", canvas.size, 255)
    ImageDraw.Draw(mask).rectangle((15, 15, 65, 85), fill=0)
    hidden.putalpha(mask)
    assert find_anchor(hidden, WIDE)[0] > 0.6


def test_an_edge_is_worth_a_third_more_than_the_middle() -> None:
    assert best_anchor(bytes([100, 0, 0, 0, 90, 0, 0, 0, 0]), 1 / 9) == 0.5
    assert best_anchor(bytes([140, 0, 0, 0, 90, 0, 0, 0, 0]), 1 / 9) == 0


def test_a_crop_that_keeps_all_has_no_choice() -> None:
    assert best_anchor(bytes(range(10)), 1.0) == 0.5
    assert find_anchor(Image.new("RGBA", (1, 1)), (1.0, 1.0)) == (0.5, 0.5)
