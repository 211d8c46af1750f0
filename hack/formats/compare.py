"""Compares thumbnails, ours and those of libvips (pyvips), by their pixels: numbers for the judge."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyvips
from PIL import Image

from .kind import Pixels

_TILE: Final = 8
_BACKGROUND: Final = 128.0
_OPAQUE: Final = 255

# RGB over grey, and alpha: what is compared. Floats, rows x columns x 4.
Seen = np.ndarray


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean absolute difference, 0..255, over all and over the worst tile; of RGB over grey and of alpha."""

    mean: float
    worst: float

    def within(self, bounds: tuple[float, float]) -> bool:
        """Whether both are no more than that."""
        return self.mean <= bounds[0] and self.worst <= bounds[1]


def compare(one: Seen, other: Seen) -> Difference:
    """Of two pictures of the same size."""
    assert one.shape == other.shape, f"{one.shape[1::-1]} and {other.shape[1::-1]} pixels"
    by_channel = np.abs(one - other)
    by_pixel = np.maximum(by_channel[..., :3].mean(axis=-1), by_channel[..., 3])
    rows, columns = (range(0, length, _TILE) for length in by_pixel.shape)
    sums = np.add.reduceat(np.add.reduceat(by_pixel, rows, axis=0), columns, axis=1)
    heights, widths = (
        np.diff([*edges, length]) for edges, length in zip((rows, columns), by_pixel.shape, strict=True)
    )
    worst = (sums / np.outer(heights, widths)).max()
    return Difference(round(float(by_pixel.mean()), 2), round(float(worst), 2))


def of_pillow(image: Image.Image) -> Seen:
    """A decoded picture of Pillow, whatever its mode."""
    return of_pixels(np.asarray(image.convert("RGBA")))


def of_pixels(pixels: Pixels) -> Seen:
    """Grey, grey and alpha, RGB or RGBA."""
    channels = pixels.shape[2]
    colours = pixels[..., :-1] if channels in (2, 4) else pixels
    alpha = pixels[..., -1:] if channels in (2, 4) else np.full_like(pixels[..., :1], _OPAQUE)
    rgb = np.broadcast_to(colours, (*colours.shape[:2], 3)).astype(float)
    share = alpha / _OPAQUE
    return np.concatenate([rgb * share + _BACKGROUND * (1 - share), alpha.astype(float)], axis=-1)


def scaled(pixels: Pixels, size: tuple[int, int]) -> Seen:
    """These pixels at thumbnail size, scaled by libvips."""
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).tobytes(), width, height, channels, "uchar"
    )
    image = image.copy(interpretation="srgb" if channels > 2 else "b-w")
    return _of_vips(image.thumbnail_image(size[0], height=size[1], size="force", no_rotate=True))


def by_vips(data: bytes, size: tuple[int, int]) -> Seen:
    """The (first) picture of the file at thumbnail size, by libvips alone: orientation, colours, pixels."""
    return thumbnail_by_vips(data, size[0], height=size[1], size="force")


def thumbnail_by_vips(data: bytes, width: int, **options: Any) -> Seen:
    """The same with libvips' own options of `vips_thumbnail`."""
    colours = {"output_profile": "srgb", "intent": "perceptual"}
    return _of_vips(pyvips.Image.thumbnail_buffer(data, width, **colours, **options))


def frames_by_vips(data: bytes, size: tuple[int, int]) -> list[Seen]:
    """Every frame of an animation at thumbnail size, by libvips alone."""
    return [_of_vips(page.thumbnail_image(size[0], height=size[1], size="force")) for page in _pages(data)]


def timing_by_vips(data: bytes) -> tuple[tuple[int, ...], int]:
    """(how long each frame stays in ms, how often all are shown) as libvips reads it."""
    image = pyvips.Image.new_from_buffer(data, "", n=-1)
    return tuple(image.get("delay")), image.get("loop")


def _pages(data: bytes) -> Iterator[pyvips.Image]:
    whole = pyvips.Image.new_from_buffer(data, "")
    if "n-pages" in whole.get_fields():  # only the loaders that know pages know `n`
        whole = pyvips.Image.new_from_buffer(data, "", n=-1)
    height = whole.get("page-height") if "page-height" in whole.get_fields() else whole.height
    return (whole.crop(0, top, whole.width, height) for top in range(0, whole.height, height))


def _of_vips(image: pyvips.Image) -> Seen:
    # libvips keeps 16 bits where a file has them.
    image = image.colourspace("srgb").cast("uchar")
    pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, image.bands)
    return of_pixels(pixels)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail as others read it: libvips, but Pillow for PNG, whose frames libvips does not know."""

    frames: list[Seen]
    mode: str  # L, LA, RGB or RGBA; of a palette, what is in it
    milliseconds: tuple[int, ...] = ()
    plays: int = 0

    @classmethod
    def read(cls, data: bytes) -> Self:
        """From the file."""
        with Image.open(io.BytesIO(data)) as image:
            mode, format_, count = image.mode, image.format, getattr(image, "n_frames", 1)
            if format_ == "PNG":
                frames, milliseconds = [], []
                for index in range(count):
                    image.seek(index)
                    frames.append(of_pillow(image))
                    milliseconds.append(round(image.info.get("duration", 0)))
                timing = (tuple(milliseconds), image.info.get("loop", 0))
            else:
                frames = [_of_vips(page) for page in _pages(data)]
                timing = timing_by_vips(data) if count > 1 else ((), 0)
        if format_ in {"GIF", "WEBP"}:
            mode = "RGB" if all(frame[..., 3].min() == _OPAQUE for frame in frames) else "RGBA"
        return cls(frames, mode, *timing if count > 1 else ((), 0))
