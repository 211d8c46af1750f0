"""Joins a list with the watch events that came while it was made, so that neither undoes the other.

A list is of one state of the cluster, and reaches us later than events that happened after it. An
object that is missing from it may be new, and one that is in it may be gone by now.
"""

from collections.abc import Iterable
from typing import Any, Final

from thumbnails_common.resource_version import is_newer

Document = dict[str, Any]

_DELETED: Final = "DELETED"


class Recorder:
    """Remembers events while a list is under way: `begin`, `note` each event, `join`."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Document]] | None = None

    def begin(self) -> None:
        """A list is about to be asked for."""
        self._events = []

    def note(self, event_type: str, document: Document) -> None:
        """An event has come."""
        if self._events is not None:
            self._events.append((event_type, document))

    def join(self, listed: Iterable[Document]) -> list[Document]:
        """What there is, by the list and the events since `begin`; forgets the events."""
        objects = {_key(document): document for document in listed}
        for event_type, document in self._events or ():
            key = _key(document)
            known = objects.get(key)
            if event_type == _DELETED:
                if known is not None and _uid(known) == _uid(document):
                    del objects[key]
            elif known is None or is_newer(_version(document), _version(known)):
                objects[key] = document
        self._events = None
        return list(objects.values())

    def drop(self) -> None:
        """The list did not come."""
        self._events = None


def _key(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata["namespace"], metadata["name"]


def _uid(document: Document) -> str:
    return str(document["metadata"].get("uid", ""))


def _version(document: Document) -> str:
    return str(document["metadata"].get("resourceVersion", ""))
