"""Decides what a crop with `position: attention` keeps: where edges, saturation and skin tones are.

The signals are those of libvips' and sharp's strategy of the same name. On a copy of at most 64 pixels a
side, each pixel gets an interest of 0..255: half of it is how strong an edge runs there (a Laplacian of the
lightness), a quarter how saturated its colour is at its brightness, a quarter whether it has the hue and the
saturation of skin. Transparent pixels have none. A crop takes away columns or rows: of all windows that are
as long as what it keeps, the one with the largest sum of interest is taken. One at the very edge has to have
a third more than one in the middle, so that a picture in which nothing stands out is cropped around its
centre. The same picture always gives the same crop; in an animation, the first frame decides for all.
"""

from typing import Final

from PIL import Image, ImageChops, ImageFilter

from .geometry import Size

_SIDE: Final = 64
_CENTRE_WEIGHT: Final = 0.25
# Hues of skin lie in 0..25 and 340..360 degrees, at a middle saturation (HSV, 0..255 in Pillow).
_SKIN_HUES: Final = [255 if hue <= 18 or hue >= 241 else 0 for hue in range(256)]  # noqa: PLR2004 - as above
_SKIN_SATURATIONS: Final = [255 if 40 <= level <= 170 else 0 for level in range(256)]  # noqa: PLR2004 - as above


def find_anchor(image: Image.Image, share: tuple[float, float]) -> tuple[float, float]:
    """The (x, y) anchor, each 0..1, of the crop with most interest; `share` is what it keeps of each axis."""
    scale = min(1.0, _SIDE / max(image.size))
    size: Size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.convert("RGBA").resize(size, Image.Resampling.BOX)
    interest = _interest(small)
    columns = interest.resize((size[0], 1), Image.Resampling.BOX).tobytes()
    rows = interest.resize((1, size[1]), Image.Resampling.BOX).tobytes()
    return best_anchor(columns, share[0]), best_anchor(rows, share[1])


def best_anchor(weights: bytes, share: float) -> float:
    """Where (0..1) the window of `share` of the weights holds most of them; the middle when it is all one."""
    kept = max(1, round(len(weights) * share))
    choices = len(weights) - kept
    if choices <= 0:
        return 0.5
    best, anchor = -1.0, 0.5
    total = sum(weights[:kept])
    for start in range(choices + 1):
        if start:
            total += weights[start + kept - 1] - weights[start - 1]
        off_centre = abs(2 * start / choices - 1)
        score = (total + kept) * (1 - _CENTRE_WEIGHT * off_centre**2)
        if score > best:
            best, anchor = score, start / choices
    return anchor


def _interest(small: Image.Image) -> Image.Image:
    """Interest of each pixel, mode L; transparent pixels have none."""
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small.getchannel("A"))
    hue, saturation, value = opaque.convert("HSV").split()
    edges = opaque.convert("L").filter(ImageFilter.FIND_EDGES)
    edges.paste(0, (0, 0, small.width, 1))  # the filter leaves the picture's own border as it was
    edges.paste(0, (0, small.height - 1, small.width, small.height))
    edges.paste(0, (0, 0, 1, small.height))
    edges.paste(0, (small.width - 1, 0, small.width, small.height))
    skin = ImageChops.multiply(hue.point(_SKIN_HUES), saturation.point(_SKIN_SATURATIONS))
    colour = ImageChops.add(ImageChops.multiply(saturation, value), skin, scale=2)
    return ImageChops.multiply(ImageChops.add(edges, colour, scale=2), small.getchannel("A"))
