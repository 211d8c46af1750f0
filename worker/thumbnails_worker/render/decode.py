"""Opens a file as one of the allowed formats and gives its pixels: a still picture, or frames.

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

from PIL import Image, ImageChops, ImageFile, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from thumbnails_contract.errors import CorruptSource, ThumbnailsError, UnsupportedFormat
from thumbnails_contract.wire import Limits

from . import bands, gif, jpeg, png, samples, tiff, webp
from .geometry import Size
from .limits import Header, check_memory, check_parts, check_source, is_enough
from .modes import PIXEL_BYTES, has_alpha, working_bytes
from .orient import UPRIGHT, parse_orientation
from .profiles import described_profile
from .sniff import HEADER_BYTES, SourceFormat, sniff

Image.MAX_IMAGE_PIXELS = None  # limits.py decides, from the item's own limits
# Of a profile or a text in a PNG: printing profiles are larger than Pillow's 1 MiB. Beyond it, `png.mended`.
PngImagePlugin.MAX_TEXT_CHUNK = 4 << 20

# What Pillow reads of a file at once. Between blocks libjpeg stops in the middle of a row and begins it
# again: with Pillow's own 64 KiB that is 3 % of a JPEG's time.
_BLOCK_BYTES: Final = 1 << 20
_EXIF_ORIENTATION: Final = 0x0112
# What is added to the memory of pixels, as its share: buffers, and what malloc cannot use of what it has.
_MARGIN: Final = 8
_JPEG_EOI: Final = b"\xff\xd9"
# Entropy-coded filler that decodes to something else than the zeros libjpeg makes up.
_JPEG_FILLER: Final = b"\xa5\x5a" * 4096
_SEQUENTIAL_SCANS: Final = 4  # one for each component (T.81, B.2.3)
_GREY: Final = 128  # what libjpeg makes of missing pixels, and we of others'
# libwebp's animation decoder holds two canvases (RGBA), its answer is one more, Pillow's copy another.
_WEBP_CANVASES: Final = 4
# Bytes a pixel of a GIF's canvas: two of them, one to restore, the frame, its colours and its mask.
_GIF_PIXEL_BYTES: Final = 3 * 4 + 1 + 4 + 1
# The frame, and what it is converted to.
_STILL_GIF_PIXEL_BYTES: Final = 1 + 4
# Pillow keeps the canvas, the frame, and the frame before it to restore.
_APNG_PIXEL_BYTES: Final = 4 * 4
# Tags of a TIFF that say how its own pixels are stored, or how they were turned: nothing for a thumbnail.
_STRUCTURE: Final = frozenset(
    {
        *range(254, 260),
        262,
        263,
        264,
        265,
        266,
        273,
        274,
        *range(277, 282),
        284,
        *range(288, 294),
        297,
        301,
        317,
    }
    | {
        318,
        319,
        *range(320, 326),
        330,
        332,
        338,
        339,
        340,
        341,
        347,
        *range(512, 522),
        *range(529, 533),
        34675,
    }
)


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
            image = JpegImageFile(file)
        except MemoryError:
            raise
        except Exception as error:
            if why := jpeg.why_unsupported(data):
                raise UnsupportedFormat(why) from error
    if image is None:
        check_memory(len(data), available_bytes)
        data = jpeg.mended(data) or b""
        image = JpegImageFile(io.BytesIO(data))
    if not all(across and down for _name, down, across, _table in image.layer):
        raise CorruptSource
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes inks for inverted always, but that is Adobe's way alone.
        image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]
    progressive = bool(image.info.get("progressive"))
    most = limits.scans if progressive else min(limits.scans, _SEQUENTIAL_SCANS)
    header = Header(SourceFormat.JPEG, image.size, scans=jpeg.count_scans(data, most), most_scans=most)
    return Opened(header, data, limits, available_bytes, image, info=image.info)


def _open_png(file: BinaryIO, data: mmap.mmap | bytes, limits: Limits, available_bytes: int | None) -> Opened:
    check_parts(png.chunks(data), limits)
    facts = png.read_facts(data)
    if facts is None:
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
        data = _mended_png(data, available_bytes)
        image = PngImageFile(io.BytesIO(data))
    return _opened_png(image, data, facts, limits, available_bytes)


def _mended_png(data: mmap.mmap | bytes, available_bytes: int | None) -> bytes:
    """Raises CorruptSource where nothing can be mended."""
    check_memory(2 * len(data), available_bytes)
    clean = png.mended(data)
    if clean is None:
        raise CorruptSource
    return clean


def _opened_png(
    image: PngImageFile,
    data: mmap.mmap | bytes,
    facts: png.Facts,
    limits: Limits,
    available_bytes: int | None,
) -> Opened:
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
        check_source(Header(SourceFormat.WEBP, canvas, webp.count_frames(data)), limits)
        check_memory(canvas[0] * canvas[1] * 4 * _WEBP_CANVASES + len(data), available_bytes)
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
            # Pillow would turn all of its pixels. It takes the size for that from the header, and whether it
            # is to be done from the EXIF: were they to differ, memory would be read beyond the pixels.
            image.getexif().pop(_EXIF_ORIENTATION, None)
            if image._tile_size != header.size:  # noqa: SLF001 - a tag that is there twice
                raise CorruptSource
            image._size = header.size  # noqa: SLF001 - as above
            return Opened(header, data, limits, available_bytes, image, info=image.info, tiff_facts=facts)
    if not samples.can_decode(layout):
        raise UnsupportedFormat(_describe(layout))
    info = {"icc_profile": profile} if (profile := directory.content(data, tiff.PROFILE)) else {}
    return Opened(header, data, limits, available_bytes, info=info, tiff_facts=facts)


def _describe(layout: tiff.Layout) -> str:
    """Of a TIFF whose pixels are not understood."""
    kinds = {tiff.UNSIGNED: "whole numbers", tiff.SIGNED: "signed numbers", tiff.FLOAT: "floats"}
    return (
        f"The TIFF has {layout.samples} sample(s) of {layout.bits[0]} bits a pixel,"
        f" {kinds.get(layout.sample_format, 'of an unknown kind')}, compression {layout.compression},"
        f" photometric interpretation {layout.photometric}: save it in a more common way."
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
        if not _fits(opened):
            return _orientation_of(opened.data, image)
        load(opened)
        image = opened.image
    elif opened.header.format is not SourceFormat.PNG and "exif" not in image.info:
        return UPRIGHT
    try:
        return UPRIGHT if image is None else parse_orientation(image.getexif().get(_EXIF_ORIENTATION))
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
        return parse_orientation(exif.get(_EXIF_ORIENTATION))
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
        for tag in _STRUCTURE if opened.header.format is SourceFormat.TIFF else (_EXIF_ORIENTATION,):
            exif.pop(tag, None)
        return exif if exif.tobytes() and len(exif) else None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - broken metadata is left behind
        return None


def load(opened: Opened, at_least: Size | None = None) -> Image.Image:
    """Decode the (first) picture, possibly smaller by a whole number, but not below `at_least` (as stored).

    Raises CorruptSource when pixel data is missing, unless the limits say that what is there is rendered;
    SourceTooLarge when it does not fit into the memory.
    """
    try:
        with decoder_errors():
            return _consistent(_load(opened, at_least))
    except CorruptSource:
        if not opened.limits.render_truncated:
            raise
    with decoder_errors():
        return _consistent(_load_what_is_there(opened, at_least))


def _consistent(image: Image.Image) -> Image.Image:
    """The picture, if it has the pixels that it says: whoever resizes it reads memory by its size."""
    if image.im.size != image.size or image.im.mode != image.mode:
        raise CorruptSource
    return image


def _load(opened: Opened, at_least: Size | None) -> Image.Image:
    match opened.header.format:
        case SourceFormat.GIF:
            return _load_gif(opened)
        case SourceFormat.JPEG:
            return _load_jpeg(opened, at_least)
        case SourceFormat.PNG:
            return _load_png(opened, at_least)
        case SourceFormat.TIFF:
            return _load_tiff(opened, at_least)
        case SourceFormat.WEBP:
            assert opened.image is not None
            opened.image.load()  # memory was checked before libwebp was called
            return opened.image


def _load_gif(opened: Opened) -> Image.Image:
    file = opened.gif_file
    assert file is not None
    width, height = opened.header.size
    pixel_bytes = _STILL_GIF_PIXEL_BYTES if gif.covers_all(file) else _GIF_PIXEL_BYTES
    first = file.frames[0]
    check_memory(max(first.width * first.height, width * height) * pixel_bytes, opened.available_bytes)
    return gif.first_picture(opened.data, file)


def _load_jpeg(opened: Opened, at_least: Size | None) -> Image.Image:
    image = opened.image
    assert isinstance(image, JpegImageFile)
    image.decodermaxblock = _BLOCK_BYTES
    if at_least is not None:
        image.draft(None, at_least)
    check_memory(_needed_bytes(opened), opened.available_bytes)
    try:
        image.load()
    except OSError as error:
        if why := jpeg.why_unsupported(opened.data):
            raise UnsupportedFormat(why) from error
        return _load_jpeg_again(opened, len(opened.data), at_least)
    if _ends_in(image, _GREY):
        return _load_jpeg_again(opened, jpeg.end_of_image(opened.data), at_least)
    return image


def _load_jpeg_again(opened: Opened, end: int, at_least: Size | None) -> Image.Image:
    """Decode a JPEG that may end too early, if all that it lacks behind `end` is the end marker.

    libjpeg fills what is missing and says nothing that Pillow passes on. So the file is decoded twice
    with different bytes behind its end: equal pixels mean that none of those were needed.
    """
    check_memory(2 * _needed_bytes(opened) + 2 * len(opened.data), opened.available_bytes)
    attempts = []
    for filler in (b"", _JPEG_FILLER):
        image = JpegImageFile(io.BytesIO(b"".join((opened.data[:end], filler, _JPEG_EOI))))
        if at_least is not None:
            image.draft(None, at_least)
        if image.mode == "CMYK" and "adobe" not in image.info:
            image.tile = [tile._replace(args=("CMYK", "")) for tile in image.tile]
        image.load()
        attempts.append(image)
    whole, filled = attempts
    if ImageChops.difference(whole, filled).getbbox() is not None:
        raise CorruptSource
    return whole


def _load_png(opened: Opened, at_least: Size | None) -> Image.Image:
    image, facts = opened.image, opened.png_facts
    assert isinstance(image, PngImageFile)
    assert facts is not None
    if not image.tile:
        return image
    if not _fits(opened):
        factor, rows = _shrinking(
            opened, at_least, has_alpha=facts.transparent is not None or facts.colour in (4, 6)
        )
        if factor and opened.header.frames == 1 and bands.can_cut_png(facts):
            palette = bytes(image.palette.palette) if image.palette is not None else None
            pieces = bands.png_bands(opened.data, facts, palette, image.info.get("transparency"), rows)
            small = bands.shrink(pieces, image.size, factor)
            small.info.update({k: v for k, v in image.info.items() if k != "transparency"})
            return small
        check_memory(_needed_bytes(opened), opened.available_bytes)
    image.decodermaxblock = _BLOCK_BYTES
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, IndexError):
        # Something behind the pixels, or their checksum: once more without it.
        clean = _mended_png(opened.data, opened.available_bytes)
        again = _opened_png(
            PngImageFile(io.BytesIO(clean)), clean, facts, opened.limits, opened.available_bytes
        )
        assert again.image is not None
        again.image.load()
        image = again.image
        opened.image, opened.data, opened.info = image, clean, image.info
    if (facts.interlaced or _ends_in(image, 0)) and not png.is_whole(opened.data):
        raise CorruptSource
    return image


def _load_tiff(opened: Opened, at_least: Size | None) -> Image.Image:
    assert opened.tiff_facts is not None
    directory, layout = opened.tiff_facts
    image = opened.image
    if image is None:
        check_memory(samples.needed_bytes(layout) + len(opened.data), opened.available_bytes)
        made = samples.decode(opened.data, directory, layout)
        made.info.update(opened.info)
        return made
    if image.tile and not _fits(opened):
        factor, rows = _shrinking(opened, at_least, has_alpha=has_alpha(image))
        if factor and bands.can_cut_tiff(layout, image.mode):
            pieces = bands.tiff_bands(opened.data, directory, layout, rows)
            small = bands.shrink(pieces, image.size, factor)
            small.info.update(opened.info)
            return small
        check_memory(_needed_bytes(opened), opened.available_bytes)
    image.load()
    done = tiff.finished(image, layout)
    if done is not image:
        done.info.update(opened.info)
    return done


def _load_what_is_there(opened: Opened, at_least: Size | None) -> Image.Image:
    """Decode a damaged picture as far as that goes; what is missing is transparent, or else grey.

    Raises CorruptSource when nothing at all is there.
    """
    check_memory(_needed_bytes(opened) + len(opened.data), opened.available_bytes)
    file = io.BytesIO(opened.data)
    image: ImageFile.ImageFile
    match opened.header.format:
        case SourceFormat.JPEG:
            image = JpegImageFile(file)
            if at_least is not None:
                image.draft(None, at_least)
        case SourceFormat.PNG:
            image = PngImageFile(file)
        case SourceFormat.TIFF if opened.image is not None:
            image = TiffImageFile(file)
            image.getexif().pop(_EXIF_ORIENTATION, None)
            image._size = opened.header.size  # noqa: SLF001 - as in `_open_tiff`
        case SourceFormat.GIF if opened.gif_file is not None:
            with _tolerance():
                return _not_empty(gif.first_picture(opened.data, opened.gif_file, tolerant=True))
        case _:
            raise CorruptSource
    image.info.update(opened.info)
    if opened.header.format is not SourceFormat.JPEG:  # libjpeg makes it grey itself
        image.im = Image.new(image.mode, image.size, _filler(image)).im
    with _tolerance():
        try:
            image.load()
        except OSError:
            if opened.header.format is not SourceFormat.TIFF:  # libtiff leaves what it had
                raise
    return _not_empty(image)


def _not_empty(image: Image.Image) -> Image.Image:
    extremes = image.getextrema()
    if all(low == high for low, high in (extremes if isinstance(extremes[0], tuple) else (extremes,))):
        raise CorruptSource
    return image


def _filler(image: Image.Image) -> Any:
    """The pixel that stands for what is missing."""
    if image.mode in {"RGBA", "LA", "La"}:
        return (0,) * len(image.getbands())
    transparent = image.info.get("transparency")
    if image.mode == "P":
        if isinstance(transparent, bytes):
            return max(0, transparent.find(b"\0"))
        return transparent if isinstance(transparent, int) else 0
    if image.mode == "1":
        return 0
    level = _GREY * 257 if image.mode.startswith("I") else 0.5 if image.mode == "F" else _GREY
    return level if len(image.getbands()) == 1 else (_GREY,) * len(image.getbands())


@contextmanager
def _tolerance() -> Iterator[None]:
    """Let Pillow take a file for whole that is not: for the process, which decodes one picture at a time."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def frames(opened: Opened) -> Iterator[Frame]:
    """The frames of an animation in order, each composited over those before it.

    When what is there of a damaged file is to be rendered, an animation ends before the frame that is not.
    """
    width, height = opened.header.size
    tolerant = opened.limits.render_truncated
    if opened.gif_file is not None:
        # A frame may be larger than the canvas.
        largest = max(frame.width * frame.height for frame in opened.gif_file.frames)
        check_memory(max(largest, width * height) * _GIF_PIXEL_BYTES, opened.available_bytes)
        yield from _gif_frames(opened.data, opened.gif_file, tolerant=tolerant)
        return
    check_memory(width * height * _APNG_PIXEL_BYTES, opened.available_bytes)
    image = opened.image
    assert image is not None
    for index in range(opened.first_frame, opened.first_frame + opened.header.frames):
        try:
            with decoder_errors():
                image.seek(index)
                image.load()
                _consistent(image)
                milliseconds = max(0, round(image.info.get("duration") or 0))
        except CorruptSource:
            if tolerant and index > opened.first_frame:
                return
            raise
        yield Frame(image, milliseconds)


