"""Decides from a file's first bytes, and never from its name, which of our formats it is."""

from enum import StrEnum

from thumbnails_contract.errors import CorruptSource, UnsupportedFormat


class SourceFormat(StrEnum):
    """What we decode. The values are the words of `SourceFacts.format`."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    TIFF = "tiff"


HEADER_BYTES = 12

_SIGNATURES = (
    (b"\xff\xd8\xff", SourceFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", SourceFormat.PNG),
    (b"GIF87a", SourceFormat.GIF),
    (b"GIF89a", SourceFormat.GIF),
    (b"II*\x00", SourceFormat.TIFF),
    (b"MM\x00*", SourceFormat.TIFF),
    (b"II+\x00", SourceFormat.TIFF),  # BigTIFF
    (b"MM\x00+", SourceFormat.TIFF),
)


def sniff(head: bytes) -> SourceFormat:
    """The format of a file that begins with `head` (at least `HEADER_BYTES`, or all there is).

    Raises CorruptSource for an empty file and UnsupportedFormat for everything else we do not know.
    """
    if not head:
        raise CorruptSource("The file is empty; send the picture again.")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return SourceFormat.WEBP
    for signature, format_ in _SIGNATURES:
        if head.startswith(signature):
            return format_
    raise UnsupportedFormat
