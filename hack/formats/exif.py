"""EXIF blocks with an orientation, and pictures as such files store them."""

import struct

import numpy as np

from .kind import Pixels


def block(orientation: int, *, big_endian: bool = False) -> bytes:
    """A TIFF structure with one entry, the orientation (Exif 2.32, 4.6.4 A)."""
    order = ">" if big_endian else "<"
    start = b"MM\0*" if big_endian else b"II*\0"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def stored(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels that a file holds so that, with this orientation, they are seen as given.

    Row 0 and column 0 of what is stored are, in this order of orientations: top left, top right, bottom
    right, bottom left, left top, right top, right bottom, left bottom.
    """
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: np.swapaxes(pixels, 0, 1),
        6: np.swapaxes(pixels[:, ::-1], 0, 1),
        7: np.swapaxes(pixels[::-1, ::-1], 0, 1),
        8: np.swapaxes(pixels[::-1], 0, 1),
    }[orientation]
    return np.ascontiguousarray(turned)
