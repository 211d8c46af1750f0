"""Receives a body in chunks (RFC 9112 section 7.1), for server.py, in place of waitress' own receiver.

That one keeps a chunk's first line, and the trailer, in memory whatever their length, and copies all that has
come for each chunk: a body of endless lines, or of chunks of one byte, would take the memory of the process,
or the time of all connections. Here lines are short, and all of them together are little beside the body.
"""

import re
from typing import Any, Final

from waitress.utilities import BadRequest

MAX_LINE_BYTES: Final = 4096
MAX_TRAILER_BYTES: Final = 8192
# Lines and trailer of all chunks together: so much in any case, and a part of the body's own bytes.
FREE_FRAMING_BYTES: Final = 64 * 1024
_FRAMING_PART: Final = 16
_END: Final = b"\r\n"
# The size, and extensions, which mean nothing here.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")


class ChunkedReceiver:
    """What waitress' parser wants of a receiver. `buf` takes the body's bytes."""

    def __init__(self, buf: Any) -> None:
        self._buf = buf
        self.completed = False
        self.error: BadRequest | None = None
        self._line = b""  # what has come of a line
        self._left = 0  # bytes of a chunk that are still to come
        self._expect = self._on_size
        self._body_bytes = 0
        self._framing_bytes = 0
        self._trailer_bytes = 0

    def __len__(self) -> int:
        return int(self._buf.__len__())

    def getfile(self) -> Any:
        """The body, once it is complete."""
        return self._buf.getfile()

    def getbuf(self) -> Any:
        """Where it is received."""
        return self._buf

    def received(self, data: bytes) -> int:
        """Take in what has come; how many bytes of it belong to this body."""
        start, end = 0, len(data)
        while start < end and not self.completed and self.error is None:
            if self._left:
                part = data[start : start + self._left]
                self._buf.append(part)
                start += len(part)
                self._left -= len(part)
                self._body_bytes += len(part)
            else:
                start = self._take_line(data, start)
        return start

    def _take_line(self, data: bytes, start: int) -> int:
        """Take in a line, or its beginning; where what comes after it starts."""
        before = len(self._line)
        line = self._line + data[start : start + MAX_LINE_BYTES + len(_END)]
        length = line.find(_END)
        if length < 0:
            if len(line) > MAX_LINE_BYTES:
                self._fail("a line is too long")
            self._line = line
            return len(data)
        self._line = b""
        self._framing_bytes += length + len(_END)
        if self._framing_bytes > FREE_FRAMING_BYTES + self._body_bytes // _FRAMING_PART:
            self._fail("the chunks are too small")
        else:
            self._expect(line[:length])
        return start + length + len(_END) - before

    def _on_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            self._fail("that is no chunk")
            return
        self._left = int(match[1], 16)
        self._expect = self._on_end_of_chunk if self._left else self._on_trailer

    def _on_end_of_chunk(self, line: bytes) -> None:
        if line:
            self._fail("a chunk is longer than it says")
        self._expect = self._on_size

    def _on_trailer(self, line: bytes) -> None:
        """Its fields mean nothing here."""
        self._trailer_bytes += len(line)
        if not line:
            self.completed = True
        elif self._trailer_bytes > MAX_TRAILER_BYTES:
            self._fail("the trailer is too long")

    def _fail(self, why: str) -> None:
        self.error = BadRequest(why)
