"""Decodes TIFFs whose samples Pillow does not put together: planes of 16 bits, floats, inks with alpha.

Each channel is decoded as a grey picture of its own (`tiff.cut`), and they are merged here.
"""

import io
import mmap
from functools import cache
from typing import Final

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from . import tiff
from .colour import to_srgb
from .modes import sixteen_bits_to_8

Data = bytes | mmap.mmap

_CHANNELS: Final = {tiff.WHITE_IS_ZERO: 1, tiff.BLACK_IS_ZERO: 1, tiff.RGB: 3, tiff.CMYK: 4}
_MOST: Final = 65_535


@cache  # it takes 30 ms, and hardly a picture needs it
def _light_to_levels() -> list[int]:
    """For `Image.point`: sRGB's 8-bit level of each 16-bit amount of light (IEC 61966-2-1)."""
    return [
        round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))  # noqa: PLR2004 - the standard's
        for light in (amount / _MOST for amount in range(_MOST + 1))
    ]


def can_decode(layout: tiff.Layout) -> bool:
    """Whether this module knows how to decode such a file."""
    channels = _CHANNELS.get(layout.photometric)
    if channels is None or not channels <= layout.samples <= channels + 2:
        return False
    bits = set(layout.bits)
    if len(layout.bits) not in (1, layout.samples) or len(bits) != 1:
        return False
    if layout.sample_format == tiff.FLOAT:
        known = bits == {32} and layout.photometric != tiff.CMYK
    else:
        known = layout.sample_format == tiff.UNSIGNED and bits <= {8, 16}
    # A predictor, and JPEG, work across the channels of a pixel, but for planes.
    alone = layout.planar or (layout.predictor == 1 and layout.compression != tiff.JPEG)
    return known and alone and layout.compression != tiff.OLD_JPEG


def is_needed(layout: tiff.Layout) -> bool:
    """Whether Pillow would give wrong pixels and not say so."""
    return layout.planar and layout.samples > 1 and set(layout.bits) == {16}


def decode(data: Data, directory: tiff.Directory, layout: tiff.Layout) -> Image.Image:
    """The picture as L, RGB, RGBA or CMYK, not yet turned. Raises what Pillow raises, and ValueError.

    Inks with alpha are given as RGBA, in sRGB.
    """
    channels = _CHANNELS[layout.photometric]
    alpha = next((kind for kind in layout.extra[:1] if kind in (tiff.ASSOCIATED, tiff.UNASSOCIATED)), None)
    wanted = channels + (alpha is not None)
    planes = _planes(data, directory, layout, wanted)
    is_light = layout.sample_format == tiff.FLOAT and layout.photometric == tiff.RGB
    colours = [_levels(plane, is_light=is_light) for plane in planes[:channels]]
    if layout.photometric == tiff.WHITE_IS_ZERO:
        colours = [plane.point([255 - level for level in range(256)]) for plane in colours]
    if wanted == channels:
        return colours[0] if channels == 1 else Image.merge("RGB" if channels == 3 else "CMYK", colours)  # noqa: PLR2004 - channels
    opacity = _levels(planes[channels], is_light=False)
    if layout.photometric == tiff.CMYK:
        inks = Image.merge("CMYK", colours)
        colours = list(to_srgb(inks, directory.content(data, tiff.PROFILE)).split())
        return Image.merge("RGBA", [*colours, opacity])
    if channels == 1:
        colours *= 3
    if alpha == tiff.ASSOCIATED:
        return Image.merge("RGBa", [*colours, opacity]).convert("RGBA")
    return Image.merge("RGBA", [*colours, opacity])


def needed_bytes(layout: tiff.Layout) -> int:
    """What `decode` takes at most: all channels as stored, one that is converted, and the result."""
    pixels = layout.width * layout.length
    stored = 4 * pixels * layout.samples
    return stored + max(stored, 8 * pixels) + pixels * (layout.samples + 8)


def _planes(data: Data, directory: tiff.Directory, layout: tiff.Layout, wanted: int) -> list[Image.Image]:
    """The first channels, each mode I;16 (or I;16B) or F."""
    alone: dict[int, tuple[int, ...] | None] = {
        tiff.SAMPLES: (1,),
        tiff.BITS: layout.bits[:1],
        tiff.SAMPLE_FORMAT: (layout.sample_format,),
        tiff.PHOTOMETRIC: (tiff.BLACK_IS_ZERO,),
        tiff.PLANAR: (1,),
        tiff.EXTRA_SAMPLES: None,
        tiff.PROFILE: None,
    }
    if layout.planar:
        each = directory.pieces // layout.samples
        return [
            _load(tiff.cut(data, directory, range(index * each, (index + 1) * each), alone))
            for index in range(wanted)
        ]
    # All samples of a row beside each other, as a picture that is so many times wider.
    alone[tiff.WIDTH] = (layout.width * layout.samples,)
    if layout.is_tiled:
        alone[tiff.TILE_WIDTH] = (directory.integer(data, tiff.TILE_WIDTH, 0) * layout.samples,)
    together = _load(tiff.cut(data, directory, None, alone))
    if layout.samples == 1:
        return [together]
    return [
        together.transform(
            (layout.width, layout.length),
            Image.Transform.AFFINE,
            (layout.samples, 0, index + 0.5 - layout.samples / 2, 0, 1, 0),
            Image.Resampling.NEAREST,
        )
        for index in range(wanted)
    ]


def _load(file: bytes) -> Image.Image:
    image = TiffImageFile(io.BytesIO(file))
    image.load()
    return image


def _levels(plane: Image.Image, *, is_light: bool) -> Image.Image:
    """8 bits of a channel: levels of 8 or 16 bits, or floats of 0..1."""
    if plane.mode == "L":
        return plane
    if plane.mode == "F":
        table = _light_to_levels() if is_light else sixteen_bits_to_8()
        return plane.point(lambda level: level * _MOST).convert("I").point(table, "L")
    return plane.convert("I").point(sixteen_bits_to_8(), "L")
