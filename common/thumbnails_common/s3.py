"""The object store on any S3 server, for API and operator: the port of `objectstore.py` on `minio`.

The calls that every picture makes (put, head, get) are signed with `minio.signer` and sent straight
through the client's own pool of connections, which halves their CPU and streams bodies in constant
memory; so are listings, since the client's have pages of one size only. Deletions, buckets and presigned
forms are the client's. Nothing else imports
`minio`: that takes a quarter of a second.
"""

import contextlib
import hashlib
import itertools
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import BinaryIO, Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio.credentials.credentials import Credentials
from minio.datatypes import Object, PostPolicy, parse_list_objects
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.signer import sign_v4_s3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, SSLError

from minio import Minio
from thumbnails_contract.errors import InvalidRequest, ObjectStoreUnavailable
from thumbnails_contract.keys import META_NAMES, META_PREFIX
from thumbnails_contract.wire import Upload

from .objectstore import NoSuchObject, ObjectBody, ObjectExists, ObjectFacts
from .s3_settings import S3Settings

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_META: Final = "x-amz-meta-"
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"  # TLS or loopback guards the body: hashing it would cost more
_BLOCK_BYTES: Final = 262_144
# Servers take a body as fast as it comes, into memory: many large ones at once would fill it (SeaweedFS
# took 7 GB for 50 of 100 MB) and, sharing one disk, all would miss their timeouts. So few at once.
_LARGE_BYTES: Final = 8_388_608
_LARGE_WAIT_SECONDS: Final = 300.0
_SLOWEST_BYTES_PER_SECOND: Final = 5_000_000
_DELETE_BATCH: Final = 1_000  # the most that S3's DeleteObjects takes
_LIST_PAGE: Final = 1_000  # and that ListObjectsV2 gives
_BUCKET_TRUST_SECONDS: Final = 5.0  # how long a bucket that answered is taken to be there
_CHECK_TIMEOUT: Final = urllib3.Timeout(connect=1.0, read=3.0)
_FIRST_DELAY_SECONDS: Final = 0.05
_MOST_DELAY_SECONDS: Final = 2.0

# What another try may cure: RFC 9110 sections 15.5.9 and 15.6, RFC 6585 section 4, S3's list of error codes.
_TRANSIENT_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})
_TRANSIENT_CODES: Final = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)
_ERROR_CODE = re.compile(rb"<Code>(\w+)</Code>")


class _TransientError(Exception):
    """A try failed in a way that another may not; `uncertain`: the server may have done it all the same."""

    def __init__(self, what: str, *, uncertain: bool) -> None:
        super().__init__(what)
        self.uncertain = uncertain


