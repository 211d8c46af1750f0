"""What a file says beside its pixels that concerns a thumbnail: how it is turned, and the EXIF to keep.

A picture is rendered, whatever its metadata looks like: what cannot be read is not there.
"""

import mmap
from typing import Final

from PIL import Image, ImageFile

from . import png
from .decode import fits, load
from .opening import Opened
from .orient import EXIF_ORIENTATION, UPRIGHT, parse_orientation
from .sniff import SourceFormat

# Tags of a TIFF that say how its own pixels are stored, or how they were turned: nothing for a thumbnail.
_STRUCTURE: Final = frozenset(
    tag
    for tags in (
        range(254, 260),
        range(262, 267),
        (273, EXIF_ORIENTATION),
        range(277, 282),
        (284,),
        range(288, 294),
        (297, 301),
        range(317, 326),
        (330, 332),
        range(338, 342),
        (347,),
        range(512, 522),
        range(529, 533),
        (34675,),
    )
    for tag in tags
)


def read_orientation(opened: Opened) -> int:
    """The EXIF orientation of the pixels as they are given; what cannot be read means upright.

    A PNG's eXIf chunk may stand behind the pixels, so those are decoded here, unless they are too many.
    """
    image = opened.image
    if opened.tiff_facts is not None:
        return parse_orientation(opened.tiff_facts[1].orientation)
    if image is None:
        return UPRIGHT
    if opened.header.format is SourceFormat.PNG and opened.header.frames == 1:
        if not fits(opened):
            return _orientation_of(opened.data, image)
        load(opened)
        image = opened.image
    elif opened.header.format is not SourceFormat.PNG and "exif" not in image.info:
        return UPRIGHT
    try:
        return UPRIGHT if image is None else parse_orientation(image.getexif().get(EXIF_ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a picture is rendered, whatever its metadata looks like
        return UPRIGHT


def _orientation_of(data: mmap.mmap | bytes, image: ImageFile.ImageFile) -> int:
    """The orientation that a PNG's eXIf chunk says, without decoding pixels."""
    if "exif" not in image.info:
        found = next((chunk for chunk in png.chunks(data) if chunk.kind == b"eXIf"), None)
        if found is None:
            return UPRIGHT
        image.info["exif"] = b"Exif\0\0" + found.data(data)
    exif = Image.Exif()
    try:
        exif.load(image.info["exif"])
        return parse_orientation(exif.get(EXIF_ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as above
        return UPRIGHT


def read_exif(opened: Opened) -> Image.Exif | None:
    """What `metadata: keep` keeps: the file's EXIF without its orientation, which was applied; None: nothing.

    Its profile is not kept, since pixels are sRGB then; neither are XMP, comments, and those tags of a TIFF
    that say how its own pixels are stored.
    """
    if opened.image is None:
        return None
    try:
        exif = opened.image.getexif()
        for tag in _STRUCTURE if opened.header.format is SourceFormat.TIFF else (EXIF_ORIENTATION,):
            exif.pop(tag, None)
        return exif if exif.tobytes() and len(exif) else None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken metadata is left behind
        return None
