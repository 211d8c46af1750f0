"""The operator's loop: has each ThumbnailJob that may have changed looked at, and hands out what is ready.

Whoever frames it (kopf in a cluster, a watch of SQLite on one machine) tells it of changes by
`job_changed`, `jobs_listed`, `worker_changed` and `workers_listed`, on the event loop of `run`. All
state lives on that loop; calls that block run in a pool of threads. What is only in memory (leases,
results that are not written yet) may be lost at any instruction: the jobs' documents are the truth.

Here are the wiring of its parts and the loop; what the parts do is in `roster.py` (what is known),
`reconciler.py` (steps), `status_writer.py`, `lookups.py`, `aftercare.py`, `archivist.py`, `desk.py`,
`intake.py` and `pool.py`.
"""

import asyncio
import logging
import random as randomness
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from thumbnails_common.history import History
from thumbnails_common.jobstore import Document, JobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract import logs
from thumbnails_contract.errors import JobStoreUnavailable, Unavailable
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.status import ErrorFacts
from thumbnails_contract.wire import WorkAnswer, WorkRequest

from .aftercare import Aftercare, Sender
from .archivist import Archivist
from .counts import Counts
from .desk import Desk
from .dispatch import Dispatcher
from .informer import Owned
from .intake import Intake
from .lane import State
from .lease import WorkerKey
from .lookups import Lookups
from .pool import Pool, PoolHooks
from .ports import EventSink, Executor, SigningSecrets, WorkerIdentity, WorkerState
from .queue import WorkQueue
from .reconciler import Reconciler
from .roster import Roster, is_finished
from .settings import OperatorSettings
from .status_writer import StatusWriter
from .tasks import Tasks

