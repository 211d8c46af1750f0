"""How near a thumbnail comes to a reference that was made with no thought of time.

The reference: all pixels decoded, premultiplied, and resized with Lanczos3 in floating point. Transparent
pictures are compared as they look on grey.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.float64]]

_GREY = 128.0
_WINDOW = 8
_MOST_FRAMES = 4  # that are compared, of an animation


@dataclass(frozen=True)
class Similarity:
    """`psnr` in dB over all channels, `ssim` (0..1) of the luma."""

    psnr: float
    ssim: float


class Reference:
    """One original, and what thumbnails of it should look like."""

    def __init__(self, file: Path) -> None:
        image = Image.open(file)
        count = getattr(image, "n_frames", 1)
        self.indices = sorted({round(i * (count - 1) / (_MOST_FRAMES - 1)) for i in range(_MOST_FRAMES)})
        self._frames = [_flat(frame) for frame in _frames(image, self.indices)]
        self._resized: dict[tuple[int, int], list[Pixels]] = {}

    def compare(self, made: bytes) -> Similarity:
        """The mean over the frames of a thumbnail, or over the one."""
        image = Image.open(io.BytesIO(made))
        wanted = self._resized.setdefault(image.size, [_resized(frame, image.size) for frame in self._frames])
        indices = self.indices if getattr(image, "n_frames", 1) > 1 else [0]
        pairs = [
            (target, _flat(frame)) for target, frame in zip(wanted, _frames(image, indices), strict=False)
        ]
        return Similarity(
            float(np.mean([_psnr(one, other) for one, other in pairs])),
            float(np.mean([_ssim(_luma(one), _luma(other)) for one, other in pairs])),
        )


def _frames(image: Image.Image, indices: list[int]) -> list[Image.Image]:
    frames = []
    for index in indices:
        image.seek(index)
        frames.append(image.convert("RGBA"))
    return frames


def _flat(image: Image.Image) -> Pixels:
    """The picture on grey: to resize that is the same as to resize premultiplied pixels."""
    pixels = np.asarray(image).astype(np.float64)
    alpha = pixels[..., 3:] / 255
    flat: Pixels = pixels[..., :3] * alpha + _GREY * (1 - alpha)
    return flat


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    channels = [
        np.asarray(
            Image.fromarray(pixels[..., channel].astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
        )
        for channel in range(3)
    ]
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.float64)


def _luma(pixels: Pixels) -> Pixels:
    luma: Pixels = pixels @ np.array([0.299, 0.587, 0.114])
    return luma


def _psnr(one: Pixels, other: Pixels) -> float:
    error = float(np.mean((one - other) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def _ssim(one: Pixels, other: Pixels) -> float:
    """Structural similarity (Wang et al., 2004) with a plain window of 8 x 8."""
    mean_one, mean_other = _means(one), _means(other)
    variance_one = _means(one * one) - mean_one**2
    variance_other = _means(other * other) - mean_other**2
    covariance = _means(one * other) - mean_one * mean_other
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_one * mean_other + c1) * (2 * covariance + c2)
    denominator = (mean_one**2 + mean_other**2 + c1) * (variance_one + variance_other + c2)
    return float(np.mean(numerator / denominator))


def _means(values: Pixels) -> Pixels:
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    n = _WINDOW
    means: Pixels = (sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]) / n**2
    return means
