"""Writes statuses to the job store, for the parts of the controller, and tells of ends in Events.

Conflicts are its business. What a write or a conflict teaches goes to the roster at once; the watch's
echo then says nothing new.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from thumbnails_common.jobstore import Conflict, Document, JobStore, ObjectMissing
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.status import ErrorFacts, Phase, Status, status_patch

from . import outcome
from .counts import Counts
from .informer import Known, Owned, Unreadable
from .ports import EventSink
from .roster import Roster

logger = logging.getLogger(__name__)

_MODIFIED: Final = "MODIFIED"


class Deletion(Enum):
    """How the deletion of a job came out."""

    DONE = auto()
    CHANGED = auto()  # the job is another now than it was known to be
    MISSED = auto()  # somebody else has deleted it, or an earlier try that had no answer


class StatusWriter:
    """See the module's text."""

    def __init__(
        self,
        *,
        store: JobStore,
        roster: Roster,
        events: EventSink,
        counts: Counts,
        clock: Callable[[], datetime],
        run_blocking: Callable[..., Awaitable[Any]],
    ) -> None:
        self._store = store
        self._roster = roster
        self._events = events
        self._counts = counts
        self._clock = clock
        self._run_blocking = run_blocking
        self._writing: set[JobKey] = set()

    def is_writing(self, key: JobKey) -> bool:
        """Whether a status of the job is being written, after which whoever does it decides anew anyway."""
        return key in self._writing

    async def write(self, known: Known, status: Status) -> bool:
        """Write the status; False when there was nothing to write.

        True says only that something has happened: after a conflict it is the newest document that
        is known now, and the caller has to decide anew.
        """
        job = known.job
        if status is job.status and known.raw_status.get("phase") == status.phase:
            return False
        patch = status_patch(known.raw_status, status)
        if not patch:
            return False
        self._writing.add(job.key)
        try:
            document = await self._patch(job.key, patch, job.resource_version)
        finally:
            self._writing.discard(job.key)
        if document is not None:
            self._roster.wrote(job, document)
        return True

    async def settle(self, known: Known, status: Status) -> None:
        """Write how a job ends, count it and tell of it, if that is how it has ended then."""
        if await self.write(known, status):
            self._tell(known.job, status)

    async def refuse(self, unreadable: Unreadable) -> bool:
        """Fail a job that cannot be read; whether nothing is left to do about it."""
        key = unreadable.key
        try:
            old = Status.parse(unreadable.raw_status)
        except (KeyError, TypeError, ValueError, AttributeError):
            old = Status()
        if old.finished:
            return True
        error = outcome.facts_of(unreadable.error)
        new = outcome.unreadable(old, unreadable.generation, error, self._clock())
        patch = status_patch(unreadable.raw_status, new)
        document = await self._patch(key, patch, unreadable.resource_version)
        if document is None:
            return False
        self._roster.observe(_MODIFIED, document)
        self._counts.finished.labels(Phase.FAILED, error.reason).inc()
        self._emit_failure(key, unreadable.uid, error)
        return True

    async def delete(self, job: ThumbnailJob) -> Deletion:
        """Delete a job whose time has come, as it is known."""
        deletion = await self._delete(job, job.resource_version)
        self._counts.deleted.inc(deletion is Deletion.DONE)
        return deletion

    async def erase(self, job: Owned) -> None:
        """Delete a job, whatever it does."""
        await self._delete(job, None)

    async def _delete(self, job: ThumbnailJob | Owned, resource_version: str | None) -> Deletion:
        key = job.key
        try:
            await self._run_blocking(
                self._store.delete, key.namespace, key.name, uid=job.uid, resource_version=resource_version
            )
        except Conflict:
            await self._refresh(key)
            return Deletion.CHANGED
        except ObjectMissing:
            logger.debug("%s was deleted by somebody else", key)
            self._roster.forget(key)
            return Deletion.MISSED
        self._roster.forget(key)
        return Deletion.DONE

    async def _patch(self, key: JobKey, patch: dict[str, Any], resource_version: str) -> Document | None:
        """The document after the patch; None when it has changed meanwhile: what it is now is known then."""
        try:
            document: Document = await self._run_blocking(
                self._store.patch_status, key.namespace, key.name, patch, resource_version=resource_version
            )
        except Conflict:
            self._counts.conflicts.inc()
            await self._refresh(key)
            return None
        except ObjectMissing:
            self._roster.forget(key)
            return None
        self._counts.status_writes.inc()
        return document

    async def _refresh(self, key: JobKey) -> None:
        try:
            document = await self._run_blocking(self._store.get, key.namespace, key.name)
        except ObjectMissing:
            self._roster.forget(key)
        else:
            self._roster.observe(_MODIFIED, document)

    def _tell(self, job: ThumbnailJob, status: Status) -> None:
        known = self._roster.get(job.key)
        if not isinstance(known, Known) or not known.job.status.finished or known.job.uid != job.uid:
            return
        phase, error = known.job.status.phase, known.job.status.error
        if phase is not status.phase:
            return
        self._counts.finished.labels(phase, outcome.end_reason(status)).inc()
        self._counts.job_seconds.labels(phase).observe(
            max(0.0, (self._clock() - job.created).total_seconds())
        )
        if phase is Phase.FAILED:
            self._emit_failure(job.key, job.uid, error)
            return
        if phase is Phase.CANCELLED:
            reason, message = "Cancelled", "The job was cancelled."
        else:
            count = len(status.outputs)
            reason, message = "Completed", f"{count} thumbnail{'s' if count > 1 else ''}."
        self._events.emit(job.key, job.uid, warning=False, reason=reason, message=message)

    def _emit_failure(self, key: JobKey, uid: str, error: ErrorFacts | None) -> None:
        message = f"{error.reason}: {error.message}" if error else ""
        self._events.emit(key, uid, warning=True, reason="Failed", message=message)
