"""Brings what decoders give (Pillow modes) into the four that are resized: L, RGB, RGBA and CMYK."""

from functools import cache
from typing import Final

from PIL import Image

from .resize import MODES

# Bytes a pixel in Pillow's memory (Storage.c: everything that is not one channel takes four).
PIXEL_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}

GREY_MODES: Final = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

_LEVELS_16_BIT: Final = 65_535
_LEVELS_8_BIT: Final = 255


@cache  # it takes 10 ms, and few pictures need it
def sixteen_bits_to_8() -> list[int]:
    """For `Image.point`: the 8-bit level of each 16-bit one."""
    return [round(level / 257) for level in range(_LEVELS_16_BIT + 1)]


def has_alpha(image: Image.Image) -> bool:
    """Whether some of the picture may be transparent."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info


def working_bytes(image: Image.Image) -> int:
    """Bytes a pixel of what `to_working` makes beside the picture, at its peak; 0 when it makes nothing."""
    mode = image.mode
    if mode == "RGBA" or (mode in MODES and "transparency" not in image.info):
        return 0
    if mode.startswith("I;16"):
        return 4 + 1 if "transparency" not in image.info else 4 + 1 + 1 + 4
    if mode in {"I", "F"}:
        return 4 + 4 + 1
    return 1 if mode == "1" and not has_alpha(image) else 4


def to_working(image: Image.Image) -> Image.Image:
    """The same picture in one of the modes that are resized, 8 bits a channel."""
    mode = image.mode
    if mode == "RGBA" or (mode in MODES and "transparency" not in image.info):
        return image
    if mode.startswith("I;16"):
        return _from_16_bits(image)
    if mode == "I":
        return _from_integers(image)
    if mode == "F":
        return _from_floats(image)
    if has_alpha(image):
        return image.convert("RGBA")
    return image.convert("L" if mode == "1" else "RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Of 16-bit grey, one level may be transparent: that very one, and not those that look like it."""
    wide = image.convert("I")
    grey = wide.point(sixteen_bits_to_8(), "L")
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    opaque = [_LEVELS_8_BIT] * (_LEVELS_16_BIT + 1)
    opaque[transparent & _LEVELS_16_BIT] = 0
    return Image.merge("RGBA", (grey, grey, grey, wide.point(opaque, "L")))


def _from_integers(image: Image.Image) -> Image.Image:
    """32-bit integers: 16-bit values as they are meant, larger ones by their own range."""
    _low, high = _extrema(image)
    if high > _LEVELS_16_BIT:
        scaled = image.point(lambda level: level * (_LEVELS_16_BIT / high))
        return scaled.point(sixteen_bits_to_8(), "L")
    return image.point(sixteen_bits_to_8(), "L")


def _from_floats(image: Image.Image) -> Image.Image:
    """Floats: 0..1, 0..255 or 0..65535, whichever the largest value fits into."""
    _low, high = _extrema(image)
    full = next((level for level in (1.0, _LEVELS_8_BIT, _LEVELS_16_BIT) if high <= level), high)
    return image.point(lambda level: level * (_LEVELS_8_BIT / full)).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return low, high
