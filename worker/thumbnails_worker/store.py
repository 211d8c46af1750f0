"""Gets originals and puts thumbnails by presigned URLs, for the supervisor.

URLs are secrets: none is logged, and no exception text of urllib3 (which holds them) leaves here.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import urllib3
from urllib3.exceptions import HTTPError

from thumbnails_contract.errors import (
    ObjectStoreUnavailable,
    RenderError,
    SourceNotFound,
    SourceTooLarge,
)
from thumbnails_contract.wire import Upload

from .backoff import delays
from .multipart import form_body

_T = TypeVar("_T")

_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 15.0
_CHUNK_BYTES: Final = 256 * 1024
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _BOUND_SECONDS = 0.1, 4.0, 30.0

_WRITTEN: Final = frozenset({200, 201, 204})
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404
# Worth another try at once: RFC 9110 and S3's own SlowDown, which is a 503.
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})


class _Hiccup(Exception):
    """Something that another try may mend."""


class Store:
    """The client; safe to be used by many threads."""

    def __init__(self, connections: int, give_up: Callable[[], bool]) -> None:
        """`give_up` says when waiting for the store makes no sense any more."""
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=connections, retries=False)
        self._timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        self._give_up = give_up

    def get(self, url: str, most_bytes: int, most_seconds: float) -> tuple[int, int]:
        """The original as a descriptor of memory (the caller closes it), and its bytes.

        Raises SourceNotFound, SourceTooLarge, or ObjectStoreUnavailable.
        """
        return self._again(lambda: self._get(url, most_bytes, time.monotonic() + most_seconds))

    def put(self, upload: Upload, fields: Mapping[str, str], data: bytes) -> str:
        """Write one thumbnail with the policy's fields and these; gives its ETag without quotes.

        Raises RenderError when the store refuses it for good, or ObjectStoreUnavailable.
        """
        boundary = os.urandom(16).hex()
        body = form_body({**upload.fields, **fields}, data, boundary)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._again(lambda: self._put(upload.url, headers, body))

    def _get(self, url: str, most_bytes: int, deadline: float) -> tuple[int, int]:
        with _hiccups():
            answer = self._pool.request(
                "GET", url, timeout=self._timeout, preload_content=False, decode_content=False, redirect=False
            )
            try:
                _check_get(answer, most_bytes)
                taken = _receive(answer, most_bytes, deadline)
            except BaseException:
                answer.close()  # what is still to come is not wanted
                raise
            answer.release_conn()
            return taken

    def _put(self, url: str, headers: Mapping[str, str], body: bytes) -> str:
        with _hiccups():
            answer = self._pool.request(
                "POST", url, body=body, headers=headers, timeout=self._timeout, redirect=False
            )
        if answer.status in _WRITTEN:
            return answer.headers.get("ETag", "").strip('"')
        if answer.status in _TRY_AGAIN:
            raise _Hiccup
        if answer.status == _FORBIDDEN:
            raise _away()
        raise RenderError(f"The object store refused the thumbnail (status {answer.status}).")

    def _again(self, attempt: Callable[[], _T]) -> _T:
        begun = time.monotonic()
        for delay in delays(_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _BOUND_SECONDS):
            try:
                return attempt()
            except _Hiccup:
                if self._give_up() or time.monotonic() + delay - begun > _BOUND_SECONDS:
                    break
                time.sleep(delay)
        raise _away()


def _check_get(answer: urllib3.BaseHTTPResponse, most_bytes: int) -> None:
    if answer.status == _NOT_FOUND:
        raise SourceNotFound
    if answer.status == _FORBIDDEN:
        raise _away()
    if answer.status != _OK:
        raise _Hiccup
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _too_large(int(length), most_bytes)


def _receive(answer: urllib3.BaseHTTPResponse, most_bytes: int, deadline: float) -> tuple[int, int]:
    """The body in a descriptor of memory. urllib3 itself checks that all of Content-Length came."""
    descriptor = os.memfd_create("original", os.MFD_CLOEXEC)
    try:
        received = 0
        while chunk := answer.read(_CHUNK_BYTES):
            received += len(chunk)
            _check_progress(received, most_bytes, deadline)
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, received


def _check_progress(received: int, most_bytes: int, deadline: float) -> None:
    if received > most_bytes:
        raise _too_large(received, most_bytes)
    if time.monotonic() > deadline:
        raise _Hiccup


@contextmanager
def _hiccups() -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError) as error:
        raise _Hiccup from error


def _too_large(size_bytes: int, most_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(f"The picture has at least {size_bytes} bytes; the limit is {most_bytes}.")


def _away() -> ObjectStoreUnavailable:
    """The store did not do it within the bound, or the URL has expired: not the picture's fault."""
    return ObjectStoreUnavailable("A worker cannot use the object store for now.")
