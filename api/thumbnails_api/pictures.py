"""One picture of an upload, in whatever way it comes: copied, hashed, sniffed, held against limits.

Nothing here is ever whole in memory but what is small.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from thumbnails_contract.errors import (
    PayloadTooLarge,
    SourceTooLarge,
    ThumbnailsError,
    UnsupportedFormat,
)
from thumbnails_contract.spec import Format

from .sniff import HEAD_BYTES, read_dimensions, sniff_format
from .spool import full_disk

MAX_FILE_NAME_LENGTH: Final = 255

# Measured: larger chunks leave the CPU's caches.
_COPY_CHUNK_BYTES: Final = 256 * 1024


class TooManyBytes(Exception):
    """The stream goes on beyond the limit."""


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What one picture may be."""

    bytes: int
    pixels: int

    def too_many_bytes(self) -> PayloadTooLarge:
        """What is said of a picture with more."""
        return PayloadTooLarge(f"A picture may have at most {self.bytes} bytes.")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is within the limits. `data` is seekable, holds it from offset 0, and stands there."""

    file_name: str | None
    data: BinaryIO
    bytes: int
    sha256: str
    format: Format


@dataclass(frozen=True, slots=True)
class Rejected:
    """A picture that is not taken, and why."""

    file_name: str | None
    error: ThumbnailsError


def clean_file_name(name: str | None) -> str | None:
    """What a client calls its file, fit to be shown to people: no folders, no control characters, short."""
    if name is None:
        return None
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    # Controls, and formats such as the right-to-left override that makes "gpj.exe" of "exe.jpg".
    visible = "".join(
        char for char in base if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
    return visible.strip()[:MAX_FILE_NAME_LENGTH] or None


def header_file_name(name: str) -> str:
    """A file's name for `Content-Disposition`, where Falcon escapes nothing: a quote would end it there.

    It is cleaned once more, since who makes a job with kubectl writes its name as well.
    """
    return (clean_file_name(name) or "picture").replace('"', "'")


def digest(
    stream: BinaryIO, spool: BinaryIO | None, max_bytes: Callable[[bytes], int]
) -> tuple[int, str, bytes]:
    """Read all of a stream, into `spool` if there is one: its size, SHA-256 and first bytes.

    `max_bytes` says how many there may be of what begins so. Raises TooManyBytes and Overloaded.
    """
    sha256 = hashlib.sha256()
    head, size, limit = b"", 0, 0
    try:
        while chunk := stream.read(_COPY_CHUNK_BYTES):
            if not head:
                head = chunk[:HEAD_BYTES]
                limit = max_bytes(head)
            size += len(chunk)
            if size > limit:
                raise TooManyBytes
            sha256.update(chunk)
            if spool is not None:
                spool.write(chunk)
        if spool is not None:
            spool.flush()
    except OSError as error:
        raise full_disk(error) from error
    return size, sha256.hexdigest(), head


def judge(
    file_name: str | None, data: BinaryIO, size: int, sha256: str, head: bytes, limits: PictureLimits
) -> Picture | Rejected:
    """A picture of what `digest` has read, or why it is none that is taken."""
    format_ = sniff_format(head)
    if format_ is None:
        return Rejected(file_name, UnsupportedFormat())
    dimensions = read_dimensions(data)
    if dimensions is not None and dimensions[0] * dimensions[1] > limits.pixels:
        width, height = dimensions
        message = f"{width} x {height} is more than the limit of {limits.pixels} pixels."
        return Rejected(file_name, SourceTooLarge(message))
    data.seek(0)
    return Picture(file_name, data, size, sha256, format_)
