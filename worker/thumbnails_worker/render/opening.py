"""Opens a file as one of the allowed formats: reads its header, and checks it before a pixel is decoded.

Pillow's plugin classes are called directly: `Image.open` would try every format that is loaded. What they
read wrong or refuse without need is put right by a module for each format (`jpeg.py`, `png.py`, ...).
Whatever a decoder raises becomes CorruptSource; MemoryError alone goes through as it is.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from PIL import Image, ImageFile, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from thumbnails_contract.errors import CorruptSource, ThumbnailsError, UnsupportedFormat
from thumbnails_contract.wire import Limits

from . import gif, jpeg, png, samples, tiff, webp
from .geometry import Size
from .limits import Header, check_memory, check_parts, check_source
from .orient import EXIF_ORIENTATION
from .profiles import described_profile
from .sniff import HEADER_BYTES, SourceFormat, sniff

Image.MAX_IMAGE_PIXELS = None  # limits.py decides, from the item's own limits
# Of a profile or a text in a PNG: printing profiles are larger than Pillow's 1 MiB. Beyond it, `png.mended`.
PngImagePlugin.MAX_TEXT_CHUNK = 4 << 20

_SEQUENTIAL_SCANS: Final = 4  # one for each component (T.81, B.2.3)
# libwebp's animation decoder holds two canvases (RGBA) and its answer is one more. Of an animation Pillow's
# copy is another one; a still picture is made when those two are gone.
_WEBP_CANVASES, _WEBP_CANVASES_MOVING = 3, 4


@dataclass(slots=True)
class Opened:
    """A file whose header was read and found within the limits; pixels come when asked for."""

    header: Header
    data: mmap.mmap | bytes
    limits: Limits
    available_bytes: int | None
    image: ImageFile.ImageFile | None = None  # None: Pillow does not open this one as a whole
    first_frame: int = 0  # of the animation: 1 for an APNG whose default image is not part of it
    info: dict[Any, Any] = field(default_factory=dict)  # what Pillow would say of it: profile, transparency
    png_facts: png.Facts | None = None
    gif_file: gif.GifFile | None = None
    tiff_facts: tuple[tiff.Directory, tiff.Layout] | None = None


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
    with decoder_errors():
        match format_:
            case SourceFormat.JPEG:
                opened = _open_jpeg(file, data, limits, available_bytes)
            case SourceFormat.PNG:
                opened = _open_png(file, data, limits, available_bytes)
            case SourceFormat.WEBP:
                opened = _open_webp(file, data, limits, available_bytes)
            case SourceFormat.GIF:
                opened = _open_gif(data, limits, available_bytes)
            case SourceFormat.TIFF:
                opened = _open_tiff(file, data, limits, available_bytes)
    check_source(opened.header, limits)
    return opened


def _open_jpeg(
    file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None
) -> Opened:
    image = None
    check_parts(jpeg.segments(data), limits)
    if not jpeg.has_large_header(data):
        try:
            image = jpeg_image(file)
        except MemoryError:
            raise
        except Exception as error:
            if why := jpeg.why_unsupported(data):
                raise UnsupportedFormat(why) from error
    if image is None:
        check_memory(len(data), available_bytes)
        data = jpeg.mended(data) or b""
        image = jpeg_image(io.BytesIO(data))
    if not all(across and down for _name, down, across, _table in image.layer):
        raise CorruptSource
    progressive = bool(image.info.get("progressive"))
    most = limits.scans if progressive else min(limits.scans, _SEQUENTIAL_SCANS)
    header = Header(SourceFormat.JPEG, image.size, scans=jpeg.count_scans(data, most), most_scans=most)
    return Opened(header, data, limits, available_bytes, image, info=image.info)


def jpeg_image(file: BinaryIO, at_least: Size | None = None) -> JpegImageFile:
    """A JPEG's header as Pillow reads it, to be decoded smaller when `at_least` is given."""
    image = JpegImageFile(file)
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes inks for inverted always, but that is Adobe's way alone.
        image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]
    if at_least is not None:
        image.draft(None, at_least)
    return image


def _open_png(file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None) -> Opened:
    check_parts(png.chunks(data), limits)
    facts = png.read_facts(data)
    if facts is None:
        if png.is_of_apple(data):
            raise UnsupportedFormat(
                "The PNG is optimized for apps of Apple (CgBI); send the one it was made of."
            )
        raise CorruptSource
    # Pillow believes what the header says of the number of frames.
    check_source(Header(SourceFormat.PNG, (facts.width, facts.height), png.count_frames(data)), limits)
    if png.has_too_much(data, facts):
        raise CorruptSource
    try:
        image = PngImageFile(file)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, mending may help; if not, that raises again
        data = mended_png(data, available_bytes)
        image = PngImageFile(io.BytesIO(data))
    return opened_png(image, data, facts, limits, available_bytes)


def mended_png(data: mmap.mmap | bytes, available_bytes: int | None) -> bytes:
    """The file without what is damaged and says nothing of pixels. Raises CorruptSource when nothing is."""
    check_memory(2 * len(data), available_bytes)
    clean = png.mended(data)
    if clean is None:
        raise CorruptSource
    return clean


