"""Renders one original into all its thumbnails: the order of the steps, for the renderer.

The original is decoded once for all outputs; outputs that differ in nothing but the format share
their pixels.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from PIL import Image

from thumbnails_contract.errors import RenderError, ThumbnailsError
from thumbnails_contract.spec import Format, Metadata, Output, Position
from thumbnails_contract.status import SourceFacts
from thumbnails_contract.wire import Limits

from . import decode, metadata, opening
from .attention import find_anchor
from .colour import to_srgb
from .compose import compose, is_opaque, parse_background
from .encode import WITH_ALPHA, WITH_FRAMES, Encoded, Recipe, encode, stays, working_bytes
from .geometry import Placement, Size, anchor_of, place, slack
from .limits import Header, check_animations, check_encoder, check_output
from .modes import GREY_MODES, to_working
from .orient import to_stored, turn, turn_size
from .resize import Resize
from .sniff import SourceFormat
from .thumbhash import thumbhash

# How Pillow tells that libwebp (VP8_ENC_ERROR_OUT_OF_MEMORY) and libavif got no memory.
_OUT_OF_MEMORY: Final = frozenset(
    {
        "encoding error 1",
        "Failed to encode image: Out of memory",
        "Failed to encode image: Encoding of color planes failed",
        "Failed to encode image: Encoding of alpha plane failed",
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thumbnail that was asked for; `output.formats` is not looked at."""

    output: Output
    format: Format


