"""The erasure of an account, written down before it begins, so that a crash in between leaves nothing behind.

The API puts one at `keys.erasure_key`; the operator erases until nothing is left, then writes what became of
it beside, and removes the first one last.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from thumbnails_contract.keys import erasure_key
from thumbnails_contract.names import is_label_name
from thumbnails_contract.timestamps import format_time, parse_time

from .documents import read_document
from .objectstore import NoSuchObject, ObjectStore

VERSION: Final = 1
_MAX_BYTES: Final = 4096


class InvalidErasure(ValueError):
    """The object is no erasure that this version can read."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Whose it is, and how far: `finished_at` None as long as it runs. `id` tells it from a later one.

    `jobs` and `objects` are how many were erased, once it is done.
    """

    namespace: str
    account: str
    id: str
    requested_at: datetime
    finished_at: datetime | None = None
    jobs: int = 0
    objects: int = 0

    @property
    def key(self) -> str:
        """Where it is kept."""
        return erasure_key(self.namespace, self.account, done=self.finished_at is not None)

    def to_bytes(self) -> bytes:
        """The object's content."""
        document: dict[str, Any] = {
            "version": VERSION,
            "namespace": self.namespace,
            "account": self.account,
            "id": self.id,
            "requestedAt": format_time(self.requested_at),
        }
        if self.finished_at is not None:
            document |= {
                "finishedAt": format_time(self.finished_at),
                "jobs": self.jobs,
                "objects": self.objects,
            }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the object's content. Raises InvalidErasure."""
        try:
            document = json.loads(data)
            finished = document.get("finishedAt")
            erasure = cls(
                namespace=str(document["namespace"]),
                account=str(document["account"]),
                id=str(document["id"]),
                requested_at=parse_time(document["requestedAt"]),
                finished_at=parse_time(finished) if finished is not None else None,
                jobs=int(document.get("jobs", 0)),
                objects=int(document.get("objects", 0)),
            )
            version = document["version"]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InvalidErasure("not the JSON of an erasure") from error
        if version != VERSION:
            raise InvalidErasure("an erasure of another version")
        # Both become parts of the prefixes under which everything goes.
        if not is_label_name(erasure.namespace) or not is_label_name(erasure.account):
            raise InvalidErasure("its namespace or account is no name of one")
        return erasure


def read_erasure(objects: ObjectStore, key: str) -> Erasure | None:
    """What is kept at this key; None when there is nothing. Raises InvalidErasure, Unavailable."""
    try:
        erasure = Erasure.parse(read_document(objects, key, _MAX_BYTES))
    except NoSuchObject:
        return None
    if erasure.key != key:
        raise InvalidErasure("it is of another account")
    return erasure
