"""Opens a file as one of the allowed formats and gives its pixels: a still picture, or frames.

Pillow's plugin classes are called directly: `Image.open` would try every format that is loaded.
Whatever a decoder raises becomes CorruptSource; MemoryError alone goes through as it is.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, ImageChops
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from thumbnails_contract.errors import CorruptSource, ThumbnailsError
from thumbnails_contract.wire import Limits

from . import scan
from .geometry import Size
from .limits import Header, check_memory, check_source
from .modes import PIXEL_BYTES, working_bytes
from .orient import UPRIGHT, parse_orientation
from .sniff import HEADER_BYTES, SourceFormat, sniff

Image.MAX_IMAGE_PIXELS = None  # limits.py decides, from the item's own limits

_OPENERS: Final[dict[SourceFormat, type[ImageFile]]] = {
    SourceFormat.JPEG: JpegImageFile,
    SourceFormat.PNG: PngImageFile,
    SourceFormat.WEBP: WebPImageFile,
    SourceFormat.GIF: GifImageFile,
    SourceFormat.TIFF: TiffImageFile,
}
# What Pillow reads of a file at once. Between blocks libjpeg stops in the middle of a row and begins it anew:
# with Pillow's own 64 KiB that is 3 % of a JPEG's time.
_BLOCK_BYTES: Final = 1 << 20
_EXIF_ORIENTATION: Final = 0x0112
_JPEG_EOI: Final = b"\xff\xd9"
# Entropy-coded filler that decodes to something else than the zeros libjpeg makes up.
_JPEG_FILLER: Final = b"\xa5\x5a" * 4096
# libwebp's animation decoder holds two canvases (RGBA), its answer is one more, Pillow's copy another.
_WEBP_CANVASES: Final = 4
# Pillow keeps the canvas, the frame, and the frame before it to restore.
_ANIMATION_CANVASES: Final = 4


@dataclass(slots=True)
class Opened:
    """A file whose header was read and found within the limits; pixels come when asked for."""

    image: ImageFile
    header: Header
    first_frame: int  # of the animation: 1 for an APNG whose default image is not part of it
    data: mmap.mmap | bytes
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of an animation, composited, and how long it stays."""

    image: Image.Image
    milliseconds: int


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Turn what a decoder raises into CorruptSource."""
    try:
        yield
    except (ThumbnailsError, MemoryError):
        raise
    except Exception as error:
        raise CorruptSource from error


def open_source(
    file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None
) -> Opened:
    """Sniff, read the header, and check it. `file` and `data` are the same bytes.

    Raises UnsupportedFormat, SourceTooLarge or CorruptSource.
    """
    format_ = sniff(data[:HEADER_BYTES])
    if format_ is SourceFormat.WEBP and (canvas := scan.webp_canvas(data[:30])):
        # libwebp allocates canvases as soon as the file is opened.
        frames = scan.count_webp_frames(data)
        check_source(Header(format_, canvas, frames), limits)
        check_memory(canvas[0] * canvas[1] * 4 * _WEBP_CANVASES + len(data), available_bytes)
    with decoder_errors():
        image = _OPENERS[format_](file)
        frames, scans, first_frame = 1, 1, 0
        if format_ is SourceFormat.GIF:
            frames = max(1, scan.count_gif_frames(data, limits.frames))
        elif format_ in (SourceFormat.WEBP, SourceFormat.PNG):
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and getattr(image, "default_image", False):
                first_frame = 1
                frames -= 1
        elif image.info.get("progressive"):
            scans = scan.count_jpeg_scans(data, limits.scans)
    header = Header(format_, image.size, frames, scans)
    check_source(header, limits)
    return Opened(image, header, first_frame, data, available_bytes)


def read_orientation(opened: Opened) -> int:
    """The EXIF orientation of the pixels as Pillow stores them; what cannot be read means upright.

    A PNG's eXIf chunk may stand behind the pixels, so those are decoded here. Pillow turns a TIFF
    by itself when it is loaded.
    """
    if opened.header.format in (SourceFormat.TIFF, SourceFormat.GIF):
        return UPRIGHT
    if opened.header.format is SourceFormat.PNG and opened.header.frames == 1:
        load(opened)
    elif opened.header.format is not SourceFormat.PNG and "exif" not in opened.image.info:
        return UPRIGHT
    try:
        return parse_orientation(opened.image.getexif().get(_EXIF_ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a picture is rendered, whatever its metadata looks like
        return UPRIGHT


def read_exif(opened: Opened) -> Image.Exif | None:
    """The file's EXIF without its orientation, which was applied; None when there is none to be read."""
    try:
        exif = opened.image.getexif()
        exif.pop(_EXIF_ORIENTATION, None)
        return exif if exif.tobytes() and len(exif) else None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken metadata is left behind
        return None


