"""Which bytes of a file a request asks for (RFC 9110 section 14), for thumbnails and originals."""

import re
from dataclasses import dataclass

from thumbnails_contract.errors import RangeNotSatisfiable

_SINGLE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `offset`, at least one, all within the file."""

    offset: int
    length: int

    def content_range(self, size: int) -> str:
        """The value of Content-Range for a file of `size` bytes."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


def select_range(header: str | None, if_range: str | None, *, etag: str, size: int) -> ByteRange | None:
    """The range to answer with; None for the whole file.

    `etag` is the strong validator without quotes. A header that is malformed, of another unit or of
    several ranges is ignored, as the RFC allows, and so is one whose If-Range does not hold (dates
    never do: there is no Last-Modified). Raises RangeNotSatisfiable for a range past the end.
    """
    if header is None or (if_range is not None and if_range.strip() != f'"{etag}"'):
        return None
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise RangeNotSatisfiable
        return ByteRange(size - length, length)
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable
    return ByteRange(first, min(last, size - 1) - first + 1)


def matches_etag(header: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of entity tags (If-Match, If-None-Match) names `etag`, or is `*`."""
    for item in header.split(","):
        tag = item.strip()
        if tag in {"*", f'"{etag}"'} or (weakly and tag == f'W/"{etag}"'):
            return True
    return False
