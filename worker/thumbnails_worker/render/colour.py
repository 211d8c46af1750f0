"""Brings colours to sRGB by the profile that a file carries; a broken or unfit profile is ignored."""

import io
from functools import lru_cache
from typing import Final

from PIL import Image, ImageCms

_SPACES: Final = {"RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK", "L": "GRAY"}
_TARGETS: Final = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "RGB"}
_SRGB: Final = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """The picture (L, RGB, RGBA or CMYK) in sRGB: L stays L, CMYK becomes RGB, alpha is kept."""
    mode = image.mode
    transform = _transform(icc_profile, mode) if icc_profile else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
        return image.convert("L") if mode == "L" else image
    return image.convert("RGB") if mode == "CMYK" else image


@lru_cache(maxsize=8)
def _transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None when none is needed, or the profile does not fit the picture."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        facts = profile.profile
        if facts.xcolor_space.ljust(4) != _SPACES[mode] or "sRGB" in (facts.profile_description or ""):
            return None
        return ImageCms.buildTransform(
            profile, _SRGB, mode, _TARGETS[mode], renderingIntent=ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