def load(opened: Opened, at_least: Size | None = None) -> Image.Image:
    """Decode the (first) picture; a JPEG possibly smaller, but not below `at_least` (as stored).

    Raises CorruptSource when pixel data is missing.
    """
    image = opened.image
    image.decodermaxblock = _BLOCK_BYTES
    if isinstance(image, JpegImageFile) and at_least is not None:
        image.draft(None, at_least)
    check_memory(_needed_bytes(opened), opened.available_bytes)
    with decoder_errors():
        try:
            image.load()
        except OSError:
            if not isinstance(image, JpegImageFile):
                raise
            return _load_jpeg_without_trailer(opened, at_least)
        if isinstance(image, PngImageFile) and _ends_in_nothing(image) and not scan.png_is_whole(opened.data):
            raise CorruptSource
    return image


def frames(opened: Opened) -> Iterator[Frame]:
    """The frames of an animation in order, each composited over those before it."""
    check_memory(
        opened.header.size[0] * opened.header.size[1] * 4 * _ANIMATION_CANVASES, opened.available_bytes
    )
    image = opened.image
    for index in range(opened.first_frame, opened.first_frame + opened.header.frames):
        with decoder_errors():
            image.seek(index)
            image.load()
            milliseconds = max(0, round(image.info.get("duration") or 0))
        yield Frame(image, milliseconds)


def plays(opened: Opened) -> int:
    """How often an animation is shown; 0 means for ever. A GIF counts repeats, the others count plays."""
    loop = opened.image.info.get("loop")
    if opened.header.format is SourceFormat.GIF:
        return 1 if loop is None else int(loop) and int(loop) + 1
    return int(loop or 0)


def _ends_in_nothing(image: Image.Image) -> bool:
    """Whether the last row is all zeros, as rows are that nobody wrote (and black ones)."""
    width, height = image.size
    return not any(image.crop((0, height - 1, width, height)).tobytes())


def _needed_bytes(opened: Opened) -> int:
    """What decoding takes at least: the pixels, a JPEG's coefficients, and a converted copy."""
    image, header = opened.image, opened.header
    width, height = image.size
    if header.format is SourceFormat.WEBP:
        return 0  # checked before libwebp was called
    needed = width * height * (PIXEL_BYTES.get(image.mode, 4) + working_bytes(image))
    if isinstance(image, JpegImageFile) and image.info.get("progressive"):
        # Coefficients of all components, 16 bit each, are kept for the whole picture (libjpeg, jdcoefct.c).
        blocks = [(layer[1], layer[2]) for layer in image.layer]
        widest, highest = max(h for h, _ in blocks), max(v for _, v in blocks)
        share = sum(h * v for h, v in blocks) / (widest * highest)
        needed += int(header.size[0] * header.size[1] * share * 2)
    return needed


def _load_jpeg_without_trailer(opened: Opened, at_least: Size | None) -> Image.Image:
    """Decode a JPEG that ends too early, if all that it lacks is the end marker.

    libjpeg fills what is missing and says nothing that Pillow passes on. So the file is decoded twice
    with different bytes behind its end: equal pixels mean that none of those were needed.
    """
    attempts = []
    for filler in (b"", _JPEG_FILLER):
        image = JpegImageFile(io.BytesIO(b"".join((opened.data[:], filler, _JPEG_EOI))))
        if at_least is not None:
            image.draft(None, at_least)
        image.load()
        attempts.append(image)
    whole, filled = attempts
    if ImageChops.difference(whole, filled).getbbox() is not None:
        raise CorruptSource
    return whole