class S3ObjectStore:
    """The `ObjectStore` of API and operator. `clock`, `sleep` and `jitter` (0..1) are for the retries."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._scheme, self._host = _address(settings.endpoint)
        self._credentials = Credentials(settings.access_key, settings.secret_key)
        http = _connections(settings)
        self._pool = http.connection_from_url(settings.endpoint)
        self._http = http
        self._client = _client(settings, settings.endpoint, http)
        # A signature names the host. This client only signs.
        self._public = _client(settings, settings.public_endpoint or settings.endpoint, http)
        self._bucket_seen = float("-inf")
        self._large_puts = threading.BoundedSemaphore(settings.large_puts)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._http.clear()

    # ---- the port ------------------------------------------------------------------------------

    def ensure_bucket(self) -> None:
        """Make the bucket if it is not there yet."""
        bucket = self._settings.bucket

        def make() -> None:
            if self._client.bucket_exists(bucket):
                return
            try:
                self._client.make_bucket(bucket)
            except S3Error as error:  # made meanwhile by another replica
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

        self._retrying("make the bucket", make)

    def put(
        self,
        key: str,
        data: BinaryIO,
        length: int,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if_absent: bool = False,
    ) -> str:
        """Write `length` bytes of `data` (seekable, from where it stands), streamed; the ETag.

        Raises InvalidRequest when `data` ends early: nothing is stored then. `only_if_absent` raises
        ObjectExists, but not for the object that a try of this very call has left, whose answer got lost.
        """
        start = data.tell()
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        headers.update({_META + name: value for name, value in (metadata or {}).items()})
        if only_if_absent:
            headers["If-None-Match"] = "*"
        timeout = urllib3.Timeout(
            connect=self._settings.connect_timeout_seconds,
            read=self._settings.read_timeout_seconds + length / _SLOWEST_BYTES_PER_SECOND,
        )
        uncertain = False

        def write() -> str:
            nonlocal uncertain
            data.seek(start)
            try:
                response = self._send("PUT", key, headers, body=_Exactly(data, length), timeout=timeout)
            except _TransientError as error:
                uncertain = uncertain or error.uncertain
                raise
            except ObjectExists:
                facts = self._head(key) if uncertain else None
                if facts is None or facts.etag != _md5(data, start, length):
                    raise
                return facts.etag
            return _etag(response)

        with self._turn(length):
            return self._retrying("put", write)

    def head(self, key: str) -> ObjectFacts:
        """What is known of one object. Raises NoSuchObject."""
        return self._retrying("head", lambda: self._head(key))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> ObjectBody:
        """One object, or a range of it; `facts.bytes` is the whole object's. Raises NoSuchObject.

        Raises InvalidRequest for a range that begins past the end.
        """
        headers: dict[str, str] = {}
        if length is not None:
            if length < 1:
                raise ValueError("a range has at least one byte")
            headers["Range"] = f"bytes={offset}-{offset + length - 1}"
        elif offset:
            headers["Range"] = f"bytes={offset}-"

        def read() -> ObjectBody:
            response = self._send("GET", key, headers, stream=True)
            return _Body(response, _facts(key, response))

        return self._retrying("get", read)

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectFacts]:
        """All objects whose key starts with `prefix`, a page at a time in memory.

        By key among those of one folder; SeaweedFS lists folder by folder (`a/1` before `a-b/1`), others
        strictly by key. Only those that come after this key, and at most so many of them.
        """
        for found in self._listed(prefix, after=after, limit=limit):
            yield ObjectFacts(
                key=found.object_name or "",
                etag=(found.etag or "").strip('"'),
                bytes=found.size or 0,
                last_modified=found.last_modified or datetime.min.replace(tzinfo=UTC),
            )

    def folders(self, prefix: str) -> Iterator[str]:
        """What the keys that start with `prefix` have before their next slash, each once, with the slash."""
        return (found.object_name or "" for found in self._listed(prefix, delimiter="/") if found.is_dir)

    def _listed(
        self, prefix: str, *, after: str | None = None, limit: int | None = None, delimiter: str = ""
    ) -> Iterator[Object]:
        """The entries of a listing, at most so many, page by page (ListObjectsV2)."""
        query = {"delimiter": delimiter, "encoding-type": "url", "list-type": "2", "prefix": prefix}
        if after is not None:
            query["start-after"] = after
        left = limit
        while left is None or left > 0:
            query["max-keys"] = str(_LIST_PAGE if left is None else min(left, _LIST_PAGE))
            page = self._retrying("list", partial(self._page, urlencode(query, quote_via=quote, safe="~")))
            yield from page.found
            if page.token is None:
                return
            query["continuation-token"] = page.token
            left = None if left is None else left - len(page.found)

    def _page(self, query: str) -> "_Page":
        found, is_truncated, token, _ = parse_list_objects(self._send("GET", None, query=query))
        return _Page(found, token if is_truncated else None)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys that are not there are no error."""
        rest = iter(keys)
        while batch := [DeleteObject(key) for key in itertools.islice(rest, _DELETE_BATCH)]:
            self._retrying("delete", lambda batch=batch: self._delete(batch))  # type: ignore[misc]

    def presign_get(self, key: str, *, expires_seconds: int) -> str:
        """A URL that reads this object, for whoever has it."""
        return self._client.get_presigned_url(
            "GET", self._settings.bucket, key, expires=timedelta(seconds=expires_seconds)
        )

    def presign_download(
        self,
        key: str,
        *,
        expires_seconds: int,
        content_type: str,
        content_disposition: str,
        cache_control: str,
    ) -> str:
        """The same for clients of the service, at the public endpoint, with these headers."""
        return self._public.get_presigned_url(
            "GET",
            self._settings.bucket,
            key,
            expires=timedelta(seconds=expires_seconds),
            response_headers={
                "response-content-type": content_type,
                "response-content-disposition": content_disposition,
                "response-cache-control": cache_control,
            },
        )

    def presign_upload(
        self, key: str, *, content_type_prefix: str, max_bytes: int, expires_seconds: int
    ) -> Upload:
        """A POST policy that writes exactly this object: length and type bound, `META_NAMES` free."""
        expires = datetime.now(UTC) + timedelta(seconds=expires_seconds)
        policy = PostPolicy(self._settings.bucket, expires)
        policy.add_equals_condition("key", key)
        policy.add_starts_with_condition("Content-Type", content_type_prefix)
        for name in META_NAMES:
            policy.add_starts_with_condition(f"{_META}{META_PREFIX}{name}", "")
        policy.add_content_length_range_condition(1, max_bytes)
        fields = {"key": key, **self._client.presigned_post_policy(policy)}
        return Upload(f"{self._scheme}://{self._host}/{self._settings.bucket}", fields)

    def check(self) -> None:
        """Return if the bucket answers, after one quick try. Raises ObjectStoreUnavailable."""
        try:
            self._send("HEAD", None, timeout=_CHECK_TIMEOUT)
        except _TransientError as error:
            _log.warning("object store: check failed: %s", error)
            raise ObjectStoreUnavailable from None

    # ---- one request ---------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        key: str | None,
        headers: Mapping[str, str] | None = None,
        *,
        query: str = "",
        body: "_Exactly | None" = None,
        stream: bool = False,
        timeout: urllib3.Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One signed request for an object (or the bucket); the response of a success (2xx)."""
        path = f"/{self._settings.bucket}" + (f"/{quote(key, safe='/~')}" if key is not None else "")
        now = datetime.now(UTC)
        signed = sign_v4_s3(
            method=method,
            url=SplitResult(self._scheme, self._host, path, query, ""),
            region=self._settings.region,
            headers={
                "Host": self._host,
                "x-amz-content-sha256": _UNSIGNED,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
                **(headers or {}),
            },
            credentials=self._credentials,
            content_sha256=_UNSIGNED,
            date=now,
        )
        try:
            response = self._pool.urlopen(
                method,
                f"{path}?{query}" if query else path,
                body=body,  # type: ignore[arg-type]  # a reader: urllib3 asks for read() alone
                headers=signed,  # type: ignore[arg-type]  # str values all: that is what went in
                preload_content=not stream,
                decode_content=False,
                redirect=False,
                timeout=timeout or self._pool.timeout,
            )
            if response.status < 300:  # noqa: PLR2004 - 2xx
                self._bucket_seen = self._clock()
                return response
            code = _error_code(response, method)
        except (HTTPError, OSError) as error:
            raise _TransientError(_named(error), uncertain=True) from None
        raise self._failure(response.status, code, key)

    @contextlib.contextmanager
    def _turn(self, length: int) -> Iterator[None]:
        """Few large bodies at once; small ones pass by. Raises ObjectStoreUnavailable after a long wait."""
        if length <= _LARGE_BYTES:
            yield
            return
        if not self._large_puts.acquire(timeout=_LARGE_WAIT_SECONDS):
            _log.warning("object store: a large put waited %d s for its turn", _LARGE_WAIT_SECONDS)
            raise ObjectStoreUnavailable
        try:
            yield
        finally:
            self._large_puts.release()

    def _head(self, key: str) -> ObjectFacts:
        return _facts(key, self._send("HEAD", key))

    def _delete(self, batch: Sequence[DeleteObject]) -> None:
        for error in self._client.remove_objects(self._settings.bucket, batch):
            if error.code != "NoSuchKey":
                raise self._failure(200, error.code or "", None)

    # ---- failures ------------------------------------------------------------------------------

    def _failure(self, status: int, code: str, key: str | None) -> Exception:
        """What a refusal means: of the contract's errors, or worth another try."""
        if status == 412 or code == "PreconditionFailed":  # noqa: PLR2004 - RFC 9110 section 15.5.13
            return ObjectExists()
        if status == 416:  # noqa: PLR2004 - RFC 9110 section 15.5.17
            return InvalidRequest("The range begins past the end of the object.")
        if code == "NoSuchKey" or (status == 404 and key is not None and not code):  # noqa: PLR2004
            if not code:  # the answer to a HEAD does not say what is missing
                self._check_bucket()
            return NoSuchObject("There is no object with this key.")
        if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
            return _TransientError(f"{status} {code}".strip(), uncertain=status >= 500)  # noqa: PLR2004
        hint = _HINTS.get(code) or _HINTS.get(str(status), "")
        _log.error("object store: refused with %s %s%s", status, code or "(no code)", hint)
        return ObjectStoreUnavailable("The object store refuses this service; its logs say why.")

    def _check_bucket(self) -> None:
        """Raise unless a missing object is all that is missing: an empty store must not fail every job."""
        if self._clock() - self._bucket_seen >= _BUCKET_TRUST_SECONDS:
            self._send("HEAD", None)

    def _retrying(self, what: str, attempt: Callable[[], _T]) -> _T:
        """The result of `attempt`, tried again while that may help and there is time."""
        deadline = self._clock() + self._settings.retry_seconds
        delay = 0.0  # a kept-alive connection that the server has closed meanwhile costs one try
        while True:
            try:
                return self._attempt(attempt)
            except _TransientError as error:
                if self._clock() + delay >= deadline:
                    _log.warning("object store: %s failed: %s", what, error)
                    raise ObjectStoreUnavailable from None
            self._sleep(delay * (0.5 + self._jitter() / 2))
            delay = min(max(2 * delay, _FIRST_DELAY_SECONDS), _MOST_DELAY_SECONDS)

    def _attempt(self, attempt: Callable[[], _T]) -> _T:
        """One try, with the client's errors made ours; none of their texts, which may hold URLs."""
        try:
            return attempt()
        except S3Error as error:
            status, code = error.response.status, error.code or ""
        except (ServerError, InvalidResponseError) as error:
            # InvalidResponseError is a body that is no XML: a proxy's page, or none at all.
            status, code = getattr(error, "status_code", 0) or getattr(error, "_code", 0), ""
        except (HTTPError, OSError, ParseError) as error:
            raise _TransientError(_named(error), uncertain=True) from None
        raise self._failure(status, code, None) from None


