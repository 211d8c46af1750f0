"""Answers with a file of the object store, for thumbnails and originals: conditions, ranges, streaming."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import falcon

from thumbnails_common.objectstore import ObjectBody, ObjectStore
from thumbnails_contract.errors import (
    InvalidRequest,
    ObjectStoreUnavailable,
    PreconditionFailed,
    RangeNotSatisfiable,
)

from .pictures import header_file_name
from .problems import write_problem
from .ranges import ByteRange, matches_etag, select_range
from .thumbnail_cache import ThumbnailCache

log = logging.getLogger(__name__)

# What we make or take; a browser must never be told that somebody's bytes are a page.
SERVED_TYPES: Final = frozenset(
    {"image/jpeg", "image/png", "image/webp", "image/avif", "image/gif", "image/tiff"}
)
# Four times a usual thumbnail: those are answered from one read, and need no stream.
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to serve, as it is known before the store is asked. `etag` is without quotes."""

    object_key: str
    etag: str
    bytes: int
    content_type: str
    file_name: str
    cache_control: str


def serve_file(
    req: falcon.Request,
    resp: falcon.Response,
    file: StoredFile,
    objects: ObjectStore,
    cache: ThumbnailCache | None = None,
) -> None:
    """Answer a GET or HEAD. Raises NoSuchObject, Unavailable, PreconditionFailed.

    HEAD, a matching If-None-Match and what is in the cache are answered without a word to the object store.
    """
    if answer_condition(req, resp, file):
        return
    if req.method == "HEAD":
        _set_headers(resp, file, file.etag)
        resp.set_header("Content-Length", str(file.bytes))
        return
    try:
        part = select_range(
            req.get_header("Range"), req.get_header("If-Range"), etag=file.etag, size=file.bytes
        )
    except RangeNotSatisfiable as error:
        write_problem(resp, error)
        resp.set_header("Content-Range", f"bytes */{file.bytes}")
        return
    data = cache.get(file.object_key, file.etag, file.bytes) if cache is not None else None
    if data is not None:
        _set_headers(resp, file, file.etag)
        _set_range(resp, file, part)
        resp.data = data if part is None else data[part.offset : part.offset + part.length]
        return
    body, part = _open(objects, file, part)
    _set_headers(resp, file, body.facts.etag)
    _set_range(resp, file, part)
    is_as_known = (body.facts.etag, body.facts.bytes) == (file.etag, file.bytes)
    if cache is not None and part is None and is_as_known and cache.takes(file.bytes):
        resp.data = _read(body)
        cache.put(file.object_key, file.etag, resp.data)
        return
    _send(resp, body, body.facts.bytes if part is None else part.length, req.context.request_id)


def answer_condition(req: falcon.Request, resp: falcon.Response, file: StoredFile) -> bool:
    """Answer with a 304 if the client's copy is still good; whether it is. Raises PreconditionFailed."""
    if_match = req.get_header("If-Match")
    if if_match is not None and not matches_etag(if_match, file.etag, weakly=False):
        raise PreconditionFailed
    if_none_match = req.get_header("If-None-Match")
    if if_none_match is None or not matches_etag(if_none_match, file.etag, weakly=True):
        return False
    resp.status = falcon.HTTP_304
    _set_validators(resp, file, file.etag)
    return True


def served_type(file: StoredFile) -> str:
    """The content type that a browser is told."""
    return file.content_type if file.content_type in SERVED_TYPES else "application/octet-stream"


def _open(
    objects: ObjectStore, file: StoredFile, part: ByteRange | None
) -> tuple[ObjectBody, ByteRange | None]:
    if part is not None:
        # Another worker may have written it anew, even shorter: a range of that is no part of what the
        # client has.
        with contextlib.suppress(InvalidRequest):
            body = objects.get(file.object_key, offset=part.offset, length=part.length)
            if body.facts.etag == file.etag:
                return body, part
            body.close()
    return objects.get(file.object_key), None


def _set_range(resp: falcon.Response, file: StoredFile, part: ByteRange | None) -> None:
    if part is not None:
        resp.status = falcon.HTTP_206
        resp.set_header("Content-Range", part.content_range(file.bytes))


def _set_validators(resp: falcon.Response, file: StoredFile, etag: str) -> None:
    resp.set_header("ETag", f'"{etag}"')
    resp.set_header("Cache-Control", file.cache_control)


def _set_headers(resp: falcon.Response, file: StoredFile, etag: str) -> None:
    _set_validators(resp, file, etag)
    resp.set_header("Accept-Ranges", "bytes")
    resp.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
    resp.viewable_as = header_file_name(file.file_name)
    resp.content_type = served_type(file)


def _read(body: ObjectBody) -> bytes:
    """All of a small file. Raises ObjectStoreUnavailable when the store breaks off."""
    with contextlib.closing(body):
        data = body.read()
        while len(data) < body.facts.bytes:
            more = body.read()
            if not more:
                raise ObjectStoreUnavailable
            data += more
    return data


def _send(resp: falcon.Response, body: ObjectBody, length: int, request_id: str) -> None:
    """The first bytes are read before the answer begins, so that a store that is away is a 503."""
    try:
        first = body.read(_CHUNK_BYTES)
    except BaseException:
        body.close()
        raise
    if len(first) >= length:
        body.close()
        resp.data = first[:length]
        return
    resp.set_stream(_Stream(first, body, length, request_id), length)


class _Stream:
    """The body of an answer that has begun; when the store breaks off, the connection is cut.

    Too short a body must not look whole: an OSError makes waitress close the connection before
    Content-Length is reached.
    """

    def __init__(self, first: bytes, body: ObjectBody, length: int, request_id: str) -> None:
        self._first = first
        self._body = body
        self._length = length
        self._request_id = request_id

    def __iter__(self) -> Iterator[bytes]:
        sent = len(self._first)
        yield self._first
        try:
            while sent < self._length:
                chunk = self._body.read(min(_CHUNK_BYTES, self._length - sent))
                if not chunk:
                    break
                sent += len(chunk)
                yield chunk
        except ObjectStoreUnavailable:
            log.warning(
                "cut an answer after %d of %d bytes (request %s)", sent, self._length, self._request_id
            )
            raise ConnectionAbortedError("the object store broke off") from None

    def close(self) -> None:
        """Called by the server in any case."""
        self._body.close()
