"""JSON documents in the object store, read and written whole: tombstones, erasures, history and the like."""

import io
from contextlib import closing
from typing import Final

from .objectstore import ObjectStore

_CONTENT_TYPE: Final = "application/json"


def read_document(objects: ObjectStore, key: str, max_bytes: int) -> bytes:
    """The object's content, at most so much of it. Raises NoSuchObject, Unavailable."""
    with closing(objects.get(key)) as body:
        return body.read(max_bytes)


def write_document(objects: ObjectStore, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
    """Write the object. Raises Unavailable, and ObjectExists with `only_if_absent`."""
    objects.put(key, io.BytesIO(data), len(data), content_type=_CONTENT_TYPE, only_if_absent=only_if_absent)
