"""Gives the pixels of a file that was opened (`opening.py`): a still picture, or frames.

A picture that does not fit into memory is decoded in bands where its format allows it (`bands.py`); one that
is not whole is refused, or shown as far as it goes, as the item's limits say.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageChops, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from thumbnails_contract.errors import CorruptSource, UnsupportedFormat

from . import bands, gif, jpeg, png, samples, tiff
from .geometry import Size
from .limits import check_memory, is_enough
from .modes import PIXEL_BYTES, has_alpha, working_bytes
from .opening import Opened, decoder_errors, jpeg_image, leave_as_stored, mended_png, opened_png
from .sniff import SourceFormat

# What Pillow reads of a file at once. Between blocks libjpeg stops in the middle of a row and begins it
# again: with Pillow's own 64 KiB that is 3 % of a JPEG's time.
_BLOCK_BYTES: Final = 1 << 20
# What is added to the memory of pixels, as its share: buffers, and what malloc cannot use of what it has.
_MARGIN: Final = 8
_JPEG_EOI: Final = b"\xff\xd9"
# Entropy-coded filler that decodes to something else than the zeros libjpeg makes up.
_JPEG_FILLER: Final = b"\xa5\x5a" * 4096
_GREY: Final = 128  # what libjpeg makes of missing pixels, and we of others'
# Bytes a pixel of a GIF's canvas: two of them, one to restore, the frame, its colours and its mask.
_GIF_PIXEL_BYTES: Final = 3 * 4 + 1 + 4 + 1
# The frame, and what it is converted to.
_STILL_GIF_PIXEL_BYTES: Final = 1 + 4
# Pillow keeps the canvas, the frame, and the frame before it to restore.
_APNG_PIXEL_BYTES: Final = 4 * 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of an animation, composited, and how long it stays."""

    image: Image.Image
    milliseconds: int
    is_same: bool = False  # as the one before: known without a look at pixels, where it is known


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
            return _load_webp(opened)


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
        whole = b"".join((opened.data[:end], filler, _JPEG_EOI))
        image = jpeg_image(io.BytesIO(whole), at_least)
        image.load()
        attempts.append(image)
    zeros, filled = attempts
    if ImageChops.difference(zeros, filled).getbbox() is not None:
        raise CorruptSource
    return zeros


def _load_webp(opened: Opened) -> Image.Image:
    """Memory was checked before libwebp was called (`opening.py`)."""
    image = opened.image
    assert isinstance(image, WebPImageFile)
    if opened.header.frames > 1:
        image.load()
        return image
    # As Pillow does it, but libwebp's two canvases go before the picture is made of its answer.
    pixels, _milliseconds = image._decoder.get_next()  # noqa: SLF001 - as above
    image._decoder = None  # noqa: SLF001 - as above
    made = Image.frombuffer(image.mode, image.size, pixels, "raw", image.rawmode, 0, 1)
    made.info.update(opened.info)
    return made


def _load_png(opened: Opened, at_least: Size | None) -> Image.Image:
    image, facts = opened.image, opened.png_facts
    assert isinstance(image, PngImageFile)
    assert facts is not None
    if not image.tile:
        return image
    if not fits(opened):
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
        clean = mended_png(opened.data, opened.available_bytes)
        again = opened_png(
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
    if image.tile and not fits(opened):
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
            image = jpeg_image(file, at_least)
        case SourceFormat.PNG:
            image = PngImageFile(file)
        case SourceFormat.TIFF if opened.image is not None:
            image = TiffImageFile(file)
            leave_as_stored(image, opened.header.size)
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
    if all(low == high for low, high in _extremes(image)):
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
            previous = None
            for image, milliseconds in gif.composite(data, file, tolerant=tolerant):
                yield Frame(image, milliseconds, is_same=image is previous)
                previous = image

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
    last_row = image.crop((0, height - 1, width, height))
    return all(low == high == level for low, high in _extremes(last_row))


def _extremes(image: Image.Image) -> tuple[tuple[float, float], ...]:
    """The least and the greatest value of each band."""
    extremes: Any = image.getextrema()
    return extremes if isinstance(extremes[0], tuple) else (extremes,)


def fits(opened: Opened) -> bool:
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