def _named(error: Exception) -> str:
    """What went wrong with a connection, for the log: in a word, since the library's own may hold URLs."""
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted (THUMBNAILS_S3_CA_FILE says by whom it may be)"
    return type(error).__name__


_HINTS: Final = {
    "AccessDenied": ": the keys may not do this",
    "InvalidAccessKeyId": ": check the access key",
    "SignatureDoesNotMatch": ": check the secret key and the region",
    "RequestTimeTooSkewed": ": the clocks of this machine and of the server differ",
    "AuthorizationHeaderMalformed": ": check the region",
    "NoSuchBucket": ": the bucket does not exist",
    "XMinioStorageFull": ": its disk is full",
    "403": ": check the keys and what they may do",
    "404": ": the bucket does not exist",
    "507": ": its disk is full",
}


class _Page(NamedTuple):
    """A part of a listing, and what to ask for the next one with (None: it was the last)."""

    found: Sequence[Object]
    token: str | None


class _Exactly:
    """A body for urllib3: the next `length` bytes of a file, in blocks; ending early is an error."""

    def __init__(self, data: BinaryIO, length: int) -> None:
        self._data, self._left = data, length

    def read(self, size: int) -> bytes:
        block = self._data.read(min(size, self._left))
        if self._left and not block:
            raise InvalidRequest("The body ended before its announced length.")
        self._left -= len(block)
        return block