def _gif_frames(data: mmap.mmap | bytes, file: gif.GifFile, *, tolerant: bool) -> Iterator[Frame]:
    def decoded(*, tolerant: bool) -> Iterator[Frame]:
        with decoder_errors():
            for image, milliseconds in gif.composite(data, file, tolerant=tolerant):
                yield Frame(image, milliseconds)

    given = 0
    try:
        for frame in decoded(tolerant=False):
            given += 1
            yield frame
    except CorruptSource:
        if not tolerant:
            raise
    else:
        return
    with _tolerance():
        try:
            for index, frame in enumerate(decoded(tolerant=True)):
                if index >= given:
                    yield frame
        except CorruptSource:
            if not given:
                raise


def plays(opened: Opened) -> int:
    """How often an animation is shown; 0 means for ever."""
    return opened.gif_file.plays if opened.gif_file is not None else int(opened.info.get("loop") or 0)


def _ends_in(image: Image.Image, level: int) -> bool:
    """Whether the last row has this level alone, as rows have that nobody wrote (and others may have)."""
    width, height = image.size
    extremes = image.crop((0, height - 1, width, height)).getextrema()
    return all(
        low == high == level for low, high in (extremes if isinstance(extremes[0], tuple) else (extremes,))
    )


def _fits(opened: Opened) -> bool:
    """Whether there is memory to decode the picture as a whole."""
    return is_enough(_needed_bytes(opened), opened.available_bytes)


