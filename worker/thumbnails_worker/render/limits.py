"""Decides from a file's header alone whether a picture is within what may be decoded here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from thumbnails_contract.errors import OutputTooLarge, SourceTooLarge
from thumbnails_contract.wire import Limits

from .geometry import Size
from .sniff import SourceFormat

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before any pixel is decoded."""

    format: SourceFormat
    size: Size  # as stored, of the canvas
    frames: int = 1
    scans: int = 1


def check_source(header: Header, limits: Limits) -> None:
    """Raise SourceTooLarge, with the number and the limit, when a picture is over a limit."""
    width, height = header.size
    pixels = width * height
    if pixels > limits.pixels:
        raise SourceTooLarge(
            f"The picture has {width} x {height} = {pixels} pixels; the limit is {limits.pixels}."
        )
    if header.scans > limits.scans:
        raise SourceTooLarge(f"The JPEG has more than {limits.scans} scans; save it with fewer.")
    if header.frames == 1:
        return
    if header.frames > limits.frames:
        raise SourceTooLarge(f"The animation has more than {limits.frames} frames.")
    if pixels > limits.frame_pixels:
        raise SourceTooLarge(
            f"A frame of the animation has {width} x {height} = {pixels} pixels;"
            f" the limit is {limits.frame_pixels}."
        )
    if pixels * header.frames > limits.total_pixels:
        raise SourceTooLarge(
            f"The animation has {header.frames} frames of {pixels} pixels;"
            f" the limit for all together is {limits.total_pixels} pixels."
        )


def check_memory(needed_bytes: int, available_bytes: int | None) -> None:
    """Raise SourceTooLarge when decoding would certainly need more memory than there is."""
    if available_bytes is not None and needed_bytes > available_bytes:
        raise SourceTooLarge(
            f"Decoding the picture needs about {needed_bytes // MIB} MiB of memory;"
            f" a worker has {available_bytes // MIB} MiB for it."
        )


def check_output(size: Size, limits: Limits) -> None:
    """Raise OutputTooLarge when a thumbnail would be over the limit."""
    width, height = size
    if max(width, height) > limits.output_side:
        raise OutputTooLarge(
            f"The thumbnail would measure {width} x {height}; a side may have {limits.output_side} pixels."
        )


def check_animations(sizes: Iterable[Size], frames: int, available_bytes: int | None) -> None:
    """Raise OutputTooLarge when the frames of all animated thumbnails together exceed the memory."""
    needed_bytes = sum(width * height * 4 * frames for width, height in sizes)
    if available_bytes is not None and needed_bytes > available_bytes:
        raise OutputTooLarge(
            f"The {frames} frames of the animated thumbnails need {needed_bytes // MIB} MiB of memory;"
            f" a worker has {available_bytes // MIB} MiB. Ask for smaller ones, or for still pictures."
        )