def opened_png(
    image: PngImageFile,
    data: mmap.mmap | bytes,
    facts: png.Facts,
    limits: Limits,
    available_bytes: int | None,
) -> Opened:
    """A PNG, with what Pillow reads wrong of it put right."""
    if not image.mode or not image.tile:
        raise CorruptSource
    if "transparency" in image.info and (transparent := png.transparency(facts)) is not None:
        image.info["transparency"] = transparent
    if image.mode == "P" and isinstance(alphas := image.info.get("transparency"), bytes):
        image.info["transparency"] = alphas[:256]
    if profile := described_profile(facts):
        image.info["icc_profile"] = profile
    frames, first_frame = image.n_frames, 0
    if frames > 1 and image.default_image:
        first_frame = 1
        frames -= 1
    return Opened(
        Header(SourceFormat.PNG, image.size, frames),
        data,
        limits,
        available_bytes,
        image,
        first_frame,
        image.info,
        png_facts=facts,
    )


def _open_webp(
    file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None
) -> Opened:
    check_parts(webp.chunks(data), limits)
    if canvas := webp.canvas_size(data[:30]):
        # libwebp allocates canvases as soon as the file is opened.
        frames = webp.count_frames(data)
        check_source(Header(SourceFormat.WEBP, canvas, frames), limits)
        canvases = _WEBP_CANVASES if frames == 1 else _WEBP_CANVASES_MOVING
        check_memory(canvas[0] * canvas[1] * 4 * canvases + len(data), available_bytes)
    try:
        image = WebPImageFile(file)
    except MemoryError:
        raise
    except Exception:
        if not limits.render_truncated:
            raise
        data = webp.whole_frames(data)
        image = WebPImageFile(io.BytesIO(data))
    return Opened(
        Header(SourceFormat.WEBP, image.size, image.n_frames),
        data,
        limits,
        available_bytes,
        image,
        info=image.info,
    )


def _open_gif(data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None) -> Opened:
    file = gif.read_gif(data, limits.frames, limits.parts)
    if not file.frames or not (file.size[0] and file.size[1]):
        raise CorruptSource
    for frame in file.frames:  # a frame may be larger than the canvas
        check_source(Header(SourceFormat.GIF, (frame.width, frame.height)), limits)
    return Opened(
        Header(SourceFormat.GIF, file.size, len(file.frames)), data, limits, available_bytes, gif_file=file
    )


def _open_tiff(
    file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None
) -> Opened:
    directory = tiff.Directory.read(data)
    if directory is None:
        raise CorruptSource
    check_parts(range(directory.pieces), limits)
    layout = tiff.Layout.read(data, directory)
    check_source(Header(SourceFormat.TIFF, (layout.width, layout.length)), limits)
    if not (layout.width and layout.length and directory.pieces):
        raise CorruptSource
    if why := tiff.why_unsupported(layout):
        raise UnsupportedFormat(why)
    header = Header(SourceFormat.TIFF, (layout.width, layout.length))
    facts = (directory, layout)
    if not samples.is_needed(layout):
        try:
            if directory.is_big and directory.order == ">":  # Pillow takes it for a small one
                check_memory(len(data), available_bytes)
                plain = tiff.cut(data, directory)
                image = TiffImageFile(io.BytesIO(plain))
            else:
                image = TiffImageFile(file)
        except (SyntaxError, KeyError) as error:
            if not samples.can_decode(layout):
                raise UnsupportedFormat(_describe(layout)) from error
        else:
            leave_as_stored(image, header.size)
            return Opened(header, data, limits, available_bytes, image, info=image.info, tiff_facts=facts)
    if not samples.can_decode(layout):
        raise UnsupportedFormat(_describe(layout))
    info = {"icc_profile": profile} if (profile := directory.content(data, tiff.PROFILE)) else {}
    return Opened(header, data, limits, available_bytes, info=info, tiff_facts=facts)


def leave_as_stored(image: TiffImageFile, size: Size) -> None:
    """Keep Pillow from turning a TIFF when it is decoded; `size` is what its first directory says.

    Raises CorruptSource when Pillow reads another one.
    """
    # Pillow would turn all of its pixels. It takes the size for that from the header, and whether it
    # is to be done from the EXIF: were they to differ, memory would be read beyond the pixels.
    image.getexif().pop(EXIF_ORIENTATION, None)
    if image._tile_size != size:  # noqa: SLF001 - a tag that is there twice
        raise CorruptSource
    image._size = size  # noqa: SLF001 - as above


def _describe(layout: tiff.Layout) -> str:
    """Of a TIFF whose pixels are not understood."""
    kinds = {tiff.UNSIGNED: "whole numbers", tiff.SIGNED: "signed numbers", tiff.FLOAT: "floats"}
    return (
        f"The TIFF has {layout.samples} sample(s) of {layout.bits[0]} bits a pixel,"
        f" {kinds.get(layout.sample_format, 'of an unknown kind')}, compression {layout.compression},"
        f" photometric interpretation {layout.photometric}: save it in a more common way."
    )
