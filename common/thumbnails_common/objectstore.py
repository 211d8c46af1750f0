"""The port to where pictures are kept: one bucket of any S3 server.

Every method may be called from any thread. All but those that presign block, retry what is safe to
retry, and raise ObjectStoreUnavailable when the server does not answer in time; those only compute, without
a word to the server, so that an event loop may call them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol

from thumbnails_contract.errors import ThumbnailsError
from thumbnails_contract.wire import Upload


class NoSuchObject(ThumbnailsError):
    """There is no object with this key."""

    reason = "NoSuchObject"
    status = 404


class ObjectExists(ThumbnailsError):
    """A write with `only_if_absent` found an object with this key."""

    reason = "ObjectExists"
    status = 412


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a HEAD (or, less `content_type` and `metadata`, a listing) says of an object.

    `etag` is without quotes; `metadata` has lower-case names without `x-amz-meta-`.
    """

    key: str
    etag: str
    bytes: int
    last_modified: datetime
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectBody(Protocol):
    """A body that is being read; close it in any case."""

    facts: ObjectFacts

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; b"" at the end. Raises ObjectStoreUnavailable when it breaks off."""

    def close(self) -> None:
        """Give the connection back."""


class ObjectStore(Protocol):
    """One bucket."""

    def ensure_bucket(self) -> None:
        """Make the bucket if it is not there yet."""

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

        `only_if_absent` is `If-None-Match: *` and raises ObjectExists.
        """

    def head(self, key: str) -> ObjectFacts:
        """What is known of one object. Raises NoSuchObject."""

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> ObjectBody:
        """One object, or a range of it. Raises NoSuchObject."""

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectFacts]:
        """All objects whose key starts with `prefix`, by key; within one folder, that is by bytes.

        Only those whose key comes after this one, and at most so many.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """What the keys that start with `prefix` have before their next slash, each once, with the slash."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys that are not there are no error."""

    def presign_get(self, key: str, *, expires_seconds: int) -> str:
        """A URL that reads this object, for whoever has it."""

    def presign_download(
        self,
        key: str,
        *,
        expires_seconds: int,
        content_type: str,
        content_disposition: str,
        cache_control: str,
    ) -> str:
        """The same for clients of the service, who may reach the server elsewhere, with these headers."""

    def presign_upload(
        self, key: str, *, content_type_prefix: str, max_bytes: int, expires_seconds: int
    ) -> Upload:
        """A POST policy that writes exactly this object: length and type bound, `META_NAMES` free."""

    def check(self) -> None:
        """Return if the bucket answers, after one quick try. Raises ObjectStoreUnavailable."""
