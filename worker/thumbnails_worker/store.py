"""Gets originals and puts thumbnails by presigned URLs, for the supervisor.

URLs are secrets: none is logged.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from thumbnails_contract.errors import (
    ObjectStoreUnavailable,
    RenderError,
    SourceNotFound,
    SourceTooLarge,
)
from thumbnails_contract.wire import Upload

from .backoff import delays
from .connections import Connections, HttpFailure, Patience
from .multipart import form_around

if TYPE_CHECKING:
    from http.client import HTTPResponse

_T = TypeVar("_T")

_PATIENCE: Final = Patience(connect_seconds=5.0, read_seconds=15.0)
_CHUNK_BYTES: Final = 256 * 1024
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _BOUND_SECONDS = 0.1, 4.0, 30.0

_WRITTEN: Final = frozenset({200, 201, 204})
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404
# Worth another try at once: RFC 9110, S3's own SlowDown (a 503), and a full disk (MinIO, RFC 4918).
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504, 507})


class _Hiccup(Exception):
    """Something that another try may mend."""


class Store:
    """The client; safe to be used by many threads."""

    def __init__(self, give_up: Callable[[], bool], ca_file: str | None = None) -> None:
        """`give_up` says when waiting for the store makes no sense any more; `ca_file` as in Connections."""
        self._connections = Connections(ca_file)
        self._give_up = give_up

    def get(self, url: str, most_bytes: int, most_seconds: float) -> tuple[int, int]:
        """The original as a descriptor of memory (the caller closes it), and its bytes.

        Raises SourceNotFound, SourceTooLarge, or ObjectStoreUnavailable.
        """
        return self._again(lambda: self._get(url, most_bytes, time.monotonic() + most_seconds))

    def put(self, upload: Upload, fields: Mapping[str, str], file: int, size: int) -> str:
        """Write one thumbnail with the policy's fields and these; gives its ETag without quotes.

        `file` is a descriptor of its `size` bytes. Raises RenderError when the store refuses it for good, or
        ObjectStoreUnavailable.
        """
        boundary = os.urandom(16).hex()
        head, tail = form_around({**upload.fields, **fields}, boundary)
        body = bytearray(len(head) + size + len(tail))
        body[: len(head)], body[len(head) + size :] = head, tail
        with memoryview(body) as view:
            os.preadv(file, [view[len(head) : len(head) + size]], 0)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._again(lambda: self._put(upload.url, headers, body))

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.clear()

    def _get(self, url: str, most_bytes: int, deadline: float) -> tuple[int, int]:
        with self._connections.request("GET", url, _PATIENCE, {}) as answer:
            _check_get(answer, most_bytes)
            return _receive(answer, most_bytes, deadline)

    def _put(self, url: str, headers: Mapping[str, str], body: bytearray) -> str:
        with self._connections.request("POST", url, _PATIENCE, headers, body) as answer:
            answer.read()
            status, etag = answer.status, answer.headers.get("ETag", "")
        if status in _WRITTEN:
            return etag.strip('"')
        if status in _TRY_AGAIN:
            raise _Hiccup
        if status == _FORBIDDEN:
            raise _away()
        raise RenderError(f"The object store refused the thumbnail (status {status}).")

    def _again(self, attempt: Callable[[], _T]) -> _T:
        begun = time.monotonic()
        for delay in delays(_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _BOUND_SECONDS):
            try:
                return attempt()
            except (_Hiccup, HttpFailure):
                if self._give_up() or time.monotonic() + delay - begun > _BOUND_SECONDS:
                    break
                time.sleep(delay)
        raise _away()


def _check_get(answer: "HTTPResponse", most_bytes: int) -> None:
    if answer.status == _NOT_FOUND:
        raise SourceNotFound
    if answer.status == _FORBIDDEN:
        raise _away()
    if answer.status != _OK:
        raise _Hiccup
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _too_large(int(length), most_bytes)


def _receive(answer: "HTTPResponse", most_bytes: int, deadline: float) -> tuple[int, int]:
    """The body in a descriptor of memory."""
    descriptor = os.memfd_create("original", os.MFD_CLOEXEC)
    try:
        received = 0
        while chunk := answer.read1(_CHUNK_BYTES):
            received += len(chunk)
            _check_progress(received, most_bytes, deadline)
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        _check_end(answer)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, received


def _check_progress(received: int, most_bytes: int, deadline: float) -> None:
    if received > most_bytes:
        raise _too_large(received, most_bytes)
    if time.monotonic() > deadline:
        raise _Hiccup


def _check_end(answer: "HTTPResponse") -> None:
    if answer.length:  # so much of Content-Length did not come
        raise _Hiccup


def _too_large(size_bytes: int, most_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(f"The picture has at least {size_bytes} bytes; the limit is {most_bytes}.")


def _away() -> ObjectStoreUnavailable:
    """The store did not do it within the bound, or the URL has expired: not the picture's fault."""
    return ObjectStoreUnavailable("A worker cannot use the object store for now.")