class _Body:
    """The `ObjectBody` of a response that is being read."""

    def __init__(self, response: urllib3.BaseHTTPResponse, facts: ObjectFacts) -> None:
        self.facts = facts
        self._response = response

    def read(self, size: int = -1, /) -> bytes:
        try:  # decoding would undo the Content-Encoding of somebody else's object: its length would lie
            return self._response.read(size if size >= 0 else None, decode_content=False)
        except (HTTPError, OSError) as error:
            _log.warning("object store: a body broke off: %s", type(error).__name__)
            raise ObjectStoreUnavailable("The object store broke off in the middle of an object.") from None

    def close(self) -> None:
        self._response.close()  # at its end, the connection has gone back to the pool already
        self._response.release_conn()


def _address(endpoint: str) -> tuple[str, str]:
    """Scheme and host of an endpoint, the host as clients send it: without the scheme's own port."""
    parts = urlsplit(endpoint)
    default_port = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.netloc if parts.port != default_port else parts.netloc.rpartition(":")[0]


def _client(settings: S3Settings, endpoint: str, http: urllib3.PoolManager) -> Minio:
    scheme, host = _address(endpoint)
    return Minio(
        host,
        settings.access_key,
        settings.secret_key,
        secure=scheme == "https",
        region=settings.region,  # known, so that presigning asks nobody
        http_client=http,
    )


def _connections(settings: S3Settings) -> urllib3.PoolManager:
    """The pool that all calls share. It retries and redirects nothing by itself."""
    return_seconds = settings.read_timeout_seconds

    # urllib3 sends bodies under the connect timeout, but a server that is slow to take one is not away.
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(return_seconds)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(return_seconds)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    http = urllib3.PoolManager(
        num_pools=1,
        maxsize=settings.connections,
        block=False,
        timeout=urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds),
        retries=urllib3.Retry(False),
        blocksize=_BLOCK_BYTES,
        ca_certs=settings.ca_file,
    )
    http.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return http


def _facts(key: str, response: urllib3.BaseHTTPResponse) -> ObjectFacts:
    headers = response.headers
    whole = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "0")
    return ObjectFacts(
        key=key,
        etag=_etag(response),
        bytes=int(whole),
        last_modified=parsedate_to_datetime(headers["Last-Modified"]),
        content_type=headers.get("Content-Type", ""),
        metadata={
            name.lower().removeprefix(_META): value
            for name, value in headers.items()
            if name.lower().startswith(_META)
        },
    )


def _etag(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("ETag", "").strip('"')


def _error_code(response: urllib3.BaseHTTPResponse, method: str) -> str:
    """S3's code for the error, "" when the answer says none; gives the connection back."""
    if method == "HEAD":
        response.release_conn()
        return ""
    match = _ERROR_CODE.search(response.data)
    return match[1].decode() if match else ""


def _md5(data: BinaryIO, start: int, length: int) -> str:
    """What S3 calls an object of these bytes: the ETag of a PUT is its MD5."""
    data.seek(start)
    digest = hashlib.md5(usedforsecurity=False)
    body = _Exactly(data, length)
    while block := body.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
