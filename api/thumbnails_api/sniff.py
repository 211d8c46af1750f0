"""What a file is and how many pixels it has, from its first bytes, for the limits of uploads.

No decoder is involved: the process that holds keys of the object store never decodes a picture.
`imagesize` reads the header of hostile files too, so it gets a reader with a budget.
"""

from typing import BinaryIO, Final

import imagesize

from thumbnails_contract.spec import Format

# So many bytes are enough for `sniff_format`.
HEAD_BYTES: Final = 16

# Whole signatures: three bytes of one would take a text that begins with "GIF" for a picture.
# `II+` and `MM+` are BigTIFF.
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
    (b"II+\x00", Format.TIFF),
    (b"MM\x00+", Format.TIFF),
)

# Of a first entry, or of the end of an empty one (APPNOTE.TXT sections 4.3.7 and 4.3.16).
_ARCHIVE_SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06")

# What can be uploaded.
DECODED_FORMATS: Final = (*dict.fromkeys(format_ for _, format_ in _SIGNATURES), Format.WEBP)

_WEBP_KIND: Final = 12  # where the first chunk of a WebP is named
_VP8_SIDE: Final = (1 << 14) - 1

# A JPEG with 255 segments of an ICC profile and as many of XMP takes some 2,000 reads.
_READ_BUDGET: Final = 4_000
_BYTE_BUDGET: Final = 1 << 20


def sniff_format(head: bytes) -> Format | None:
    """The format of a file that begins with `head`; None for all that is not decoded here."""
    for signature, format_ in _SIGNATURES:
        if head.startswith(signature):
            return format_
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    return None


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` is a ZIP."""
    return head.startswith(_ARCHIVE_SIGNATURES)


def content_type(format_: Format) -> str:
    """`image/jpeg` and the like."""
    return f"image/{format_.value}"


class _BudgetSpent(ValueError):
    """The header is longer, or has more pieces, than any honest one."""


class _FrugalReader:
    """A reader for `imagesize` that ends endless walks.

    Its loops are bounded by the file alone: 128 MB of zeros after a JPEG's first marker are as many
    calls of read(1), and a BigTIFF may claim 2**64 entries.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_left = _READ_BUDGET
        self._bytes_left = _BYTE_BUDGET

    def read(self, size: int = -1) -> bytes:
        self._reads_left -= 1
        if size < 0 or size > self._bytes_left or self._reads_left < 0:
            raise _BudgetSpent
        data = self._file.read(size)
        self._bytes_left -= len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)


def read_dimensions(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height in pixels as stored (not rotated), or None: unknown, and for the worker to find out.

    `file` holds one picture from its offset 0 and is left anywhere. A header that is truncated or
    damaged is unknown too: only the worker can say `CorruptSource`.
    """
    file.seek(0)
    width, height = imagesize.get(_FrugalReader(file), exif_rotation=False)  # -1 for whatever goes wrong
    file.seek(_WEBP_KIND)
    if width > 0 and height > 0 and file.read(4) == b"VP8 ":
        # The two bits above each are hints how to scale it (RFC 6386, 9.1), which imagesize counts in.
        width, height = width & _VP8_SIDE, height & _VP8_SIDE
    return (width, height) if width > 0 and height > 0 else None
