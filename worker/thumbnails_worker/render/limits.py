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
    most_scans: int | None = None  # where fewer make sense than the limit lets through


def check_source(header: Header, limits: Limits) -> None:
    """Raise SourceTooLarge, with the number and the limit, when a picture is over a limit."""
    width, height = header.size
    pixels = width * height
    if pixels > limits.pixels:
        raise SourceTooLarge(
            f"The picture has {width} x {height} = {pixels} pixels; the limit is {limits.pixels}."
        )
    most_scans = limits.scans if header.most_scans is None else header.most_scans
    if header.scans > most_scans:
        raise SourceTooLarge(f"The JPEG has more than {most_scans} scans; save it with fewer.")
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


def check_parts(parts: Iterable[object], limits: Limits) -> None:
    """Raise SourceTooLarge when a file has too many parts: each costs time, however little it holds."""
    for count, _part in enumerate(parts, 1):
        if count > limits.parts:
            raise SourceTooLarge(
                f"The file is made of more than {limits.parts} chunks, strips or tiles; save it with fewer."
            )


def is_enough(needed_bytes: int, available_bytes: int | None) -> bool:
    """Whether there is so much memory for decoding."""
    return available_bytes is None or needed_bytes <= available_bytes


def check_memory(needed_bytes: int, available_bytes: int | None) -> None:
    """Raise SourceTooLarge when decoding would certainly need more memory than there is."""
    if available_bytes is not None and not is_enough(needed_bytes, available_bytes):
        raise SourceTooLarge(
            f"Decoding the picture needs about {needed_bytes // MIB} MiB of memory;"
            f" a worker has {available_bytes // MIB} MiB for it."
        )


def check_output(size: Size, frames: int, limits: Limits) -> None:
    """Raise OutputTooLarge when a thumbnail of so many frames would be over a limit."""
    width, height = size
    if width * height * frames > limits.output_pixels:
        raise OutputTooLarge(
            f"The thumbnail would have {frames} x {width} x {height} pixels;"
            f" the limit is {limits.output_pixels}. Ask for a smaller one, or for a still picture."
        )
    if max(width, height) > limits.output_side:
        raise OutputTooLarge(
            f"The thumbnail would measure {width} x {height}; a side may have {limits.output_side} pixels."
        )


def check_encoder(size: Size, needed_bytes: int, available_bytes: int | None) -> None:
    """Raise OutputTooLarge when the encoder would need more memory than there is."""
    if available_bytes is not None and needed_bytes > available_bytes:
        raise OutputTooLarge(
            f"To write {size[0]} x {size[1]} pixels in this format takes about {needed_bytes // MIB} MiB of"
            f" memory; a worker has {available_bytes // MIB} MiB. Ask for a smaller thumbnail."
        )


def check_animations(sizes: Iterable[Size], frames: int, available_bytes: int | None) -> None:
    """Raise OutputTooLarge when the frames of all animated thumbnails together exceed the memory."""
    needed_bytes = sum(width * height * 4 * frames for width, height in sizes)
    if available_bytes is not None and needed_bytes > available_bytes:
        raise OutputTooLarge(
            f"The {frames} frames of the animated thumbnails need {needed_bytes // MIB} MiB of memory;"
            f" a worker has {available_bytes // MIB} MiB. Ask for smaller ones, or for still pictures."
        )
