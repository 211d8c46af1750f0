"""Turns geometry, and then the small picture, by the eight EXIF orientations (Exif 2.32, 4.6.4 A).

Crops and sizes are computed for the picture as displayed. They are carried over to the pixels as
stored, and only the finished thumbnail is turned: turning 100 x 100 pixels instead of 12 million.
"""

from typing import Final

from PIL import Image

from .geometry import Box, Size

EXIF_ORIENTATION: Final = 0x0112  # the tag
UPRIGHT: Final = 1

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES: Final = frozenset({5, 6, 7, 8})
# Displayed x (or y) runs against the stored axis that it lies along.
_X_REVERSED: Final = frozenset({2, 3, 6, 7})
_Y_REVERSED: Final = frozenset({3, 4, 7, 8})


def parse_orientation(value: object) -> int:
    """1..8; anything else that a file says there means upright."""
    return value if isinstance(value, int) and value in _TRANSPOSE else UPRIGHT


def turn_size(size: Size, orientation: int) -> Size:
    """The displayed size of stored pixels; its own inverse."""
    return (size[1], size[0]) if orientation in _SWAPS_SIDES else size


def to_stored(box: Box, displayed: Size, orientation: int) -> Box:
    """The stored pixels that a box of the displayed picture (of size `displayed`) is made from."""
    left, top, right, bottom = box
    width, height = displayed
    if orientation in _X_REVERSED:
        left, right = width - right, width - left
    if orientation in _Y_REVERSED:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in _SWAPS_SIDES else (left, top, right, bottom)


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Stored pixels as they are to be displayed."""
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)
