"""Deletes a job: a tombstone that names its objects first, then the job; the operator removes the objects."""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from thumbnails_common.jobstore import Conflict, JobStore, ObjectMissing
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_common.tombstone import CONTENT_TYPE, MAX_BYTES, InvalidTombstone, Tombstone
from thumbnails_contract.errors import JobNotFound
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
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def delete(self, caller: Caller, name: str, *, again: bool = False) -> None:
        """Delete the caller's job of this name. Raises JobNotFound, Unavailable.

        `again`: one that is deleted, but not yet all of its objects, is no mistake.
        """
        if not is_job_name(name):
            raise JobNotFound
        try:
            # Live, not from the cache: the tombstone must name the outputs that are there now.
            job = ThumbnailJob.parse(self.store.get(caller.namespace, name))
        except ObjectMissing:
            if again and self._is_under_way(caller, name):
                return
            raise JobNotFound from None
        if job.spec.account != caller.account:
            raise JobNotFound
        tombstone = Tombstone(
            namespace=job.key.namespace,
            name=job.key.name,
            uid=job.uid,
            keys=owned_keys(job),
            deleted_at=self.clock(),
            account=caller.account,
        ).to_bytes()
        key = tombstone_key(job.key.namespace, job.key.name)
        self.objects.put(key, io.BytesIO(tombstone), len(tombstone), content_type=CONTENT_TYPE)
        # Somebody else may have deleted it in the meantime, and even made another of that name.
        with contextlib.suppress(ObjectMissing, Conflict):
            self.store.delete(job.key.namespace, job.key.name, uid=job.uid)
        self.jobs.remove(job)

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
            with contextlib.closing(self.objects.get(tombstone_key(caller.namespace, name))) as body:
                return Tombstone.parse(body.read(MAX_BYTES)).account == caller.account
        except (NoSuchObject, InvalidTombstone):
            return False


def owned_keys(job: ThumbnailJob) -> tuple[str, ...]:
    """The objects that go with a job: the original that was uploaded for it, and its thumbnails.

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
    return (*([job.spec.object_key] if is_own else []), *thumbnails)