def _needed_bytes(opened: Opened) -> int:
    """What decoding takes: the pixels, a JPEG's coefficients, a converted copy, one with alpha counted in."""
    image, header = opened.image, opened.header
    if image is None or header.format is SourceFormat.WEBP:
        return 0  # checked elsewhere
    width, height = image.size
    needed: int = (
        width
        * height
        * (PIXEL_BYTES.get(image.mode, 4) + working_bytes(image) + (4 if has_alpha(image) else 0))
    )
    if isinstance(image, JpegImageFile) and (image.info.get("progressive") or header.scans > 1):
        # Coefficients of all components, 16 bit each, are kept for the whole picture (libjpeg, jdcoefct.c).
        blocks = [(layer[1], layer[2]) for layer in image.layer]
        widest, highest = max(h for h, _ in blocks), max(v for _, v in blocks)
        share = sum(h * v for h, v in blocks) / (widest * highest)
        needed += int(header.size[0] * header.size[1] * share * 2)
    return needed + needed // _MARGIN


def _shrinking(opened: Opened, at_least: Size | None, *, has_alpha: bool) -> tuple[int, int]:
    """The least whole number by which a picture has to be shrunk in bands to fit into memory, and their rows.

    0 when none does: `at_least` stays the size that is wanted.
    """
    if at_least is None or opened.available_bytes is None:
        return 0, 0
    width, height = opened.header.size
    for factor in range(2, max(width, height)):
        if -(-width // factor) < at_least[0] or -(-height // factor) < at_least[1]:
            break
        rows = bands.rows_of(width, factor, opened.available_bytes)
        needed = bands.needed_bytes((width, height), factor, rows, has_alpha=has_alpha)
        if is_enough(needed, opened.available_bytes):
            return factor, rows
    return 0, 0
