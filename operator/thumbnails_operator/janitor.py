"""Deletes what nobody needs any more: at once what a deleted job leaves, and by sweeps what was missed.

What may go is decided in `sweep.py`; here is the order of things that makes it safe. Objects are
listed before the jobs are looked at, so whatever was listed has its job known by then; and the jobs
are looked at once more, on the event loop, right before each request that deletes. History is asked in
between: a job that becomes history was either known before, or had written by then what holds its objects.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar
from weakref import WeakSet

from thumbnails_common.history import History
from thumbnails_common.objectstore import NoSuchObject, ObjectFacts, ObjectStore
from thumbnails_common.tombstone import InvalidTombstone, Tombstone, read_tombstone
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.history import HistoryKeys
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import (
    ERASURES_DONE,
    IDEMPOTENCY,
    SOURCES,
    THUMBNAILS,
    TOMBSTONES,
    tombstone_key,
)

from .parts import in_parts
from .settings import OperatorSettings
from .sweep import (
    References,
    Rules,
    Verdict,
    is_covered,
    judge_tombstone,
    outlived_place,
    own_keys,
    removable,
    tombstone_history,
    tombstone_keys,
    unreferenced,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How many objects are held in memory, judged on the event loop and deleted in one request (S3: 1,000).
BATCH_OBJECTS: Final = 500
BATCH_TOMBSTONES: Final = 100
BATCH_JOBS: Final = 100
# Deletions beyond this wait for the next sweep instead of in memory.
MAX_QUEUED_JOBS: Final = 20_000
# Deletions come together for so long, and looking through all jobs takes at most this part of the time.
PAUSE_SECONDS: Final = 1.0
PAUSE_FACTOR: Final = 10.0
RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

# Which of some candidates go, by what the known jobs refer to at that moment.
Choose = Callable[[Sequence[T], References], list[str]]
# Which of these keys history refers to. Blocks.
Historic = Callable[[Sequence[str]], frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Deleted:
    """A job that is gone, and what it left."""

    key: JobKey
    uid: str
    keys: tuple[str, ...]


class Janitor:
    """Keeps the bucket clean. Everything runs on the event loop but for what `run_blocking` is given.

    `jobs` gives all jobs that are known now, `unreadable` the names of those that this version cannot
    read; `run` may only be called once both are complete. `held` gives those that workers still have
    something of although nobody wants it: their thumbnails may be on their way, and go when they have come.
    `namespaces` are those that `jobs` knows (None: all): what lies elsewhere in the bucket is left alone.
    """

    def __init__(
        self,
        objects: ObjectStore,
        jobs: Callable[[], Iterable[ThumbnailJob]],
        settings: OperatorSettings,
        run_blocking: Callable[..., Awaitable[Any]],
        clock: Callable[[], datetime],
        *,
        unreadable: Callable[[], Iterable[JobKey]] = tuple,
        held: Callable[[], Container[JobKey]] = frozenset,
        namespaces: Iterable[str] | None = None,
    ) -> None:
        self._objects = objects
        self._history = History(objects)
        self._jobs = jobs
        self._unreadable = unreadable
        self._held = held
        self._rules = Rules.of(settings, namespaces)
        self._interval_seconds = settings.sweep_interval_seconds
        self._tombstone_seconds = settings.tombstone_seconds
        self._run_blocking = run_blocking
        self._clock = clock
        self._queue: dict[str, _Deleted] = {}
        self._queued = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._deleting: frozenset[str] = frozenset()
        self._in_use: WeakSet[_Known] = WeakSet()

    def job_deleted(self, job: ThumbnailJob) -> None:
        """Tell of a job that is gone: what it leaves is deleted soon. Does not wait."""
        if len(self._queue) < MAX_QUEUED_JOBS:
            self._queue[job.uid] = _Deleted(job.key, job.uid, own_keys(job))
            self._queued.set()

    def job_kept(self, job: ThumbnailJob) -> None:
        """Tell of a job that is gone and has become history: what it refers to stays. Does not wait.

        It may have come and gone since somebody looked at the jobs.
        """
        for known in self._in_use:
            known.gone.append(job)

    def deleting(self, key: str) -> bool:
        """Whether this object is being deleted right now: then it is nothing to build upon (a cache hit)."""
        return key in self._deleting

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete these objects, whoever refers to them. Raises Unavailable."""
        async with self._one_at_a_time:
            await self._delete_now(keys)

    async def run(self) -> None:
        """Sweep now and then at intervals, and delete what deleted jobs leave; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sweeping(), name="sweep")
            group.create_task(self._keep_deleting(), name="deletions")
            group.create_task(self._keep_burying(), name="tombstones")

    async def sweep(self) -> int:
        """One sweep of the whole bucket; how many objects it deleted. Raises Unavailable."""
        # Known once for the whole sweep: it is brought up to date after each part of a listing.
        known = self._look()
        now = self._clock()
        deleted = await self._sweep_tombstones(known, now)
        deleted += await self._sweep_history(known, now)

        def held_originals(keys: Sequence[str]) -> frozenset[str]:
            return self._history.held_originals(keys, now - self._rules.source_retention)

        deleted += await self._sweep_objects(SOURCES, known, now, held_originals)
        deleted += await self._sweep_objects(THUMBNAILS, known, now, self._history.held_thumbnails)
        for prefix in (IDEMPOTENCY, ERASURES_DONE):
            deleted += await self._sweep_objects(prefix, known, now)
        return deleted

    async def _keep_sweeping(self) -> None:
        failures = 0
        while True:
            pause = self._interval_seconds
            try:
                deleted = await self.sweep()
                failures = 0
                if deleted:
                    logger.info("sweep: %d objects that nobody needs any more were deleted", deleted)
            except Unavailable as error:
                pause = min(pause, _retry_seconds(failures))
                failures += 1
                logger.warning("sweep: %s; trying again in %.0f s", error.reason, pause)
            except Exception:
                # Cleaning up is never worth an operator that does not run.
                logger.exception("sweep: ended early; the next one is in %.0f s", pause)
            await asyncio.sleep(pause)

    async def _keep_burying(self) -> None:
        """Bring deletions to their end that only a tombstone tells of: those of jobs that are history."""
        loop = asyncio.get_running_loop()
        failures, pause = 0, self._tombstone_seconds
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            try:
                if await self._run_blocking(lambda: any(True for _ in self._objects.list(TOMBSTONES))):
                    await self._sweep_tombstones(self._look(), self._clock())
                failures = 0
                pause = max(self._tombstone_seconds, PAUSE_FACTOR * (loop.time() - began))
            except Unavailable as error:
                pause = max(self._tombstone_seconds, _retry_seconds(failures))
                failures += 1
                logger.warning("tombstones: %s; trying again in %.0f s", error.reason, pause)
            except Exception:
                logger.exception("tombstones: what they name waits for the next look")

    async def _keep_deleting(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            await self._queued.wait()
            self._queued.clear()
            began = loop.time()
            held = self._held()
            free = (deleted for deleted in self._queue.values() if deleted.key not in held)
            batch = list(islice(free, BATCH_JOBS))
            try:
                if batch:
                    await self._delete_leftovers(batch)
                failures = 0
                pause = max(PAUSE_SECONDS, PAUSE_FACTOR * (loop.time() - began))
            except Unavailable as error:
                pause = _retry_seconds(failures)
                failures += 1
                logger.warning("deleted jobs: %s; trying again in %.0f s", error.reason, pause)
            except Exception:
                failures, pause = 0, PAUSE_SECONDS
                logger.exception("deleted jobs: what %d of them leave waits for the next sweep", len(batch))
            if not failures:
                for deleted in batch:
                    self._queue.pop(deleted.uid, None)
            if self._queue:
                self._queued.set()
            await asyncio.sleep(pause)

    async def _delete_leftovers(self, batch: Sequence[_Deleted]) -> None:
        gone = frozenset(deleted.uid for deleted in batch)
        known = self._look(gone)
        keys = list(dict.fromkeys(key for deleted in batch for key in deleted.keys))
        await self._delete(keys, self._unreferenced, known, self._history.held_thumbnails)
        tombstones = [
            tombstone_key(deleted.key.namespace, deleted.key.name)
            for deleted in batch
            if not known.references.protects(deleted.key.namespace)
        ]
        await self._delete(tombstones, _all, known)

    async def _sweep_tombstones(self, known: "_Known", now: datetime) -> int:
        deleted = 0
        listing = self._objects.list(TOMBSTONES)
        async for chunk in in_parts(listing, BATCH_TOMBSTONES, self._run_blocking):
            read = await self._run_blocking(_read_tombstones, self._objects, chunk)
            await known.refresh(self._run_blocking)
            entries: list[str] = []
            pictures: list[tuple[Tombstone, str]] = []
            finished: list[tuple[Tombstone, str]] = []
            done: list[str] = []
            for facts, tombstone in read:
                if tombstone is None:
                    if now - facts.last_modified > self._rules.grace:
                        logger.warning("sweep: %r is no tombstone; it is deleted", facts.key)
                        done.append(facts.key)
                    continue
                verdict = judge_tombstone(tombstone, facts.last_modified, known.references, self._rules, now)
                if verdict is Verdict.FINISH and self._is_over(tombstone, known.references, self._held()):
                    own = tombstone_history(tombstone)
                    entries += await self._run_blocking(self._history.of_job, own, tombstone.uid)
                    pictures.extend((tombstone, key) for key in tombstone_keys(tombstone))
                    finished.append((tombstone, facts.key))
                elif verdict is Verdict.DROP:
                    done.append(facts.key)
            deleted += await self._delete(entries, _all, known)
            deleted += await self._delete(pictures, self._left_by, known, self._history.held_thumbnails)
            deleted += await self._delete(finished, self._still_over, known)
            deleted += await self._delete(done, _all, known)
        return deleted

    def _is_over(self, tombstone: Tombstone, references: References, held: Container[JobKey]) -> bool:
        """Whether nothing of the job can come any more, and nothing is left that is known here.

        A tombstone names what the job was known to have when it was deleted; who was told of a job that was
        being rendered knows more, and deletes the tombstone itself. To be asked right before each deletion:
        a job that was not known may only not have been heard of.
        """
        known = references.knows(tombstone.uid) or tombstone.uid in self._queue
        return not known and JobKey(tombstone.namespace, tombstone.name) not in held

    def _still_over(self, told: Sequence[tuple[Tombstone, str]], references: References) -> list[str]:
        held = self._held()
        return [key for tombstone, key in told if self._is_over(tombstone, references, held)]

    def _left_by(self, told: Sequence[tuple[Tombstone, str]], references: References) -> list[str]:
        return self._unreferenced(list(dict.fromkeys(self._still_over(told, references))), references)

    async def _sweep_history(self, known: "_Known", now: datetime) -> int:
        """End what has been kept long enough: jobs, and what says that originals stay."""
        deleted = 0
        for namespace, account in await self._run_blocking(lambda: list(self._history.accounts())):
            await known.refresh(self._run_blocking)
            if not is_covered(namespace, known.references, self._rules):
                continue
            originals = self._history.outlived_originals(
                namespace, account, now - self._rules.source_retention
            )
            async for keys in in_parts(originals, BATCH_OBJECTS, self._run_blocking):
                deleted += await self._delete(keys, _all, known)
            if self._rules.thumbnails_keep is not None:
                deleted += await self._end_history(
                    namespace, account, now - self._rules.thumbnails_keep, known
                )
        return deleted

    async def _end_history(
        self, namespace: str, account: str, created_before: datetime, known: "_Known"
    ) -> int:
        deleted, now = 0, self._clock()
        places = self._history.created_before(namespace, account, created_before)
        async for part in in_parts(places, BATCH_JOBS, self._run_blocking):
            found = await self._run_blocking(lambda part=part: [self._history.at(key) for key, _ in part])
            await known.refresh(self._run_blocking)
            entries: list[HistoryKeys] = []
            bare: list[str] = []
            for (time_key, written), (key, job) in zip(part, found, strict=True):
                if not outlived_place(key, job, written, known.references, self._rules, now):
                    continue
                if job is None:
                    bare.append(time_key)
                else:
                    entries.append(HistoryKeys.of(job))
            if entries:
                await self._run_blocking(self._history.remove, entries)
            deleted += len(entries) + await self._delete(bare, _all, known)
        return deleted

    async def _sweep_objects(
        self, prefix: str, known: "_Known", now: datetime, historic: Historic | None = None
    ) -> int:
        def choose(chunk: Sequence[ObjectFacts], references: References) -> list[str]:
            return removable(chunk, references, self._rules, now)

        deleted = 0
        async for chunk in in_parts(self._objects.list(prefix), BATCH_OBJECTS, self._run_blocking):
            deleted += await self._delete(chunk, choose, known, historic)
        return deleted

    def _look(self, ignored_uids: frozenset[str] = frozenset()) -> "_Known":
        known = _Known(self._jobs, self._unreadable, ignored_uids)
        self._in_use.add(known)
        return known

    def _unreferenced(self, keys: Sequence[str], references: References) -> list[str]:
        return unreferenced(keys, references, self._rules)

    async def _delete(
        self, candidates: Sequence[T], choose: Choose[T], known: "_Known", historic: Historic | None = None
    ) -> int:
        """Delete what `choose` chooses by the jobs of this very moment; how many that were.

        But for what is `historic` all the same.
        """
        deleted = 0
        for start in range(0, len(candidates), BATCH_OBJECTS):
            part = candidates[start : start + BATCH_OBJECTS]
            await known.refresh(self._run_blocking)
            stay: frozenset[str] = frozenset()
            if historic is not None and (keys := choose(part, known.references)):
                stay = await self._run_blocking(historic, keys)
            async with self._one_at_a_time:
                known.refresh_now()
                keys = [key for key in choose(part, known.references) if key not in stay]
                if not keys:
                    continue
                await self._delete_now(keys)
                deleted += len(keys)
        return deleted

    async def _delete_now(self, keys: Sequence[str]) -> None:
        """The caller holds the lock."""
        self._deleting = frozenset(keys)
        try:
            await self._run_blocking(self._objects.delete, keys)
        finally:
            self._deleting = frozenset()


class _Known:
    """References that are brought up to date with the jobs as often as wanted.

    Jobs are values: one that changed is another object. So being up to date costs a look at each, and
    work only for those that are new.
    """

    def __init__(
        self,
        jobs: Callable[[], Iterable[ThumbnailJob]],
        unreadable: Callable[[], Iterable[JobKey]],
        ignored_uids: frozenset[str] = frozenset(),
    ) -> None:
        self.references = References()
        self._jobs = jobs
        self._unreadable = unreadable
        self._ignored_uids = ignored_uids
        self.gone: list[ThumbnailJob] = []  # became history meanwhile
        # By id(), and kept, so that no other object gets the same one.
        self._seen: dict[int, ThumbnailJob] = {}

    async def refresh(self, run_blocking: Callable[..., Awaitable[Any]]) -> None:
        """Take in all jobs; the work is done in a thread, since at first it is much."""
        new = self._new_jobs()
        if new:
            await run_blocking(self.references.add, new)

    def refresh_now(self) -> None:
        """Take in what changed since, with no chance for anything to change meanwhile."""
        self.references.add(self.gone)
        self.gone.clear()
        self.references.add(self._new_jobs())

    def _new_jobs(self) -> list[ThumbnailJob]:
        self.references.add_unreadable(self._unreadable())
        new = [job for job in self._jobs() if id(job) not in self._seen]
        self._seen.update((id(job), job) for job in new)
        return [job for job in new if job.uid not in self._ignored_uids]


def _read_tombstones(
    objects: ObjectStore, listed: Sequence[ObjectFacts]
) -> list[tuple[ObjectFacts, Tombstone | None]]:
    """Each tombstone that is still there, None for what is no tombstone of that name. Blocks."""
    read: list[tuple[ObjectFacts, Tombstone | None]] = []
    for facts in listed:
        try:
            tombstone = read_tombstone(objects, facts.key)
            fits = tombstone_key(tombstone.namespace, tombstone.name) == facts.key
            read.append((facts, tombstone if fits else None))
        except NoSuchObject:
            continue  # its deletion has come to its end meanwhile
        except InvalidTombstone:
            read.append((facts, None))
    return read


def _all(keys: Sequence[str], _references: References) -> list[str]:
    return list(keys)


def _retry_seconds(failures: int) -> float:
    return RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
