"""Erases accounts that are to be erased, jobs first, until nothing of them is left; then says so.

What is to be done is in the object store (`erasures/running/`, written by the API), and is looked at again
and again: whatever is found is deleted. It is done when nothing was found for a while and no worker can bring
anything any more. So it can be killed at any instruction, and whoever leads then goes on. Clocks of others
play no part.

An account has what lies under its prefixes, whoever names it in a job. Under `sources/` only originals that
the API has stored are its: an object that somebody else put there stays, as it does in a sweep.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from thumbnails_common.documents import write_document
from thumbnails_common.erasure import Erasure, InvalidErasure, read_erasure
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_common.tombstone import InvalidTombstone, read_tombstone
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.job import JobKey
from thumbnails_contract.keys import (
    ERASURES_RUNNING,
    SOURCES,
    TOMBSTONES,
    account_prefixes,
    parse_source_key,
)

from .counts import Counts
from .informer import Owned
from .parts import in_parts
from .settings import OperatorSettings

logger = logging.getLogger(__name__)

# Between two looks at an account that is being erased.
BUSY_SECONDS: Final = 1.0
# For so long nothing may be found at the end: an original that has just been stored has its job by then.
SURE_SECONDS: Final = 3.0
BATCH_OBJECTS: Final = 500
JOBS_AT_ONCE: Final = 8


class Cleaner(Protocol):
    """Deletes objects (janitor.py): nothing builds upon one while it goes."""

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete these, whoever refers to them. Raises Unavailable."""


@dataclass(slots=True)
class _Progress:
    """What this process has seen and done of an erasure; times are of the monotonic clock."""

    began: float
    quiet_since: float | None = None
    jobs: int = 0
    objects: int = 0


class Eraser:
    """See the module's text.

    `jobs` gives all jobs of which it is known whose they are, `delete_job` deletes one for good, and `held`
    gives the jobs that workers still have something of although nobody wants it. `namespaces` are those of
    `jobs` (None: all).
    """

    def __init__(
        self,
        objects: ObjectStore,
        cleaner: Cleaner,
        jobs: Callable[[], Iterable[Owned]],
        delete_job: Callable[[Owned], Awaitable[None]],
        held: Callable[[], Iterable[JobKey]],
        settings: OperatorSettings,
        counts: Counts,
        run_blocking: Callable[..., Awaitable[Any]],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        namespaces: Iterable[str] | None = None,
    ) -> None:
        self._objects = objects
        self._cleaner = cleaner
        self._jobs = jobs
        self._delete_job = delete_job
        self._held = held
        self._poll_seconds = settings.erasure_poll_seconds
        self._least_seconds = settings.erasure_seconds
        self._counts = counts
        self._run_blocking = run_blocking
        self._clock = clock
        self._monotonic = monotonic
        self._namespaces = None if namespaces is None else frozenset(namespaces)
        self._progress: dict[str, _Progress] = {}

    async def run(self) -> None:
        """Look for erasures now and then, and often while there are some; until cancelled."""
        while True:
            pause = self._poll_seconds
            try:
                if await self.look():
                    pause = min(pause, BUSY_SECONDS)
            except Unavailable as error:
                logger.warning("erasures have to wait: %s", error.reason)
            except Exception:
                # Like the sweep, never worth an operator that does not run; the next look may fare better.
                logger.exception("a look at what is to be erased ended early")
            await asyncio.sleep(pause)

    async def look(self) -> int:
        """One step of every erasure; how many are under way after it. Raises Unavailable."""
        erasures = await self._run_blocking(self._read_all)
        self._progress = {
            erasure.id: self._progress.get(erasure.id) or _Progress(self._monotonic()) for erasure in erasures
        }
        ended = [await self._step(erasure, self._progress[erasure.id]) for erasure in erasures]
        return ended.count(False)

    def _read_all(self) -> list[Erasure]:
        found = []
        for facts in self._objects.list(ERASURES_RUNNING):
            try:
                erasure = read_erasure(self._objects, facts.key)
            except InvalidErasure:
                logger.warning("%r is no erasure, and is left alone", facts.key)
                continue
            if erasure is not None and (self._namespaces is None or erasure.namespace in self._namespaces):
                found.append(erasure)
        return found

    async def _step(self, erasure: Erasure, progress: _Progress) -> bool:
        """Delete what is there; whether that was the end."""
        jobs = [job for job in self._jobs() if _owns(erasure, job)]
        for start in range(0, len(jobs), JOBS_AT_ONCE):
            await asyncio.gather(*(self._delete_job(job) for job in jobs[start : start + JOBS_AT_ONCE]))
        objects = await self._delete_objects(erasure)
        progress.jobs += len(jobs)
        progress.objects += objects
        known = {job.key for job in self._jobs()}
        # What a worker holds of a job that is gone may be of this account: nobody knows any more.
        waits = any(key.namespace == erasure.namespace and key not in known for key in self._held())
        if jobs or objects or waits:
            progress.quiet_since = None
            return False
        now = self._monotonic()
        if progress.quiet_since is None:
            progress.quiet_since = now
        if now - progress.began < self._least_seconds or now - progress.quiet_since < SURE_SECONDS:
            return False
        await self._end(erasure, progress)
        return True

    async def _delete_objects(self, erasure: Erasure) -> int:
        deleted = 0
        prefixes = account_prefixes(erasure.namespace, erasure.account)
        for keys in (*map(self._keys, prefixes), self._tombstones(erasure, prefixes)):
            async for batch in in_parts(keys, BATCH_OBJECTS, self._run_blocking):
                await self._cleaner.remove(batch)
                deleted += len(batch)
        return deleted

    def _keys(self, prefix: str) -> Iterator[str]:
        for facts in self._objects.list(prefix):
            if not prefix.startswith(SOURCES) or parse_source_key(facts.key) is not None:
                yield facts.key

    def _tombstones(self, erasure: Erasure, prefixes: tuple[str, ...]) -> Iterator[str]:
        """Those of the account's jobs: their objects go with all the others."""
        for facts in self._objects.list(f"{TOMBSTONES}{erasure.namespace}/"):
            try:
                tombstone = read_tombstone(self._objects, facts.key)
            except (NoSuchObject, InvalidTombstone):
                continue  # gone meanwhile, or for the sweep to judge
            if tombstone.account == erasure.account or any(
                key.startswith(prefixes) for key in tombstone.keys
            ):
                yield facts.key

    async def _end(self, erasure: Erasure, progress: _Progress) -> None:
        """Say that it is done, and only then that it is not under way any more."""
        done = replace(erasure, finished_at=self._clock(), jobs=progress.jobs, objects=progress.objects)
        await self._run_blocking(write_document, self._objects, done.key, done.to_bytes())
        await self._run_blocking(self._objects.delete, [erasure.key])
        del self._progress[erasure.id]
        self._counts.erased_accounts.inc()
        self._counts.erased_objects.inc(progress.objects)
        logger.info(
            "the account %s of %s is erased: %d jobs, %d objects (%s)",
            erasure.account,
            erasure.namespace,
            progress.jobs,
            progress.objects,
            erasure.id,
        )


def _owns(erasure: Erasure, job: Owned) -> bool:
    return (job.key.namespace, job.account) == (erasure.namespace, erasure.account)
