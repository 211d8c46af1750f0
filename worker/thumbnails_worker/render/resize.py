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


def resize_with_pillow(image: Image.Image, box: Box, size: Size) -> Image.Image:
    """The port's implementation that is always there."""
    if image.mode == "RGBA":
        return image.convert("RGBa").resize(size, Image.Resampling.LANCZOS, box).convert("RGBA")
    # reducing_gap=None: Pillow's exact convolution
    return image.resize(size, Image.Resampling.LANCZOS, box)


def load_cykooz() -> Resize | None:
    """The SIMD implementation, or None where the package is not installed."""
    try:
        from cykooz_resizer import (  # noqa: PLC0415 - an optional package
            FilterType,
            ResizeAlg,
            ResizeOptions,
            Resizer,
        )
        from cykooz_resizer.structs import CropBox  # noqa: PLC0415 - as above
    except ImportError:
        return None
    resizer = Resizer()
    lanczos = ResizeAlg.convolution(FilterType.lanczos3)

    def resize_with_cykooz(image: Image.Image, box: Box, size: Size) -> Image.Image:
        left, top, right, bottom = box
        # Rust aborts the process when it gets no memory: let Python ask for as much first, and fail softly.
        premultiplied = image.width * image.height if image.mode == "RGBA" else 0
        bytearray(4 * (size[0] * (image.height + size[1]) + premultiplied))
        target = Image.new(image.mode, size)
        options = ResizeOptions(
            resize_alg=lanczos,
            crop_box=CropBox(left, top, right - left, bottom - top),
            use_alpha=image.mode == "RGBA",
        )
        resizer.resize_pil(image, target, options)
        return target

    return resize_with_cykooz
