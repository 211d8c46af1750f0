"""Reduces pictures to the 256 colours of a GIF: dithered when still, one steady palette when animated."""

from collections.abc import Sequence
from typing import Final

from PIL import Image

_COLOURS: Final = 256
_VISIBLE_FROM: Final = 128  # GIF knows no half transparent
_SAMPLES: Final = 16  # frames that the palette of an animation is made from


def to_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures in mode P with one palette; its last index is transparent where that is needed.

    Frames are not dithered: noise that changes from frame to frame flickers, and compresses badly.
    """
    masks = [_transparent(picture) for picture in pictures]
    opaque = [picture.convert("RGB") for picture in pictures]
    clear = any(mask is not None for mask in masks)
    palette = _palette(opaque, _COLOURS - 1 if clear else _COLOURS)
    dither = Image.Dither.FLOYDSTEINBERG if len(pictures) == 1 else Image.Dither.NONE
    reduced = []
    for picture, mask in zip(opaque, masks, strict=True):
        indexed = picture.quantize(palette=palette, dither=dither)
        if clear:
            indexed.info["transparency"] = _COLOURS - 1
            if mask is not None:
                indexed.paste(_COLOURS - 1, mask=mask)
        reduced.append(indexed)
    return reduced


def _transparent(picture: Image.Image) -> Image.Image | None:
    """The mask (L, 255 is transparent) of what becomes transparent; None when nothing does."""
    if picture.mode != "RGBA":
        return None
    mask = picture.getchannel("A").point([255 if alpha < _VISIBLE_FROM else 0 for alpha in range(256)])
    return mask if mask.getbbox() else None


def _palette(pictures: Sequence[Image.Image], colours: int) -> Image.Image:
    """A picture whose palette suits all of these."""
    step = -(-len(pictures) // _SAMPLES)
    samples = pictures[::step]
    width, height = samples[0].size
    sheet = Image.new("RGB", (width, height * len(samples)))
    for index, sample in enumerate(samples):
        sheet.paste(sample, (0, index * height))
    return sheet.quantize(colours, method=Image.Quantize.MEDIANCUT)
