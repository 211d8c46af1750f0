"""Brings what decoders give (Pillow modes) into the four that are resized: L, RGB, RGBA and CMYK."""

from typing import Final

from PIL import Image

from .resize import MODES

# Bytes a pixel in Pillow's memory (Storage.c: everything that is not one channel takes four).
PIXEL_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}

GREY_MODES: Final = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

_LEVELS_16_BIT: Final = 65_535
_LEVELS_8_BIT: Final = 255
_16_BIT_TO_8: Final = [round(level / 257) for level in range(_LEVELS_16_BIT + 1)]


def has_alpha(image: Image.Image) -> bool:
    """Whether some of the picture may be transparent."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info


def working_bytes(image: Image.Image) -> int:
    """Bytes a pixel of the converted copy that `to_working` makes; 0 when it makes none."""
    if image.mode in MODES and not has_alpha(image):
        return 0
    return 0 if image.mode == "RGBA" else 1 if image.mode in {"1", "I;16", "I"} else 4


def to_working(image: Image.Image) -> Image.Image:
    """The same picture in one of the modes that are resized, 8 bits a channel."""
    mode = image.mode
    if mode == "RGBA" or (mode in MODES and "transparency" not in image.info):
        return image
    if mode.startswith("I;16"):
        return image.convert("I").point(_16_BIT_TO_8, "L")
    if mode == "I":
        return _from_integers(image)
    if mode == "F":
        return _from_floats(image)
    if has_alpha(image):
        return image.convert("RGBA")
    return image.convert("L" if mode == "1" else "RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """32-bit integers: 16-bit values as they are meant, larger ones by their own range."""
    _low, high = _extrema(image)
    if high > _LEVELS_16_BIT:
        scaled = image.point(lambda level: level * (_LEVELS_16_BIT / high))
        return scaled.point(_16_BIT_TO_8, "L")
    return image.point(_16_BIT_TO_8, "L")


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
