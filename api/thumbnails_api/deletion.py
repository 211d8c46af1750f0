"""Deletes a job: a tombstone that names its objects first, then the job; the operator removes the objects.

A job that is history is deleted when its document is; one that becomes history meanwhile loses both.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from thumbnails_common.documents import write_document
from thumbnails_common.history import History
from thumbnails_common.jobstore import Conflict, JobStore, ObjectMissing
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_common.tombstone import InvalidTombstone, Tombstone, read_tombstone
from thumbnails_contract.errors import JobNotFound
from thumbnails_contract.history import HistoryKeys
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.keys import THUMBNAILS, parse_source_key, tombstone_key
from thumbnails_contract.names import is_job_name

from .accounts import Caller
from .job_cache import JobCache

_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Deletion:
    """`delete` is all there is to it; `wait` is for those who want to know when nothing of it is left."""

    store: JobStore
    objects: ObjectStore
    jobs: JobCache
    history: History
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def delete(self, caller: Caller, name: str, *, again: bool = False) -> None:
        """Delete the caller's job of this name. Raises JobNotFound, Unavailable.

        `again`: one that is deleted, but not yet all of its objects, is no mistake.
        """
        if not is_job_name(name):
            raise JobNotFound
        job = self._live(caller, name)
        if job is None:
            job = self.history.get(caller.namespace, caller.account, name)
            if job is not None:
                self._delete_history(job)
            elif not (again and self._is_under_way(caller, name)):
                raise JobNotFound
            return
        self._bury(job)
        try:
            self.store.delete(job.key.namespace, job.key.name, uid=job.uid)
        except (ObjectMissing, Conflict):
            # Gone in the meantime: deleted by somebody else, who may even have made another of that name; or
            # it has become history.
            old = self.history.get(caller.namespace, caller.account, name)
            if old is not None and old.uid == job.uid:
                self._delete_history(old)
        self.jobs.remove(job)

    def _delete_history(self, job: ThumbnailJob) -> None:
        self._bury(job)
        self.history.hide(job)
        self.jobs.remove(job)

    def _live(self, caller: Caller, name: str) -> ThumbnailJob | None:
        """As the store has it, not the cache: the tombstone must name the outputs that are there now."""
        try:
            job = ThumbnailJob.parse(self.store.get(caller.namespace, name))
        except ObjectMissing:
            return None
        return job if job.spec.account == caller.account else None

    def _bury(self, job: ThumbnailJob) -> None:
        tombstone = Tombstone(
            namespace=job.key.namespace,
            name=job.key.name,
            uid=job.uid,
            keys=owned_keys(job),
            deleted_at=self.clock(),
            account=job.spec.account,
        ).to_bytes()
        key = tombstone_key(job.key.namespace, job.key.name)
        write_document(self.objects, key, tombstone)

    def wait(self, caller: Caller, name: str, seconds: float) -> bool:
        """Whether all objects of a deleted job are gone, within so many seconds. Raises Unavailable."""
        deadline = self.monotonic() + seconds
        key = tombstone_key(caller.namespace, name)
        while True:
            try:
                self.objects.head(key)
            except NoSuchObject:
                return True
            if self.monotonic() >= deadline:
                return False
            self.sleep(_POLL_SECONDS)

    def _is_under_way(self, caller: Caller, name: str) -> bool:
        try:
            tombstone = read_tombstone(self.objects, tombstone_key(caller.namespace, name))
        except (NoSuchObject, InvalidTombstone):
            return False
        return tombstone.account == caller.account


def owned_keys(job: ThumbnailJob) -> tuple[str, ...]:
    """The objects that go with a job: the original that was uploaded for it, its thumbnails, its history.

    A job that was not made by the API may name anybody's object as its source: that one stays.
    """
    source = parse_source_key(job.spec.object_key)
    is_own = source is not None and (source.namespace, source.account, source.job_name) == (
        job.key.namespace,
        job.spec.account,
        job.key.name,
    )
    prefix = f"{THUMBNAILS}{job.key.namespace}/"
    thumbnails = [output.object_key for output in job.status.outputs if output.object_key.startswith(prefix)]
    entry = HistoryKeys.of(job).all() if job.status.finished else ()
    return (*([job.spec.object_key] if is_own else []), *thumbnails, *entry)