__all__ = ["Controller", "Counts", "Sender", "utc_now"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK_SECONDS: Final = 1.0
BUSY_TICK_SECONDS: Final = 0.25
# Between two plans that events ask for; the tick makes up for those left out.
PLAN_SECONDS: Final = 0.05
# Jobs that become history at once: each takes a few small requests, one after another.
ARCHIVISTS: Final = 2
DRAIN_SECONDS: Final = 3.0
# How long a worker's request waits for the jobs to be known.
START_SECONDS: Final = 5.0
SUFFIX_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Controller:
    """See the module's text. `generation` must be greater than that of every operator before.

    `deleting` says whether an object is being deleted right now (janitor.py): it counts as gone.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        objects: ObjectStore,
        executor: Executor,
        secrets: SigningSecrets,
        events: EventSink,
        sender: Sender,
        settings: OperatorSettings,
        generation: int,
        deleting: Callable[[str], bool] = lambda _key: False,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        random: randomness.Random | None = None,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        # Seeded by the system, once: it gives names and jitter, no secrets.
        self._random = random or randomness.Random()  # noqa: S311
        self._threads = ThreadPoolExecutor(settings.blocking_threads, thread_name_prefix="operator")
        self._tasks = Tasks()
        self.counts = Counts()

        self._queue: WorkQueue[JobKey] = WorkQueue(self._random)
        self._dispatcher = Dispatcher(
            max_attempts=settings.max_attempts,
            lease_seconds=settings.lease_seconds,
            new_suffix=self._new_suffix,
        )
        self._roster = Roster(
            dispatcher=self._dispatcher, queue=self._queue, monotonic=monotonic, wake=self._wake
        )
        self._intake = Intake(
            roster=self._roster,
            dispatcher=self._dispatcher,
            queue=self._queue,
            events=events,
            settings=settings,
            counts=self.counts,
            clock=clock,
            monotonic=monotonic,
            wake=self._wake,
        )
        self._desk = Desk(
            dispatcher=self._dispatcher,
            objects=objects,
            settings=settings,
            generation=generation,
            monotonic=monotonic,
            hooks=self._intake,
        )
        self._pool = Pool(
            executor=executor,
            dispatcher=self._dispatcher,
            settings=settings,
            new_suffix=self._new_suffix,
            monotonic=monotonic,
            parked=self._desk.is_parked,
            hooks=PoolHooks(
                lost=self._worker_lost,
                stopping=lambda _worker: self._wake(),
                trouble_changed=self._trouble_changed,
            ),
        )
        self._desk.connect(self._pool)
        self._writer = StatusWriter(
            store=store,
            roster=self._roster,
            events=events,
            counts=self.counts,
            clock=clock,
            run_blocking=self.run_blocking,
        )
        self._archivist = Archivist(
            history=History(objects),
            roster=self._roster,
            writer=self._writer,
            settings=settings,
            counts=self.counts,
            clock=clock,
            random=self._random,
            run_blocking=self.run_blocking,
            decide_again=self._queue.add,
        )
        self._reconciler = Reconciler(
            roster=self._roster,
            dispatcher=self._dispatcher,
            pool=self._pool,
            queue=self._queue,
            writer=self._writer,
            lookups=Lookups(
                objects=objects,
                roster=self._roster,
                writer=self._writer,
                settings=settings,
                deleting=deleting,
                clock=clock,
                run_blocking=self.run_blocking,
            ),
            aftercare=Aftercare(
                roster=self._roster,
                writer=self._writer,
                secrets=secrets,
                sender=sender,
                queue=self._queue,
                tasks=self._tasks,
                settings=settings,
                counts=self.counts,
                clock=clock,
                random=self._random,
                end=self._archivist.end,
            ),
            settings=settings,
            clock=clock,
            monotonic=monotonic,
            wake=self._wake,
            grace=lambda: self._grace,
        )

        self._synced = False
        self._unread: set[JobKey] = set()  # of the first listing, not looked at yet
        self._ready = asyncio.Event()  # workers may be answered
        self._grace = True  # workers have not all said yet what they hold
        self._workers_known = False
        self._woken = False
        self._planned = float("-inf")
        self._stopping = asyncio.Event()
        self._ended = False

    # ---- what the frame calls ---------------------------------------------------------------

    def job_changed(self, event_type: str, document: Document) -> None:
        """A watch event of a ThumbnailJob (ADDED, MODIFIED, DELETED)."""
        change = self._roster.observe(event_type, document)
        # Most are echoes of our own writes, some of which come before the write's own answer.
        if change is not None and not self._writer.is_writing(change.key):
            self._queue.add(change.key)

    def jobs_listed(self, documents: Iterable[Document]) -> None:
        """All ThumbnailJobs there are: at the start, and whenever the watch had to begin anew."""
        for change in self._roster.relist(documents):
            if not self._synced and not is_finished(change.after):
                self._unread.add(change.key)
            self._queue.add(change.key)
        self._synced = True
        if not self._unread:
            self._ready.set()

    def worker_changed(self, state: WorkerState) -> None:
        """A worker's Job is now like this."""
        self._pool.changed(state)
        self._wake()

    def workers_listed(self, states: Iterable[WorkerState]) -> None:
        """All workers there are."""
        self._pool.listed(states)
        self._workers_known = True
        self._wake()

    def jobs(self) -> tuple[ThumbnailJob, ...]:
        """All that can be read. Raises JobStoreUnavailable before they were listed: they are not none."""
        self._check_synced()
        return tuple(self._roster.jobs())

    def unreadable(self) -> tuple[JobKey, ...]:
        """The names of jobs that this version cannot read. Raises JobStoreUnavailable as `jobs` does."""
        self._check_synced()
        return tuple(self._roster.unreadable())

    def owned(self) -> tuple[Owned, ...]:
        """All jobs of which it is known whose they are. Raises JobStoreUnavailable as `jobs` does."""
        self._check_synced()
        return tuple(self._roster.owned())

    async def delete_job(self, job: Owned) -> None:
        """Delete a job for good, whatever it does. Raises Unavailable."""
        await self._writer.erase(job)

    def held(self) -> frozenset[JobKey]:
        """Jobs that may bring something yet, although they may be gone: from workers, or as history."""
        return self._dispatcher.unwanted_jobs() | self._archivist.busy()

    def on_job_gone(
        self, *, deleted: Callable[[ThumbnailJob], None], kept: Callable[[ThumbnailJob], None]
    ) -> None:
        """Call one of these with each job that is gone, whoever deleted it; `kept` when it is history."""
        self._roster.on_deleted(lambda job: (kept if self._archivist.has_kept(job) else deleted)(job))

    async def run(self) -> None:
        """Work until `stop` is called."""
        for _ in range(self._settings.reconcile_concurrency):
            self._tasks.spawn(self._work_loop())
        for _ in range(ARCHIVISTS):
            self._tasks.spawn(self._archivist.run())
        self._tasks.spawn(self._tick_loop())
        try:
            await self._stopping.wait()
            self._desk.close()
            await self._drain()
        finally:
            await self._tasks.close()
            await self._pool.close()
            self._queue.close()
            self._archivist.close()
            self._ended = True
            self._threads.shutdown(wait=False, cancel_futures=True)

    def pause(self) -> None:
        """Hand out nothing and make no workers, but take results: for ending the workers before `stop`."""
        self._desk.pause()
        self._pool.pause()

    async def stop(self) -> None:
        """Hand out nothing more, write what has ended, and let `run` return. Workers stay."""
        self._stopping.set()

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        """Answer a worker (exchange.py). Raises Unavailable while the jobs are not known yet."""
        if not self._ready.is_set():
            try:
                await asyncio.wait_for(self._ready.wait(), START_SECONDS)
            except TimeoutError as error:
                raise Unavailable("The operator is starting.") from error
        try:
            return await self._desk.work(WorkerKey(worker.namespace, worker.name), request)
        finally:
            self._wake()

    async def run_blocking(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `function` in one of the operator's threads."""
        if self._ended:
            raise Unavailable("The operator is ending.")
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _check_synced(self) -> None:
        if not self._synced:
            raise JobStoreUnavailable

    # ---- what the pool tells ----------------------------------------------------------------

    def _worker_lost(self, worker: WorkerKey, cause: ErrorFacts, counts: bool) -> None:
        self._intake.worker_lost(worker, cause, counts)
        self._desk.forget(worker)

    def _trouble_changed(self, namespace: str) -> None:
        for entry in self._dispatcher.entries():
            if entry.key.namespace == namespace and entry.state is not State.LEASED:
                self._queue.add(entry.key)

    # ---- the loop ---------------------------------------------------------------------------

    async def _work_loop(self) -> None:
        while True:
            key = await self._queue.get()
            about = logs.bind(job=str(key))
            try:
                settled = await self._reconciler.look(key)
            except Unavailable as error:
                logger.warning("%s has to wait: %s", key, error.reason)
                self._queue.retry(key)
            except Exception:  # one job's trouble must not end the work on all others
                logger.exception("a look at %s failed", key)
                self._queue.retry(key)
            else:
                if settled:
                    self._queue.succeeded(key)
                else:
                    self._queue.retry(key)
            finally:
                logs.unbind(about)
                self._queue.done(key)
                if self._unread:
                    self._unread.discard(key)
                    if not self._unread:
                        self._ready.set()

    def _wake(self) -> None:
        """Hand out and plan soon, once for all that happens until then."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._on_wake)

    def _on_wake(self) -> None:
        self._woken = False
        if not self._ready.is_set() or self._stopping.is_set():
            return
        if self._grace and self._workers_known and self._pool.all_heard():
            self._end_grace()
        self._desk.pump()
        now = self._monotonic()
        if now - self._planned >= PLAN_SECONDS:
            self._planned = now
            self._pool.plan()

    def _end_grace(self) -> None:
        self._grace = False
        self._dispatcher.release_held_back(self._monotonic())

    async def _tick_loop(self) -> None:
        await self._ready.wait()
        self._wake()
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.adoption_grace_seconds, self._grace_is_over)
        resynced = self._monotonic()
        while True:
            try:
                self._tick()
                if self._monotonic() - resynced >= self._settings.resync_seconds:
                    resynced = self._monotonic()
                    self._resync()
            except Exception:  # the next tick may fare better, and without ticks nothing is planned
                logger.exception("a tick failed")
            busy = self._dispatcher.has_ready or self._dispatcher.next_due() is not None
            await asyncio.sleep(BUSY_TICK_SECONDS if busy else TICK_SECONDS)

    def _tick(self) -> None:
        self._dispatcher.advance(self._monotonic())
        self._pool.tick()
        self._desk.pump()

    def _grace_is_over(self) -> None:
        if self._grace:
            self._end_grace()
            self._wake()

    def _resync(self) -> None:
        """Look at all unfinished jobs again, whatever was missed."""
        for job in self._roster.jobs():
            if not job.status.finished:
                self._queue.add(job.key)

    async def _drain(self) -> None:
        """Let the looks that are under way, or due, be done: results that were taken get written."""
        try:
            await asyncio.wait_for(self._queue.wait_idle(), DRAIN_SECONDS)
        except TimeoutError:
            logger.warning(
                "not everything that has ended could be written; it is found again at the next start"
            )

    def _new_suffix(self) -> str:
        return "".join(self._random.choices(SUFFIX_ALPHABET, k=10))
