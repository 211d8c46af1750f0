"""Brings colours to sRGB by the profile that a file carries; a broken or unfit profile is ignored."""

import io
from functools import lru_cache
from typing import Any, Final

from PIL import Image, ImageCms

_SPACES: Final = {"RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK", "L": "GRAY"}
_TARGETS: Final = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "RGB"}
# x and y of sRGB's primaries, adapted to D50 as profiles have them; rounding differs between profiles.
_SRGB_PRIMARIES: Final = ((0.6485, 0.3309), (0.3212, 0.5979), (0.1559, 0.0661))
_MOST_PROFILE_BYTES: Final = 4 << 20
_TOLERANCE: Final = 0.005
_SRGB: Final = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image, icc_profile: object) -> Image.Image:
    """The picture (L, RGB, RGBA or CMYK) in sRGB: L stays L, CMYK becomes RGB, alpha is kept.

    `icc_profile` is what Pillow found where a profile belongs: bytes, unless the file says otherwise.
    """
    mode = image.mode
    fits = isinstance(icc_profile, bytes) and 0 < len(icc_profile) <= _MOST_PROFILE_BYTES
    transform = _transform(icc_profile, mode) if isinstance(icc_profile, bytes) and fits else None
    if transform is not None:
        image = ImageCms.applyTransform(image, transform) or image
        return image.convert("L") if mode == "L" else image
    return image.convert("RGB") if mode == "CMYK" else image


def forget_profiles() -> None:
    """Keep no transform for the next picture."""
    _transform.cache_clear()


# Building one takes 4 ms, or 30 of a printing profile; a hostile one holds nine megabytes.
@lru_cache(maxsize=4)
def _transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None when none is needed, or the profile does not fit the picture."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        facts = profile.profile
        if facts.xcolor_space.ljust(4) != _SPACES[mode] or _is_srgb(facts):
            return None
        return ImageCms.buildTransform(
            profile, _SRGB, mode, _TARGETS[mode], renderingIntent=ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _is_srgb(facts: Any) -> bool:
    """Whether a profile (`ImageCmsProfile.profile`) is sRGB by its name and by its primaries."""
    if "sRGB" not in (facts.profile_description or ""):
        return False
    primaries = (facts.red_primary, facts.green_primary, facts.blue_primary)
    return all(
        primary is not None and abs(primary[1][0] - x) < _TOLERANCE and abs(primary[1][1] - y) < _TOLERANCE
        for primary, (x, y) in zip(primaries, _SRGB_PRIMARIES, strict=True)
    )
