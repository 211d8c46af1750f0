"""Lays a resized picture on its canvas, and decides what becomes of transparency."""

from dataclasses import dataclass
from typing import Final

from PIL import Image

from thumbnails_contract.spec import TRANSPARENT

from .geometry import Placement

Colour = tuple[int, int, int, int]

_WHITE: Final = (255, 255, 255, 255)
_CLEAR: Final = (255, 255, 255, 0)
_OPAQUE: Final = 255


@dataclass(frozen=True, slots=True)
class Background:
    """`colour` lies behind the picture; `flatten`: it also shows through the picture's own transparency."""

    colour: Colour
    flatten: bool

    @property
    def grey(self) -> bool:
        """Whether a grey picture stays grey on it."""
        red, green, blue, _opacity = self.colour
        return red == green == blue


def parse_background(text: str | None, *, alpha: bool) -> Background:
    """What `#rrggbb`, `#rrggbbaa`, `transparent` or nothing means in a format with or without alpha."""
    if text is None or text == TRANSPARENT:
        return Background(_CLEAR, flatten=False) if alpha else Background(_WHITE, flatten=True)
    red, green, blue, *rest = bytes.fromhex(text.removeprefix("#"))
    opacity = rest[0] if rest else _OPAQUE
    if alpha:
        return Background((red, green, blue, opacity), flatten=True)
    over_white = [(level * opacity + 255 * (255 - opacity)) // 255 for level in (red, green, blue)]
    return Background((over_white[0], over_white[1], over_white[2], _OPAQUE), flatten=True)


def compose(image: Image.Image, placement: Placement, background: Background) -> Image.Image:
    """The whole canvas, mode L, RGB or RGBA; RGBA only when something on it may be transparent."""
    translucent = image.mode == "RGBA"
    if not placement.padded and not (translucent and background.flatten):
        return image
    red, green, blue, opacity = background.colour
    if opacity < _OPAQUE or (translucent and not background.flatten):
        canvas = Image.new("RGBA", placement.canvas, background.colour)
        if background.flatten:
            canvas.alpha_composite(image.convert("RGBA"), placement.offset)
        else:
            canvas.paste(image.convert("RGBA"), placement.offset)
        return canvas
    grey = image.mode == "L" and background.grey
    canvas = Image.new("L" if grey else "RGB", placement.canvas, red if grey else (red, green, blue))
    canvas.paste(image, placement.offset, image if translucent else None)
    return canvas


def is_opaque(image: Image.Image) -> bool:
    """Whether no pixel of the picture is transparent."""
    return image.mode != "RGBA" or image.getchannel("A").getextrema() == (_OPAQUE, _OPAQUE)
