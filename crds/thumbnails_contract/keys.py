"""Object keys, and what makes two thumbnails the same one.

sources/{namespace}/{account}/{sha256}/{job name}            one original for each upload
thumbnails/{namespace}/{account}/{identity}/{recipe hash}    shared by equal jobs of an account
tombstones/{namespace}/{job name}                            a deletion that is under way
idempotency/{namespace}/{account}/{sha256 of the key}        what became of an upload with an Idempotency-Key
history/{namespace}/{account}/...                            jobs that their store has no more: history.py
erasures/{running or done}/{namespace}/{account}             that all an account has is to be erased, or was
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .errors import ForbiddenSource
from .spec import Format, Output, Spec

# Part of every recipe hash: raise it whenever a renderer would make other pixels or bytes than before.
# A worker of another version gets no items.
RENDERER_VERSION: Final = 5

SOURCES: Final = "sources/"
THUMBNAILS: Final = "thumbnails/"
TOMBSTONES: Final = "tombstones/"
IDEMPOTENCY: Final = "idempotency/"
HISTORY: Final = "history/"
ERASURES_RUNNING: Final = "erasures/running/"
ERASURES_DONE: Final = "erasures/done/"

# Where objects lie that belong to an account: what goes when it is erased.
OF_ACCOUNTS: Final = (SOURCES, THUMBNAILS, IDEMPOTENCY, HISTORY)

_UPLOADED = re.compile(r"sources/([^/]+)/([^/]+)/([0-9a-f]{64})/([^/]+)")
_THUMBNAIL = re.compile(r"thumbnails/([^/]+)/([^/]+)/([0-9a-f]{64})/([0-9a-f]{32})")

# User metadata that workers put on each thumbnail, and a cache hit reads back (`x-amz-meta-<name>`).
META_PREFIX: Final = "thumbnails-"
META_NAMES: Final = ("width", "height", "frames", "thumbhash", "source")


@dataclass(frozen=True, slots=True)
class UploadedSource:
    """What the key of an original says that the API stored."""

    namespace: str
    account: str
    sha256: str
    job_name: str


@dataclass(frozen=True, slots=True)
class StoredThumbnail:
    """What the key of a thumbnail says of it."""

    namespace: str
    account: str
    identity: str
    recipe: str


def source_key(namespace: str, account: str, sha256: str, job_name: str) -> str:
    """Where the API puts an original."""
    return f"{SOURCES}{namespace}/{account}/{sha256}/{job_name}"


def parse_source_key(key: str) -> UploadedSource | None:
    """The parts of a key made by `source_key`, or None: somebody else put the object there."""
    match = _UPLOADED.fullmatch(key)
    return UploadedSource(*match.groups()) if match else None


def check_source_key(key: str, namespace: str) -> None:
    """Raise ForbiddenSource unless `key` lies under the namespace's own prefix.

    S3 does not normalise keys, but proxies and some servers do: `.`, `..` and empty segments are
    refused as well.
    """
    segments = key.split("/")
    if not key.startswith(f"{SOURCES}{namespace}/") or any(
        segment in {"", ".", ".."} for segment in segments
    ):
        raise ForbiddenSource


def source_identity(key: str, namespace: str, account: str) -> str | None:
    """The sha256 of an original that the API stored for this account; None when the key does not say."""
    uploaded = parse_source_key(key)
    if uploaded and (uploaded.namespace, uploaded.account) == (namespace, account):
        return uploaded.sha256
    return None


def foreign_identity(etag: str, size_bytes: int) -> str:
    """The identity of an object that somebody else put there, by what a HEAD says."""
    return hashlib.sha256(f"etag:{etag}:{size_bytes}".encode()).hexdigest()


def recipe_hash(output: Output, format_: Format) -> str:
    """What is done to the picture, as 32 hex digits: every option that can change a byte of the result."""
    recipe = output.to_manifest()
    del recipe["name"]
    recipe["formats"] = format_.value
    recipe["renderer"] = RENDERER_VERSION
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def thumbnail_key(namespace: str, account: str, identity: str, recipe: str) -> str:
    """Where the thumbnail of this recipe of this picture lies."""
    return f"{THUMBNAILS}{namespace}/{account}/{identity}/{recipe}"


def parse_thumbnail_key(key: str) -> StoredThumbnail | None:
    """The parts of a key made by `thumbnail_key`, or None: somebody else put the object there."""
    match = _THUMBNAIL.fullmatch(key)
    return StoredThumbnail(*match.groups()) if match else None


def tombstone_key(namespace: str, job_name: str) -> str:
    """Where a deletion is written down before it happens."""
    return f"{TOMBSTONES}{namespace}/{job_name}"


def idempotency_key(namespace: str, account: str, sha256: str) -> str:
    """Where the record of an Idempotency-Key with this hash lies."""
    return f"{IDEMPOTENCY}{namespace}/{account}/{sha256}"


def history_prefix(namespace: str, account: str) -> str:
    """Where all of an account's history lies, and nothing else: deleting it forgets those jobs."""
    return f"{HISTORY}{namespace}/{account}/"


def erasure_key(namespace: str, account: str, *, done: bool = False) -> str:
    """Where it is written down that an account is being erased, or that it was."""
    return f"{ERASURES_DONE if done else ERASURES_RUNNING}{namespace}/{account}"


def account_prefixes(namespace: str, account: str) -> tuple[str, ...]:
    """What the keys of all that an account has begin with."""
    return tuple(f"{prefix}{namespace}/{account}/" for prefix in OF_ACCOUNTS)


def recipes(spec: Spec) -> Iterator[tuple[Output, Format, str]]:
    """Every (output, format, recipe hash) that a job asks for, in order."""
    for output in spec.outputs:
        for format_ in output.formats:
            yield output, format_, recipe_hash(output, format_)
