"""A deletion that is written down before it happens, so that a crash in between leaves nothing behind.

The API puts one at `keys.tombstone_key` and then deletes the job; the operator deletes the objects
that it names, and the tombstone last.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from thumbnails_contract.timestamps import format_time, parse_time

from .documents import read_document
from .objectstore import ObjectStore

VERSION: Final = 1
# A job has at most 8 outputs of at most 7 formats, and its original; keys are at most 1 KiB.
MAX_BYTES: Final = 256 * 1024


class InvalidTombstone(ValueError):
    """The object is no tombstone that this version can read."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Which job is deleted, and the objects that go with it unless another job refers to them."""

    namespace: str
    name: str
    uid: str
    keys: tuple[str, ...]
    deleted_at: datetime
    account: str = ""
    """Whose the job was; empty in those of versions that did not say it."""

    def to_bytes(self) -> bytes:
        """The object's content: JSON, the same bytes for the same value."""
        document = {
            "version": VERSION,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
            "keys": list(self.keys),
            "account": self.account,
            "deletedAt": format_time(self.deleted_at),
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the object's content. Raises InvalidTombstone."""
        try:
            document = json.loads(data)
            version, keys = document["version"], document["keys"]
            tombstone = cls(
                namespace=_text(document["namespace"]),
                name=_text(document["name"]),
                uid=_text(document["uid"]),
                keys=tuple(_text(key) for key in keys),
                deleted_at=parse_time(document["deletedAt"]),
                account=_text(document.get("account", "")),
            )
        except InvalidTombstone:
            raise
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidTombstone("not the JSON of a tombstone") from error
        if version != VERSION:
            raise InvalidTombstone("a tombstone of another version")
        if not isinstance(keys, list):
            raise InvalidTombstone("keys is no list")
        return tombstone


def read_tombstone(objects: ObjectStore, key: str) -> Tombstone:
    """What is kept at this key. Raises NoSuchObject, InvalidTombstone, Unavailable."""
    return Tombstone.parse(read_document(objects, key, MAX_BYTES))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidTombstone("a field that should be a string is none")
    return value
