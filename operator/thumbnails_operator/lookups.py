"""Asks the object store what a job's source is and which of its thumbnails are there, for the reconciler."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NoReturn

from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import SourceNotFound, Unavailable
from thumbnails_contract.keys import foreign_identity

from . import outcome
from .informer import Known
from .memory import Memory
from .reconcile import blocked
from .roster import Roster
from .settings import OperatorSettings
from .status_writer import StatusWriter
from .wanted import Thumbnail, missing


class Lookups:
    """See the module's text. `deleting`: whether the object of a key is being deleted right now.

    An object is only chosen for deletion when no known job refers to it. So a deletion that could
    hit a job's thumbnail has begun before the job was known, and is under way when it is looked at.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        roster: Roster,
        writer: StatusWriter,
        settings: OperatorSettings,
        deleting: Callable[[str], bool],
        clock: Callable[[], datetime],
        run_blocking: Callable[..., Awaitable[Any]],
    ) -> None:
        self._objects = objects
        self._roster = roster
        self._writer = writer
        self._settings = settings
        self._deleting = deleting
        self._clock = clock
        self._run_blocking = run_blocking

    async def identify(self, known: Known, memory: Memory) -> None:
        """Learn the identity of the job's source, or that it is not there."""
        job = known.job
        try:
            facts = await self._run_blocking(self._objects.head, job.spec.object_key)
        except NoSuchObject:
            memory.error = outcome.facts_of(SourceNotFound())
        except Unavailable as error:
            await self._blocked(known, memory, error)
        else:
            self._roster.identify(job, memory, foreign_identity(facts.etag, facts.bytes))

    async def look_up(self, known: Known, memory: Memory, object_keys: tuple[str, ...]) -> None:
        """Learn which of these thumbnails are there, and what they are."""
        for object_key in object_keys:
            found = await self._find(known, memory, object_key)
            memory.looked_up.add(object_key)
            if found is not None:
                memory.there[object_key] = found

    def in_the_way(self, memory: Memory) -> bool:
        """Whether a deletion is under way that could hit what a worker is about to write."""
        return any(self._deleting(item.object_key) for item in missing(memory.wanted, memory.there))

    async def _find(self, known: Known, memory: Memory, object_key: str) -> Thumbnail | None:
        # Before and after: the deletion may end before the answer comes that still saw the object.
        if self._deleting(object_key):
            return None
        try:
            facts = await self._run_blocking(self._objects.head, object_key)
        except NoSuchObject:
            return None
        except Unavailable as error:
            await self._blocked(known, memory, error)
        return None if self._deleting(object_key) else Thumbnail.from_head(facts)

    async def _blocked(self, known: Known, memory: Memory, error: Unavailable) -> NoReturn:
        """The object store is away: say so once it lasts, and try again later."""
        waited = self._roster.waited_seconds(memory)
        status = blocked(known.job, outcome.facts_of(error), waited, self._settings, self._clock())
        await self._writer.write(known, status)
        raise error
