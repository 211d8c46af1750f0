"""Makes the placeholder of a thumbnail: some 25 bytes that a client shows while the picture is on its way.

ThumbHash (https://evanw.github.io/thumbhash/): the average colour and the lowest frequencies of a discrete
cosine transform of luminance, yellow-blue, red-green and, where the picture has it, alpha.
"""

import base64
import math
from collections.abc import Sequence
from functools import cache
from operator import mul
from typing import Final

from PIL import Image

# The picture is reduced to so many pixels first: the highest frequency has three and a half periods.
_SIDE, _LEAST_SIDE = 20, 8
_GAP: Final = 2  # what is left of a larger reduction by whole numbers, which is quicker
_FLAT: Final = 1e-9  # what sums of cosines leave of nothing
_MOST_FREQUENCIES, _MOST_FREQUENCIES_WITH_ALPHA = 7, 5

Rows = Sequence[Sequence[float]]


def thumbhash(image: Image.Image) -> str:
    """The hash of a picture (L, LA, RGB or RGBA) in base64."""
    return base64.b64encode(encode(image)).decode("ascii")


def encode(image: Image.Image) -> bytes:
    """The hash of a picture (L, LA, RGB or RGBA)."""
    small = _reduce(image)
    width, height = small.size
    red, green, blue, *rest = ([value / 255 for value in band.tobytes()] for band in small.split())
    if rest and (total := sum(rest[0])) < width * height:
        alpha = rest[0]
        red, green, blue = (_on_its_average(channel, alpha, total) for channel in (red, green, blue))
    else:
        alpha = []
    luminance = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    red_green = [r - g for r, g in zip(red, green, strict=True)]

    most = _MOST_FREQUENCIES_WITH_ALPHA if alpha else _MOST_FREQUENCIES
    across, down = (max(1, _round(most * side / max(image.size))) for side in image.size)
    l_dc, l_ac, l_scale = _transform(luminance, width, max(3, across), max(3, down))
    p_dc, p_ac, p_scale = _transform(yellow_blue, width, 3, 3)
    q_dc, q_ac, q_scale = _transform(red_green, width, 3, 3)

    landscape = image.width > image.height
    header = _round(63 * l_dc) | _round(31.5 + 31.5 * p_dc) << 6 | _round(31.5 + 31.5 * q_dc) << 12
    header |= _round(31 * l_scale) << 18 | bool(alpha) << 23
    more = (down if landscape else across) | _round(63 * p_scale) << 3 | _round(63 * q_scale) << 9
    more |= landscape << 15
    head = header.to_bytes(3, "little") + more.to_bytes(2, "little")
    nibbles = [*l_ac, *p_ac, *q_ac]
    if alpha:
        a_dc, a_ac, a_scale = _transform(alpha, width, 5, 5)
        head += bytes([_round(15 * a_dc) | _round(15 * a_scale) << 4])
        nibbles += a_ac
    if len(nibbles) % 2:
        nibbles.append(0)
    return head + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _reduce(image: Image.Image) -> Image.Image:
    """The picture with few pixels, as RGB or RGBa (premultiplied)."""
    if image.mode in {"LA", "RGBA"}:
        image = image.convert("RGBA").convert("RGBa")
    scale = _SIDE / max(image.size)
    width, height = (min(side, max(_LEAST_SIDE, round(side * scale))) for side in image.size)
    x, y = max(1, image.width // width // _GAP), max(1, image.height // height // _GAP)
    box = (0.0, 0.0, image.width / x, image.height / y)
    small = image.reduce((x, y)).resize((width, height), Image.Resampling.BOX, box)
    return small if small.mode == "RGBa" else small.convert("RGB")


def _on_its_average(channel: list[float], alpha: list[float], total: float) -> list[float]:
    """A premultiplied channel laid on the average of what is visible."""
    average = sum(channel) / total if total else 0.0
    return [value + average * (1 - opacity) for value, opacity in zip(channel, alpha, strict=True)]


def _transform(channel: list[float], width: int, across: int, down: int) -> tuple[float, list[int], float]:
    """The lowest frequencies: the constant one (DC), the others (AC) as 0..15, and their scale."""
    height = len(channel) // width
    rows = [channel[start : start + width] for start in range(0, len(channel), width)]
    # First along the rows, then down the columns of what that gives: a fraction of the work of both at once.
    columns = [[sum(map(mul, row, wave)) for row in rows] for wave in _waves(width, across)]
    count = width * height
    coefficients = [
        sum(map(mul, columns[x], wave)) / count
        for y, wave in enumerate(_waves(height, down))
        for x in range(-(-across * (down - y) // down))  # those in the triangle x/across + y/down < 1
    ]
    dc, *ac = coefficients
    scale = max(map(abs, ac), default=0.0)
    if scale < _FLAT:
        return dc, [0] * len(ac), 0.0
    return dc, [_round(15 * (0.5 + 0.5 / scale * value)) for value in ac], scale


@cache  # few lengths, asked for at every picture
def _waves(length: int, count: int) -> tuple[tuple[float, ...], ...]:
    """The first cosines over an axis."""
    return tuple(
        tuple(math.cos(math.pi / length * frequency * (position + 0.5)) for position in range(length))
        for frequency in range(count)
    )


def _round(value: float) -> int:
    """Half up, as the reference implementation does."""
    return int(value + 0.5)
