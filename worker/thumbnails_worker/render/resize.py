"""Scales a box of a picture to a size with Lanczos3: by `cykooz.resizer` where its wheel exists, else Pillow.

Both premultiply alpha, so that the colour of transparent pixels does not bleed into visible ones.
The two differ by a few levels of 255 at most.
"""

from collections.abc import Callable
from typing import Final

from PIL import Image

from .geometry import Box, Size

# (picture in one of MODES, box in its pixels, size) -> a new picture of that mode and size
Resize = Callable[[Image.Image, Box, Size], Image.Image]

MODES: Final = frozenset({"L", "RGB", "RGBA", "CMYK"})

# A picture that is to become many times smaller is first shrunk by a whole number, each pixel the mean of
# those it stands for, while the filter still has three times as many pixels as it makes: that takes half the
# time or less, and changes nothing that can be seen (Pillow's documentation of `reducing_gap`).
_GAP: Final = 3.0
_LANCZOS_RADIUS: Final = 3

# Of the memory that cykooz works in: enough for twelve megapixels with alpha.
_MOST_KEPT_BYTES: Final = 64 << 20


def resize_with_pillow(image: Image.Image, box: Box, size: Size) -> Image.Image:
    """The port's implementation that is always there."""
    if image.mode == "RGBA":
        premultiplied = image.convert("RGBa")
        return premultiplied.resize(size, Image.Resampling.LANCZOS, box, _GAP).convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS, box, _GAP)


class CykoozResize:
    """The SIMD implementation of the port, where its package is installed.

    Its resizer keeps the memory that it works in, which is a copy of the picture where alpha is multiplied
    in: the next picture finds it ready, as it finds what malloc keeps.
    """

    def __init__(self) -> None:
        """Raises ImportError where the package does not exist."""
        import cykooz_resizer  # noqa: PLC0415 - an optional package
        from cykooz_resizer.structs import CropBox  # noqa: PLC0415 - as above

        self._make_resizer, self._options = cykooz_resizer.Resizer, cykooz_resizer.ResizeOptions
        self._crop_box = CropBox
        self._lanczos = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.lanczos3)
        self.give_back()

    def give_back(self) -> None:
        """Keep nothing for the next picture."""
        self._resizer = self._make_resizer()

    def __call__(self, image: Image.Image, box: Box, size: Size) -> Image.Image:
        """See `Resize`."""
        if image.size != image.im.size:  # Rust takes the first as the number of pixels that there are
            raise ValueError("a picture with two sizes")
        if image.mode != "RGBA":  # that would have to be premultiplied first, which takes as long as it saves
            image, box = _shrink(image, box, size)
        left, top, right, bottom = box
        # Rust aborts the process when it gets no memory: let Python ask for as much first, and fail softly.
        premultiplied = image.width * image.height if image.mode == "RGBA" else 0
        working_bytes = 4 * (size[0] * (image.height + size[1]) + premultiplied)
        bytearray(working_bytes)
        target = Image.new(image.mode, size)
        options = self._options(
            resize_alg=self._lanczos,
            crop_box=self._crop_box(left, top, right - left, bottom - top),
            use_alpha=image.mode == "RGBA",
        )
        self._resizer.resize_pil(image, target, options)
        if working_bytes > _MOST_KEPT_BYTES:
            self.give_back()
        return target


def load_cykooz() -> CykoozResize | None:
    """The SIMD implementation, or None where the package is not installed."""
    try:
        return CykoozResize()
    except ImportError:
        return None


def _shrink(image: Image.Image, box: Box, size: Size) -> tuple[Image.Image, Box]:
    """The picture shrunk by whole numbers as far as the gap allows, and the box in it."""
    lengths = (box[2] - box[0], box[3] - box[1])
    x, y = (max(1, int(length / pixels / _GAP)) for length, pixels in zip(lengths, size, strict=True))
    if x == y == 1:
        return image, box
    # The filter also looks at what lies just outside the box.
    reach = [_LANCZOS_RADIUS * length / pixels for length, pixels in zip(lengths, size, strict=True)]
    left, top = max(0, int(box[0] - reach[0])), max(0, int(box[1] - reach[1]))
    right = min(image.width, int(box[2] + reach[0]) + 1)
    bottom = min(image.height, int(box[3] + reach[1]) + 1)
    small = image.reduce((x, y), (left, top, right, bottom))
    return small, ((box[0] - left) / x, (box[1] - top) / y, (box[2] - left) / x, (box[3] - top) / y)
