"""Takes one picture in: original into the object store, ThumbnailJob into the job store, in that order.

A crash in between leaves an object that nobody refers to (the sweep removes it), never an answered
job without its original.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from thumbnails_common.jobstore import AlreadyExists, Document, JobStore, ObjectMissing, Refused
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import (
    AccountBeingErased,
    InvalidOption,
    JobStoreUnavailable,
    QuotaExceeded,
    Unavailable,
)
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.keys import source_key
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.spec import Batch, Priority, Spec
from thumbnails_contract.tracing import TraceContext

from .accounts import Caller
from .erasures import Erasures
from .job_cache import JobCache
from .options import Options
from .pictures import Picture
from .sniff import content_type

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Intake:
    """`accept` is all there is to it. `new_id` gives UUIDv7 in their usual form."""

    store: JobStore
    objects: ObjectStore
    jobs: JobCache
    erasures: Erasures
    new_id: Callable[[], str]
    create_deadline_seconds: float
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def accept(
        self,
        picture: Picture,
        options: Options,
        caller: Caller,
        batch: Batch | None,
        name: str | None = None,
        *,
        trace: TraceContext | None = None,
    ) -> ThumbnailJob:
        """Store picture and job. Raises Unavailable, QuotaExceeded, InvalidOption, AccountBeingErased.

        `name` is given by those who may have come this far before (`idempotency.py`): a job of that name for
        this very picture is the one they made then.
        """
        key = JobKey(caller.namespace, name or self.new_id())
        object_key = source_key(caller.namespace, caller.account, picture.sha256, key.name)
        spec = Spec(
            object_key=object_key,
            account=caller.account,
            outputs=options.outputs,
            batch=batch,
            webhook=options.webhook,
            priority=options.priority or (Priority.BULK if batch else Priority.INTERACTIVE),
            ttl_seconds_after_finished=options.ttl_seconds_after_finished,
        )
        annotations = {FILE_NAME_ANNOTATION: picture.file_name, **(trace.annotations if trace else {})}
        manifest = new_manifest(key, spec, {name: text for name, text in annotations.items() if text})
        self.objects.put(object_key, picture.data, picture.bytes, content_type=content_type(picture.format))
        try:
            # It may have begun while the original was on its way.
            self.erasures.check(caller)
            document = self._create(key, object_key, manifest, may_exist=name is not None)
        except Refused as error:
            self._discard(object_key)
            raise InvalidOption(error.message) from error
        except (QuotaExceeded, AccountBeingErased):
            self._discard(object_key)
            raise
        job = self.jobs.put(document)
        return job if job is not None else ThumbnailJob.parse(document)

    def _create(self, key: JobKey, object_key: str, manifest: Document, *, may_exist: bool) -> Document:
        """Create the job; one whose outcome is unknown is tried again under the same name.

        After a lost answer, "the name is taken" means that the first try went through. When time is
        up the original stays: the job may be there after all.
        """
        deadline = self.monotonic() + self.create_deadline_seconds
        pause = _FIRST_RETRY_SECONDS
        uncertain = may_exist
        while True:
            try:
                return self.store.create(manifest)
            except AlreadyExists:
                if not uncertain:
                    raise
                found = self._find(key)
                if found is not None:
                    if ThumbnailJob.parse(found).spec.object_key != object_key:
                        raise
                    return found
            except JobStoreUnavailable:
                uncertain = True
            if self.monotonic() + pause > deadline:
                raise JobStoreUnavailable
            self.sleep(pause)
            pause = min(pause * 2, _LAST_RETRY_SECONDS)

    def _find(self, key: JobKey) -> Document | None:
        try:
            return self.store.get(key.namespace, key.name)
        except (JobStoreUnavailable, ObjectMissing):
            return None

    def _discard(self, object_key: str) -> None:
        try:
            self.objects.delete([object_key])
        except Unavailable:
            log.warning("an original without a job stays until the next sweep")
