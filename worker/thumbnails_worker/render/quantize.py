"""Reduces pictures to the 256 colours of a GIF: dithered when still, one steady palette when animated."""

import math
from collections.abc import Sequence
from typing import Final

from PIL import Image

_COLOURS: Final = 256
_VISIBLE_FROM: Final = 128  # GIF knows no half transparent
_SAMPLES: Final = 16  # frames that the palette of an animation is made from
_SAMPLE_PIXELS: Final = 50_000


def to_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures in mode P with one palette of different colours.

    Its last one is transparent where that is needed: in an animation always, since a frame need not say
    again what has not changed. Frames are not dithered: noise that changes from frame to frame flickers,
    and compresses badly.
    """
    animated = len(pictures) > 1
    masks = [_transparent(picture) for picture in pictures]
    opaque = [picture.convert("RGB") for picture in pictures]
    clear = animated or any(mask is not None for mask in masks)
    colours = _colours(opaque, _COLOURS - 1 if clear else _COLOURS)
    palette = Image.new("P", (1, 1))
    palette.putpalette(bytes(level for colour in colours for level in colour))
    dither = Image.Dither.NONE if animated else Image.Dither.FLOYDSTEINBERG
    if clear:
        unused = next(grey for grey in range(_COLOURS) if (grey, grey, grey) not in colours)
        table = bytes(level for colour in (*colours, (unused,) * 3) for level in colour)
    reduced = []
    for picture, mask in zip(opaque, masks, strict=True):
        indexed = picture.quantize(palette=palette, dither=dither)
        if clear:
            indexed.putpalette(table)
            indexed.info["transparency"] = len(colours)
            if mask is not None:
                indexed.paste(len(colours), mask=mask)
        reduced.append(indexed)
    return reduced


def is_clear_somewhere(pictures: Sequence[Image.Image]) -> bool:
    """Whether any of these (as `to_palette` gives them) has a transparent pixel."""
    return any(
        picture.histogram()[picture.info["transparency"]]
        for picture in pictures
        if "transparency" in picture.info
    )


def _transparent(picture: Image.Image) -> Image.Image | None:
    """The mask (L, 255 is transparent) of what becomes transparent; None when nothing does."""
    if picture.mode != "RGBA":
        return None
    mask = picture.getchannel("A").point([255 if alpha < _VISIBLE_FROM else 0 for alpha in range(256)])
    return mask if mask.getbbox() else None


def _colours(pictures: Sequence[Image.Image], most: int) -> list[tuple[int, ...]]:
    """At most so many different colours that suit all of these."""
    samples = pictures[:: -(-len(pictures) // _SAMPLES)]
    width, height = samples[0].size
    # Of large pictures some of their pixels are enough; not means of them, which are other colours.
    share = min(1.0, math.sqrt(_SAMPLE_PIXELS / (width * height * len(samples))))
    width, height = math.ceil(width * share), math.ceil(height * share)
    sheet = Image.new("RGB", (width, height * len(samples)))
    for index, sample in enumerate(samples):
        sheet.paste(sample.resize((width, height), Image.Resampling.NEAREST), (0, index * height))
    reduced = sheet.quantize(most, method=Image.Quantize.MEDIANCUT, kmeans=1)
    levels = reduced.getpalette("RGB") or []
    return list(dict.fromkeys(zip(levels[::3], levels[1::3], levels[2::3], strict=True)))