@dataclass(frozen=True, slots=True)
class Rendered:
    """All thumbnails in the order asked for, and what the original was found to be."""

    source: SourceFacts
    pictures: tuple[Encoded, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where one output's pixels come from."""

    wanted: Wanted
    placement: Placement
    animated: bool


def render(
    file: BinaryIO,
    data: mmap.mmap | bytes,
    wanted: Sequence[Wanted],
    limits: Limits,
    resize: Resize,
    available_bytes: int | None = None,
) -> Rendered:
    """Render the file (`file` and `data` are the same bytes).

    Raises a SourceError of the contract for what is wrong with the picture, RenderError when a
    thumbnail cannot be written, MemoryError when there is not enough. `available_bytes` is what
    decoding may take, None when that is not bounded.
    """
    opened = opening.open_source(file, data, limits, available_bytes)
    orientation = metadata.read_orientation(opened)
    header = opened.header
    displayed = turn_size(header.size, orientation)
    facts = SourceFacts(header.format.value, *displayed, header.frames, len(data))
    plans = [_plan(item, displayed, header, limits, available_bytes) for item in wanted]
    exif = (
        metadata.read_exif(opened) if any(p.wanted.output.metadata is Metadata.KEEP for p in plans) else None
    )

    still, moving = [p for p in plans if not p.animated], [p for p in plans if p.animated]
    check_animations([p.placement.canvas for p in moving], header.frames, available_bytes)
    done: dict[int, Encoded] = {}
    if still:
        whole = (max(p.placement.whole[0] for p in still), max(p.placement.whole[1] for p in still))
        loaded = decode.load(opened, turn_size(whole, orientation))
        picture = _Picture(loaded, displayed, orientation, resize)
        for plan in still:
            pixels = picture.make(plan)
            done[id(plan)] = _write([pixels], [0], 1, plan, header.format, exif, grey=picture.grey)
    if moving:
        made: dict[int, list[Image.Image]] = {id(plan): [] for plan in moving}
        milliseconds: list[int] = []
        placements: dict[int, _Plan] = {}
        for frame in decode.frames(opened):
            milliseconds.append(frame.milliseconds)
            if frame.is_same:
                for pictures in made.values():
                    pictures.append(pictures[-1])
                continue
            picture = _Picture(frame.image, displayed, orientation, resize)
            for plan in moving:
                settled = placements.setdefault(id(plan), picture.settle(plan))
                pictures, pixels = made[id(plan)], picture.make(settled)
                pictures.append(pictures[-1] if pictures and _are_equal(pictures[-1], pixels) else pixels)
        for plan in moving:
            pictures = made.pop(id(plan))
            done[id(plan)] = _write(pictures, milliseconds, decode.plays(opened), plan, header.format, exif)
    return Rendered(facts, tuple(done[id(plan)] for plan in plans))


def _plan(
    wanted: Wanted,
    displayed: Size,
    header: Header,
    limits: Limits,
    available_bytes: int | None,
) -> _Plan:
    output = wanted.output
    placement = place(displayed, output, anchor_of(output.position))
    format_ = Format(header.format.value) if wanted.format is Format.AUTO else wanted.format
    animated = header.frames > 1 and output.animated and format_ in WITH_FRAMES
    check_output(placement.canvas, header.frames if animated else 1, limits)
    check_encoder(placement.canvas, working_bytes(format_, placement.canvas), available_bytes)
    return _Plan(wanted, placement, animated)


class _Picture:
    """One decoded picture, as stored, from which outputs are made."""

    def __init__(self, loaded: Image.Image, displayed: Size, orientation: int, resize: Resize) -> None:
        self._icc_profile = loaded.info.get("icc_profile")
        with opening.decoder_errors():
            self._image = to_working(loaded)
        self._displayed = displayed
        self._orientation = orientation
        self._resize = resize
        self.grey = loaded.mode in GREY_MODES
        self._made: dict[Placement, Image.Image] = {}

    def settle(self, plan: _Plan) -> _Plan:
        """The plan with the crop that this picture's interesting part asks for."""
        output = plan.wanted.output
        if output.position is not Position.ATTENTION or not any(slack(self._displayed, output)):
            return plan
        left, top, right, bottom = plan.placement.crop
        share = ((right - left) / self._displayed[0], (bottom - top) / self._displayed[1])
        image = self._image.reduce(max(1, min(self._image.size) // 128))
        anchor = find_anchor(turn(image, self._orientation), share)
        return _Plan(plan.wanted, place(self._displayed, output, anchor), plan.animated)

    def make(self, plan: _Plan) -> Image.Image:
        """The pixels of one output, in sRGB, upright, without a canvas."""
        placement = self.settle(plan).placement if not plan.animated else plan.placement
        if placement not in self._made:
            self._made[placement] = self._cut(placement)
        return self._made[placement]

    def _cut(self, placement: Placement) -> Image.Image:
        image = self._image
        stored = turn_size(self._displayed, self._orientation)
        # A JPEG may have been decoded smaller: by exactly this, while its size was rounded up.
        shrunk = max(round(stored[0] / image.width), round(stored[1] / image.height))
        left, top, right, bottom = to_stored(placement.crop, self._displayed, self._orientation)
        box = (left / shrunk, top / shrunk, right / shrunk, bottom / shrunk)
        size = turn_size(placement.size, self._orientation)
        if image.size == size and box == (0.0, 0.0, *map(float, size)):
            small = image.copy()
        else:
            small = self._resize(image, box, size)
        finished = turn(to_srgb(small, self._icc_profile), self._orientation)
        finished.info.clear()  # a profile, a comment, ...: the writers would take them from here
        return finished


def _are_equal(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.tobytes() == other.tobytes()


def _write(
    pictures: list[Image.Image],
    milliseconds: list[int],
    plays: int,
    plan: _Plan,
    source: SourceFormat,
    exif: Image.Exif | None,
    *,
    grey: bool = False,
) -> Encoded:
    output = plan.wanted.output
    pictures, runs = _without_repetitions(pictures, milliseconds)
    opaque = all(is_opaque(picture) for picture in pictures)
    if opaque:
        pictures = [picture.convert("RGB") if picture.mode == "RGBA" else picture for picture in pictures]
    format_ = _resolve(plan.wanted.format, source, opaque=opaque)
    background = parse_background(output.background, alpha=format_ in WITH_ALPHA)
    canvases = [compose(picture, plan.placement, background) for picture in pictures]
    if format_ is Format.PNG and grey and background.grey:
        canvases = [canvas.convert("LA") if canvas.mode == "RGBA" else canvas for canvas in canvases]
    recipe = Recipe(format_, output.quality, exif if output.metadata is Metadata.KEEP else None)
    try:
        return replace(
            encode(canvases, stays(runs, format_), plays, recipe), thumbhash=thumbhash(canvases[0])
        )
    except (MemoryError, ThumbnailsError):
        raise
    except Exception as error:
        if str(error) in _OUT_OF_MEMORY:
            raise MemoryError from error
        raise RenderError(f"The thumbnail cannot be written as {format_.value}.") from error


def _without_repetitions(
    pictures: Sequence[Image.Image], milliseconds: Sequence[int]
) -> tuple[list[Image.Image], list[list[int]]]:
    """Each picture once where it stands several times in a row, and how long it stays each time."""
    different: list[Image.Image] = []
    runs: list[list[int]] = []
    for picture, length in zip(pictures, milliseconds, strict=True):
        if different and picture is different[-1]:
            runs[-1].append(length)
        else:
            different.append(picture)
            runs.append([length])
    return different, runs


def _resolve(format_: Format, source: SourceFormat, *, opaque: bool) -> Format:
    """What `auto` means: the original's format, but browsers show no TIFF."""
    if format_ is not Format.AUTO:
        return format_
    if source is SourceFormat.TIFF:
        return Format.JPEG if opaque else Format.PNG
    return Format(source.value)
