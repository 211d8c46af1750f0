"""The pictures that all files of the table are made from: structure and colour in every corner.

A flip, a turn, swapped channels, a missing gamma or a profile that was not applied changes most of their
pixels. Transparent pixels have a loud colour of their own, so that it shows where it bleeds.
"""

from functools import cache

import numpy as np
from PIL import Image

from .kind import Pixels

WIDTH, HEIGHT = 160, 120


def as_bytes(levels: np.ndarray) -> Pixels:
    """Levels, 0..255, as whole numbers."""
    rounded: Pixels = np.rint(levels).astype(np.uint8)
    return rounded


@cache
def colour(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """RGB: gradients, and shapes that differ in each quarter."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    picture = np.stack([40 + 190 * x, 50 + 170 * y, 220 - 150 * (x + y) / 2], axis=-1)
    picture[(x - 0.22) ** 2 + (y - 0.27) ** 2 < 0.02] = (230, 40, 30)
    picture[(x > 0.62) & (x < 0.95) & (y > 0.08) & (y < 0.3)] = (250, 250, 245)
    picture[(x > 0.05) & (x < 0.35) & (y > 0.7) & (y < 0.85)] = (20, 20, 40)
    picture[(x > 0.6) & (y > 0.6) & (x + y < 1.5)] = (30, 160, 60)
    picture[(x > 0.42) & (x < 0.52)] = (240, 200, 40)
    return np.rint(picture).astype(np.uint8)


@cache
def other(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """RGB: a second picture, for pages and frames that differ."""
    return np.ascontiguousarray(255 - colour(width, height)[:, ::-1])


@cache
def grey(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """One channel."""
    levels = colour(width, height) @ np.array([0.299, 0.587, 0.114])
    return as_bytes(levels)[..., None]


@cache
def bilevel(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """One channel of 0 and 255, in large shapes."""
    return np.where(grey(width, height) > 110, 255, 0).astype(np.uint8)


@cache
def opacity(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """The alpha channel: opaque at the left, then fading, and a hole."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    levels = np.clip(1.4 - x, 0, 1) * 255
    levels[(x - 0.5) ** 2 + (y - 0.6) ** 2 < 0.03] = 0
    return np.rint(levels)[..., None].astype(np.uint8)


@cache
def mask(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """An alpha channel of 0 and 255."""
    return np.where(opacity(width, height) > 150, 255, 0).astype(np.uint8)


def with_alpha(pixels: Pixels, alpha: Pixels) -> Pixels:
    """The picture with an alpha channel, and a loud colour where nothing is to be seen."""
    loud = np.where(alpha == 0, np.uint8(255) - pixels // 2, pixels)
    return np.concatenate([loud, alpha], axis=-1)


def colour_alpha() -> Pixels:
    """RGBA."""
    return with_alpha(colour(), opacity())


def grey_alpha() -> Pixels:
    """Grey and alpha."""
    return with_alpha(grey(), opacity())


@cache
def palette(colours: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[Pixels, Pixels]:
    """(indices, palette): the picture in so many colours; the palette has a row a colour."""
    image = Image.fromarray(colour(width, height)).quantize(colours, dither=Image.Dither.NONE)
    found = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:colours]
    table = np.zeros((colours, 3), np.uint8)
    table[: len(found)] = found
    return np.asarray(image), table


def indexed(colours: int) -> Pixels:
    """What the picture in so many colours looks like."""
    indices, table = palette(colours)
    return table[indices]


def posterized(pixels: Pixels, bits: int) -> Pixels:
    """The picture in so few bits a channel, spread over 0..255 again."""
    most = (1 << bits) - 1
    return np.rint(np.rint(pixels / 255 * most) * (255 / most)).astype(np.uint8)


def linear(pixels: Pixels) -> np.ndarray:
    """Light, 0..1, of sRGB levels (IEC 61966-2-1)."""
    level = pixels / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """SRGB levels, 0..1, of light."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def levels(shares: np.ndarray, most: int = 255) -> np.ndarray:
    """Shares, 0..1, as whole numbers up to `most`."""
    whole: np.ndarray = np.rint(np.clip(shares, 0, 1) * most).astype(np.uint8 if most <= 255 else np.uint16)
    return whole
