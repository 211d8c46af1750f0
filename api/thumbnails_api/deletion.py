"""Deletes a job: a tombstone that names its objects first, then the job; the operator removes the objects."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from thumbnails_common.jobstore import Conflict, JobStore, ObjectMissing
from thumbnails_common.objectstore import ObjectStore
from thumbnails_common.tombstone import CONTENT_TYPE, Tombstone
from thumbnails_contract.errors import JobNotFound
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.keys import THUMBNAILS, parse_source_key, tombstone_key
from thumbnails_contract.names import is_job_name

from .accounts import Caller
from .job_cache import JobCache


@dataclass(frozen=True, slots=True)
class Deletion:
    """`delete` is all there is to it."""

    store: JobStore
    objects: ObjectStore
    jobs: JobCache
    clock: Callable[[], datetime]

    def delete(self, caller: Caller, name: str) -> None:
        """Delete the caller's job of this name. Raises JobNotFound, Unavailable."""
        if not is_job_name(name):
            raise JobNotFound
        try:
            # Live, not from the cache: the tombstone must name the outputs that are there now.
            job = ThumbnailJob.parse(self.store.get(caller.namespace, name))
        except ObjectMissing:
            raise JobNotFound from None
        if job.spec.account != caller.account:
            raise JobNotFound
        tombstone = Tombstone(
            namespace=job.key.namespace,
            name=job.key.name,
            uid=job.uid,
            keys=owned_keys(job),
            deleted_at=self.clock(),
        ).to_bytes()
        key = tombstone_key(job.key.namespace, job.key.name)
        self.objects.put(key, io.BytesIO(tombstone), len(tombstone), content_type=CONTENT_TYPE)
        # Somebody else may have deleted it in the meantime, and even made another of that name.
        with contextlib.suppress(ObjectMissing, Conflict):
            self.store.delete(job.key.namespace, job.key.name, uid=job.uid)
        self.jobs.remove(job)


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
