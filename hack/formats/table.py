"""All kinds of file, in the order of the page."""

from typing import Final

from . import gif, jpeg, png, tiff, webp
from .kind import Kind

KINDS: Final[tuple[Kind, ...]] = (*jpeg.KINDS, *png.KINDS, *webp.KINDS, *gif.KINDS, *tiff.KINDS)
