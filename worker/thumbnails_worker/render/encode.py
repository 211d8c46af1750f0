"""Writes a thumbnail, still or animated, in the format that was asked for.

Nothing of the original's metadata is written unless it is handed in: the pictures that arrive here
have an empty `info`, since Pillow's writers also take profiles, comments and XMP from there.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from thumbnails_contract.spec import Format

from . import gif, png, webp
from .quantize import is_clear_somewhere, to_palette

CONTENT_TYPES: Final = {
    Format.JPEG: "image/jpeg",
    Format.PNG: "image/png",
    Format.WEBP: "image/webp",
    Format.AVIF: "image/avif",
    Format.GIF: "image/gif",
    Format.TIFF: "image/tiff",
}
WITH_ALPHA: Final = frozenset({Format.PNG, Format.WEBP, Format.AVIF, Format.GIF, Format.TIFF})
WITH_FRAMES: Final = frozenset({Format.PNG, Format.WEBP, Format.AVIF, Format.GIF})

DEFAULT_QUALITY: Final = {Format.JPEG: 80, Format.WEBP: 80, Format.AVIF: 60}
# About 100 KB, a second on a slow line: there the coarse picture that comes first is worth its time.
_PROGRESSIVE_PIXELS: Final = 640_000
_PNG_LEVEL: Final = 4  # half the time of Pillow's 6 for photos, for 1.5 per cent more bytes (graphics: 5)
_MOST_JPEG_EXIF_BYTES: Final = 65_500  # one APP1 segment
_MOST_PLAYS: Final = 65_535  # 16 bits in GIF and WebP
# What viewers make of a frame that claims to stay for 10 ms or less; AVIF cannot say 0.
_SHORTEST_MILLISECONDS, _VIEWERS_MILLISECONDS = 11, 100
# How long a frame can stay. Encoders make one of equal neighbours, so the sum of all has to fit.
_MOST_16_BIT: Final = 65_535
_MOST_MILLISECONDS: Final = {
    Format.PNG: _MOST_16_BIT * 1_000,  # a fraction of two 16-bit numbers, of seconds
    Format.GIF: _MOST_16_BIT * 10,
    Format.WEBP: (1 << 24) - 1,
    Format.AVIF: (1 << 31) - 1,
}
# What libaom takes, measured at these settings; without it fails, or ends the process.
_AVIF_BYTES_A_PIXEL: Final = 40


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures are written; `quality` 1..100 or None for the format's default."""

    format: Format
    quality: int | None = None
    exif: Image.Exif | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A thumbnail as a file."""

    data: bytes
    width: int
    height: int
    frames: int
    content_type: str
    thumbhash: str = ""  # of the first frame; whoever puts the picture together knows it


def encode(
    pictures: Sequence[Image.Image], milliseconds: Sequence[int], plays: int, recipe: Recipe
) -> Encoded:
    """Write one picture, or several as an animation: how long each stays, and how often all are shown."""
    format_ = recipe.format
    options: dict[str, Any] = _still_options(recipe, pictures[0].width * pictures[0].height)
    if recipe.exif is not None and format_ is not Format.GIF:
        exif = recipe.exif.tobytes()
        if format_ is not Format.JPEG or len(exif) <= _MOST_JPEG_EXIF_BYTES:
            options["exif"] = exif
    animated = len(pictures) > 1
    if format_ is Format.GIF:
        pictures = to_palette(pictures)
    if animated:
        options |= _animation_options(format_, pictures, milliseconds, plays)
    file = io.BytesIO()
    pictures[0].save(file, format=format_.value, **options)
    data = file.getvalue()
    width, height = pictures[0].size
    return Encoded(data, width, height, _count_frames(data, format_, len(pictures)), CONTENT_TYPES[format_])


def working_bytes(format_: Format, size: tuple[int, int]) -> int:
    """What the encoder of a format needs of memory, where that is much more than the picture itself."""
    return size[0] * size[1] * _AVIF_BYTES_A_PIXEL if format_ is Format.AVIF else 0


def _still_options(recipe: Recipe, pixels: int) -> dict[str, Any]:
    quality = recipe.quality or DEFAULT_QUALITY.get(recipe.format)
    match recipe.format:
        case Format.JPEG:
            return {"quality": quality, "optimize": True, "progressive": pixels >= _PROGRESSIVE_PIXELS}
        case Format.WEBP:
            return {"quality": quality, "method": 4}
        case Format.AVIF:
            # One renderer a CPU: no threads of its own.
            return {"quality": quality, "speed": 6, "max_threads": 1}
        case Format.PNG:
            return {"compress_level": _PNG_LEVEL}
        case Format.TIFF:
            return {"compression": "tiff_lzw"}
        case _:
            return {}


def _animation_options(
    format_: Format, pictures: Sequence[Image.Image], milliseconds: Sequence[int], plays: int
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": pictures[1:],
        "duration": (milliseconds := bounded(milliseconds, format_)),
    }
    plays = min(plays, _MOST_PLAYS)
    if format_ is Format.GIF:
        if plays != 1:  # a GIF without the extension is shown once; with it, it counts repeats
            options["loop"] = plays and plays - 1
        options["palette"] = pictures[0].palette  # once, instead of one a frame
        if is_clear_somewhere(pictures):
            options["disposal"] = 2  # what was visible before must not shine through
    elif format_ is not Format.AVIF:
        options["loop"] = plays
    if format_ is Format.WEBP:
        options["background"] = (0, 0, 0, 0)
    return options


def stays(runs: Sequence[Sequence[int]], format_: Format) -> list[int]:
    """How long each picture stays that was there for so many frames in a row, each so many milliseconds."""
    return [
        run[0] if len(run) == 1 and format_ is not Format.AVIF else sum(map(_as_viewers_do, run))
        for run in runs
    ]


def _as_viewers_do(milliseconds: int) -> int:
    return milliseconds if milliseconds >= _SHORTEST_MILLISECONDS else _VIEWERS_MILLISECONDS


def bounded(milliseconds: Sequence[int], format_: Format) -> list[int]:
    """How long each frame stays, as near as the format can say it."""
    total = sum(milliseconds)
    if total > _MOST_MILLISECONDS[format_]:
        longest = _MOST_MILLISECONDS[format_] // len(milliseconds)
        milliseconds = [min(length, longest) for length in milliseconds]
        total = sum(milliseconds)
    if format_ is Format.PNG:
        # Hundredths, tenths or whole seconds, so that the numerator fits.
        unit = next(unit for unit in (1, 10, 100, 1_000) if total <= _MOST_16_BIT * unit)
        return [length // unit * unit for length in milliseconds]
    return list(milliseconds)


def _count_frames(data: bytes, format_: Format, given: int) -> int:
    """How many frames were written: encoders merge equal neighbours."""
    if given == 1:
        return 1
    match format_:
        case Format.GIF:
            return gif.count_frames(data, given)
        case Format.PNG:
            return png.count_frames(data)
        case Format.WEBP:
            return webp.count_frames(data)
        case _:
            return given
