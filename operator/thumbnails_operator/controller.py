"""The operator's loop: brings each ThumbnailJob, step by step, to where `reconcile.py` says it shall be.

Whoever frames it (kopf in a cluster, a watch of SQLite on one machine) tells it of changes by
`job_changed`, `jobs_listed`, `worker_changed` and `workers_listed`, on the event loop of `run`. All
state lives on that loop; calls that block run in a pool of threads. What is only in memory (leases,
results that are not written yet) may be lost at any instruction: the jobs' documents are the truth.
"""

import asyncio
import logging
import random as randomness
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NoReturn, Protocol, TypeVar

from thumbnails_common.jobstore import Conflict, Document, JobStore, ObjectMissing
from thumbnails_common.objectstore import NoSuchObject, ObjectStore
from thumbnails_contract.errors import (
    InvalidJob,
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    RenderError,
    SourceNotFound,
    Unavailable,
)
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import foreign_identity, source_identity
from thumbnails_contract.spec import Priority
from thumbnails_contract.status import ConditionType, ErrorFacts, Phase, Reason, Status, status_patch
from thumbnails_contract.wire import Result, WorkAnswer, WorkRequest

from . import outcome
from .claims import Claims
from .desk import Assignment, Desk
from .dispatch import Dispatcher, Failure, State, Ticket
from .informer import Change, Informer, Known, Unreadable
from .lease import LeaseName, WorkerKey
from .memory import Attempt, Made, Memory
from .pool import Pool, PoolHooks
from .ports import EventSink, Executor, SigningSecrets, WorkerIdentity, WorkerState
from .queue import WorkQueue
from .reconcile import (
    Claim,
    Enqueue,
    Facts,
    Finished,
    Identify,
    LookUp,
    Park,
    Place,
    Settle,
    Stay,
    Step,
    blocked,
    next_step,
)
from .settings import OperatorSettings
from .ttl import deletion_time
from .wanted import Thumbnail, missing, wanted
from .webhook import (
    NO_SECRET,
    DeliverAt,
    DeliverNow,
    DeliveryResult,
    after_attempt,
    delivery_settled,
    next_delivery,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK_SECONDS: Final = 1.0
BUSY_TICK_SECONDS: Final = 0.25
# Between two plans that events ask for; the tick makes up for those left out.
PLAN_SECONDS: Final = 0.05
MAX_STEPS: Final = 20
MAX_TIMER_SECONDS: Final = 3600.0
DRAIN_SECONDS: Final = 3.0
# After an attempt to deliver that could not even be made.
DELIVERY_RETRY_SECONDS: Final = 5.0
SUFFIX_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class Sender(Protocol):
    """Makes one attempt to deliver a webhook, and bounds how many run at once."""

    async def send(self, delivery: DeliverNow, secret: str, now: datetime) -> DeliveryResult:
        """How the attempt ended."""


@dataclass(slots=True)
class Counts:
    """What happened since the start: for metrics and tests."""

    status_writes: int = 0
    conflicts: int = 0
    handed_out: int = 0
    rendered: int = 0
    cached: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    deleted: int = 0
    webhook_attempts: int = 0


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Controller:
    """See the module's text. `generation` must be greater than that of every operator before."""

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
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        random: randomness.Random | None = None,
    ) -> None:
        self._store = store
        self._objects = objects
        self._secrets = secrets
        self._events = events
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._random = random or randomness.SystemRandom()
        self._threads = ThreadPoolExecutor(settings.blocking_threads, thread_name_prefix="operator")

        self._informer = Informer()
        self._memories: dict[JobKey, Memory] = {}
        self._attempts: dict[JobKey, Attempt] = {}  # to deliver webhooks
        self._made = Made()
        self._claims = Claims()
        self._queue: WorkQueue[JobKey] = WorkQueue(self._random)
        self._dispatcher = Dispatcher(
            max_attempts=settings.max_attempts,
            lease_seconds=settings.lease_seconds,
            new_suffix=self._new_suffix,
        )
        self._desk = Desk(
            dispatcher=self._dispatcher,
            objects=objects,
            settings=settings,
            generation=generation,
            monotonic=monotonic,
            run_blocking=self.run_blocking,
            hooks=self,
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

        self._deletion_listeners: list[Callable[[ThumbnailJob], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._synced = False
        self._unread: set[JobKey] = set()  # of the first listing, not looked at yet
        self._ready = asyncio.Event()  # workers may be answered
        self._grace = True  # workers have not all said yet what they hold
        self._workers_known = False
        self._woken = False
        self._planned = float("-inf")
        self._stopping = asyncio.Event()
        self._ended = False
        self.counts = Counts()

    # ---- what the frame calls ---------------------------------------------------------------

    def job_changed(self, event_type: str, document: Document) -> None:
        """A watch event of a ThumbnailJob (ADDED, MODIFIED, DELETED)."""
        change = self._informer.observe(event_type, document)
        if change is not None:
            self._apply(change)
            self._queue.add(change.key)

    def jobs_listed(self, documents: Iterable[Document]) -> None:
        """All ThumbnailJobs there are: at the start, and whenever the watch had to begin anew."""
        changes = self._informer.relist(documents)
        for change in changes:
            self._apply(change)
        # Those that ran go first: nobody else shall claim what a worker may have half done.
        for change in sorted(changes, key=_urgency):
            if not self._synced and not _is_finished(change.after):
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
        """All jobs that are known. Raises JobStoreUnavailable before they were listed: they are not none."""
        if not self._synced:
            raise JobStoreUnavailable
        return tuple(self._informer.jobs())

    def on_job_deleted(self, listener: Callable[[ThumbnailJob], None]) -> None:
        """Call `listener` with each job that is gone, whoever deleted it."""
        self._deletion_listeners.append(listener)

    async def run(self) -> None:
        """Work until `stop` is called."""
        workers = [self._spawn(self._work_loop()) for _ in range(self._settings.reconcile_concurrency)]
        ticker = self._spawn(self._tick_loop())
        try:
            await self._stopping.wait()
            self._desk.close()
            await self._drain()
        finally:
            for task in (*workers, ticker, *self._tasks):
                task.cancel()
            await asyncio.gather(*workers, ticker, *self._tasks, return_exceptions=True)
            await self._pool.close()
            self._queue.close()
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
                await asyncio.wait_for(self._ready.wait(), 5.0)
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

    # ---- what the desk calls ----------------------------------------------------------------

    def assignment(self, key: JobKey) -> Assignment | None:
        """What a worker shall make for a job."""
        known, memory = self._informer.get(key), self._memories.get(key)
        if not isinstance(known, Known) or memory is None or known.job.status.finished:
            return None
        outputs = missing(memory.wanted, memory.there)
        return Assignment(known.job, outputs) if outputs else None

    def take_result(self, worker: WorkerKey, result: Result) -> None:
        """How an item ended in a worker; a result that nobody waits for is let go."""
        now = self._monotonic()
        if result.outputs and result.error is None:
            self._take_success(worker, result)
        elif result.returned:
            # Workers that end give back once; those that go on doing so cannot fetch or store.
            away = outcome.facts_of(ObjectStoreUnavailable("Workers cannot reach the object store."))
            key = self._dispatcher.give_back(worker, result.lease, now, away)
            if key is not None:
                self.waits_again(key)
        else:
            error = outcome.worker_error(result)
            if outcome.is_unavailable(error):
                key = self._dispatcher.postpone(worker, result.lease, error, now)
                if key is not None:
                    self.waits_again(key)
            else:
                self._take_failure(
                    worker, result.lease, error, final=result.error is not None and not result.retry
                )
        self._wake()

    def handed_out(self, key: JobKey) -> None:
        """A worker has the job."""
        memory = self._memories.get(key)
        if memory is not None and memory.started is None:
            memory.started = self._clock()
        self.counts.handed_out += 1
        self._queue.add(key)

    def waits_again(self, key: JobKey) -> None:
        """The job has no worker any more."""
        memory = self._memories.get(key)
        if memory is not None:
            memory.waiting_since = self._monotonic()
        self._queue.add(key)
        self._wake()

    # ---- results ----------------------------------------------------------------------------

    def _take_success(self, worker: WorkerKey, result: Result) -> None:
        name = LeaseName.parse(result.lease)
        memory = self._memories.get(name.job) if name else None
        entry = self._dispatcher.entry(name.job) if name else None
        if name is None or memory is None or entry is None or entry.ticket.uid != name.uid:
            self._dispatcher.succeed(worker, result.lease)
            return
        if name.job.namespace != worker.namespace:
            return
        expected = {item.object_key for item in memory.wanted}
        for rendered in result.outputs:
            if rendered.object_key in expected:
                memory.there[rendered.object_key] = Thumbnail.from_result(rendered, result.source)
                memory.rendered = True
        if missing(memory.wanted, memory.there):
            error = outcome.facts_of(RenderError("The worker did not make all thumbnails."))
            self._take_failure(worker, result.lease, error, final=False)
            return
        memory.attempts = entry.attempts + 1
        self._dispatcher.succeed(worker, result.lease)
        self._queue.add(name.job)

    def _take_failure(self, worker: WorkerKey, lease: str, error: ErrorFacts, *, final: bool) -> None:
        alone = error.reason in outcome.SUSPICIOUS
        failure = self._dispatcher.fail(worker, lease, error, self._monotonic(), final=final, alone=alone)
        if failure is not None:
            self._attempt_failed(failure)

    def _attempt_failed(self, failure: Failure) -> None:
        memory = self._memories.get(failure.key)
        if memory is None:
            return
        memory.attempts = failure.attempts
        memory.waiting_since = self._monotonic()
        if failure.final:
            memory.error = failure.cause
        else:
            self.counts.retried += 1
            message = f"Attempt {failure.attempts} of {self._settings.max_attempts}: {failure.cause.message}"
            self._events.emit(
                failure.key, memory.uid, warning=True, reason=failure.cause.reason, message=message
            )
        self._queue.add(failure.key)

    def _worker_lost(self, worker: WorkerKey, cause: ErrorFacts, counts: bool) -> None:
        for ended in self._dispatcher.lose(worker, cause, self._monotonic(), counts=counts):
            if isinstance(ended, Failure):
                self._attempt_failed(ended)
            else:
                self.waits_again(ended)
        self._desk.forget(worker)
        self._wake()

    def _trouble_changed(self, namespace: str) -> None:
        for entry in self._dispatcher.entries():
            if entry.key.namespace == namespace and entry.state is not State.LEASED:
                self._queue.add(entry.key)

    # ---- what is known ----------------------------------------------------------------------

    def _apply(self, change: Change) -> None:
        """Keep everything that hangs on a job in step with what is known of it."""
        before, after = change.before, change.after
        if isinstance(before, Known) and before.job.status.finished:
            self._made.remove(before.job)
        if isinstance(after, Known) and after.job.status.finished:
            self._made.add(after.job)
        if after is None or change.replaced:
            self._let_go(change.key)
            self._memories.pop(change.key, None)
            self._attempts.pop(change.key, None)
            if isinstance(before, Known):
                for listener in self._deletion_listeners:
                    listener(before.job)
        elif _is_finished(after) or isinstance(after, Unreadable):
            self._let_go(change.key)
            self._memories.pop(change.key, None)

    def _let_go(self, key: JobKey) -> None:
        """The job shall not run (any more): who has it drops it, and who waits for it may go on."""
        if self._dispatcher.remove(key):
            self._wake()
        for waiter in self._claims.release(key):
            self._queue.add(waiter)

    def _memory(self, job: ThumbnailJob) -> Memory:
        memory = self._memories.get(job.key)
        if memory is None or memory.uid != job.uid:
            memory = self._memories[job.key] = Memory(
                job.uid, self._monotonic(), attempts=job.status.attempts
            )
        if memory.identity is None:
            identity = source_identity(job.spec.object_key, job.key.namespace, job.spec.account)
            if identity is not None:
                self._set_identity(memory, job, identity)
        return memory

    def _set_identity(self, memory: Memory, job: ThumbnailJob, identity: str) -> None:
        memory.identity = identity
        memory.wanted = wanted(job, identity)

    def _facts(self, job: ThumbnailJob, memory: Memory) -> Facts:
        key, entry = job.key, self._dispatcher.entry(job.key)
        place = None
        if entry is not None:
            worker = entry.worker.name if entry.worker else None
            postponed = entry.state is State.POSTPONED
            place = Place(entry.attempts, worker, postponed, entry.cause)
        return Facts(
            identity=memory.identity,
            wanted=memory.wanted,
            there=memory.there,
            rendered=memory.rendered,
            to_look_up=tuple(
                item.object_key
                for item in missing(memory.wanted, memory.there)
                if item.object_key in self._made and item.object_key not in memory.looked_up
            ),
            claimed=self._claims.holds(key),
            waits_for_equal=self._claims.waits(key),
            place=place,
            attempts=max(memory.attempts, job.status.attempts),
            error=memory.error,
            trouble=self._pool.trouble(key.namespace),
            workers_live=place is not None and place.worker is None and self._pool.live(key.namespace),
            waited_seconds=self._monotonic() - memory.waiting_since,
            started=memory.started,
        )

    # ---- reconciling ------------------------------------------------------------------------

    async def _work_loop(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                settled = await self._look(key)
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
                self._queue.done(key)
                if self._unread:
                    self._unread.discard(key)
                    if not self._unread:
                        self._ready.set()

    async def _look(self, key: JobKey) -> bool:
        """Step on until the job is where it shall be for now; False when it does not come to rest."""
        for _ in range(MAX_STEPS):
            known = self._informer.get(key)
            if known is None:
                return True
            if isinstance(known, Unreadable):
                rests = await self._refuse(known)
            elif known.job.status.finished:
                rests = await self._finish(known)
            elif known.job.deleting:
                self._let_go(key)
                rests = True
            else:
                memory = self._memory(known.job)
                facts = self._facts(known.job, memory)
                step = next_step(known.job, facts, self._settings, self._clock())
                rests = await self._take(step, known, memory)
            if rests:
                return True
        return False

    async def _take(self, step: Step, known: Known, memory: Memory) -> bool:
        """Take a step; whether it was the last one for now."""
        match step:
            case Finished():
                return await self._finish(known)
            case Settle():
                return await self._settle(known, step)
            case Park():
                return await self._park(known, step)
            case Stay():
                return await self._rest(known, step.status, step.again_seconds)
            case _:
                return await self._gather(step, known, memory)

    async def _gather(self, step: Identify | LookUp | Claim | Enqueue, known: Known, memory: Memory) -> bool:
        """Take a step after which more is known of the job."""
        match step:
            case Identify():
                await self._identify(known, memory)
            case LookUp(object_keys):
                await self._look_up(known, memory, object_keys)
            case Claim(object_keys):
                goes_before = partial(self._goes_before, known.job)
                for other in self._claims.claim(known.job.key, object_keys, goes_before):
                    self._queue.add(other)
                if self._claims.waits(known.job.key):
                    memory.looked_up.clear()  # what is not there now will be
            case Enqueue():
                self._enqueue(known.job, memory)
        return False

    async def _settle(self, known: Known, step: Settle) -> bool:
        if self._dispatcher.remove(known.job.key):
            self._wake()
        if await self._write(known, step.status):
            self._tell(known.job, step.status)
        return False

    async def _rest(self, known: Known, status: Status, again_seconds: float | None) -> bool:
        if await self._write(known, status):
            return False
        if again_seconds is not None:
            self._queue.add_after(known.job.key, again_seconds)
        return True

    def _enqueue(self, job: ThumbnailJob, memory: Memory) -> None:
        ticket = Ticket(
            job.key,
            job.uid,
            job.spec.account,
            job.spec.priority,
            job.created,
            max(job.status.attempts, memory.attempts),
        )
        held_back = self._grace and job.status.phase is Phase.RUNNING
        self._dispatcher.add(ticket, self._monotonic(), held_back=held_back)
        self._wake()

    async def _park(self, known: Known, step: Park) -> bool:
        key = known.job.key
        if self._dispatcher.remove(key):
            self._wake()
        if not step.keep_waiting:
            for waiter in self._claims.release(key):
                self._queue.add(waiter)
        return await self._rest(known, step.status, step.again_seconds)

    def _goes_before(self, job: ThumbnailJob, holder: JobKey) -> bool:
        """Whether `job` may take a claim from `holder`: who runs keeps it, then who would run first."""
        entry, known = self._dispatcher.entry(holder), self._informer.get(holder)
        if not isinstance(known, Known):
            return True
        if entry is not None and entry.state in {State.LEASED, State.HELD_BACK}:
            return False
        return _order(job) < _order(known.job)

    async def _identify(self, known: Known, memory: Memory) -> None:
        job = known.job
        try:
            facts = await self.run_blocking(self._objects.head, job.spec.object_key)
        except NoSuchObject:
            memory.error = outcome.facts_of(SourceNotFound())
        except Unavailable as error:
            await self._blocked(known, memory, error)
        else:
            self._set_identity(memory, job, foreign_identity(facts.etag, facts.bytes))

    async def _look_up(self, known: Known, memory: Memory, object_keys: tuple[str, ...]) -> None:
        for object_key in object_keys:
            try:
                found = Thumbnail.from_head(await self.run_blocking(self._objects.head, object_key))
            except NoSuchObject:
                found = None
            except Unavailable as error:
                await self._blocked(known, memory, error)
            memory.looked_up.add(object_key)
            if found is not None:
                memory.there[object_key] = found

    async def _blocked(self, known: Known, memory: Memory, error: Unavailable) -> NoReturn:
        """The object store is away: say so once it lasts, and try again later."""
        waited = self._monotonic() - memory.waiting_since
        status = blocked(known.job, outcome.facts_of(error), waited, self._settings, self._clock())
        await self._write(known, status)
        raise error

    async def _write(self, known: Known, status: Status) -> bool:
        """Write the status; False when there was nothing to write.

        True says only that something has happened: after a conflict it is the newest document that
        is known now, and the caller has to decide anew.
        """
        job = known.job
        patch = status_patch(known.raw_status, status)
        if not patch:
            return False
        try:
            document = await self.run_blocking(
                self._store.patch_status,
                job.key.namespace,
                job.key.name,
                patch,
                resource_version=job.resource_version,
            )
        except Conflict:
            self.counts.conflicts += 1
            await self._refresh(job.key)
            return True
        except ObjectMissing:
            self._gone(job.key)
            return True
        self.counts.status_writes += 1
        change = self._informer.wrote(job, document)
        if change is not None:
            self._apply(change)
        return True

    async def _refresh(self, key: JobKey) -> None:
        try:
            document = await self.run_blocking(self._store.get, key.namespace, key.name)
        except ObjectMissing:
            self._gone(key)
            return
        change = self._informer.observe("MODIFIED", document)
        if change is not None:
            self._apply(change)

    def _gone(self, key: JobKey) -> None:
        change = self._informer.forget(key)
        if change is not None:
            self._apply(change)

    def _tell(self, job: ThumbnailJob, status: Status) -> None:
        """Count and announce an end, if it is this status that the job has now."""
        known = self._informer.get(job.key)
        if not isinstance(known, Known) or not known.job.status.finished or known.job.uid != job.uid:
            return
        phase, error = known.job.status.phase, known.job.status.error
        if phase is not status.phase:
            return
        if phase is Phase.SUCCEEDED:
            complete = status.condition(ConditionType.COMPLETE)
            if complete is not None and complete.reason == Reason.CACHED:
                self.counts.cached += 1
            else:
                self.counts.rendered += 1
            count = len(status.outputs)
            reason, message = "Completed", f"{count} thumbnail{'s' if count > 1 else ''}."
        elif phase is Phase.CANCELLED:
            self.counts.cancelled += 1
            reason, message = "Cancelled", "The job was cancelled."
        else:
            self.counts.failed += 1
            reason, message = "Failed", f"{error.reason}: {error.message}" if error else ""
        self._events.emit(job.key, job.uid, warning=phase is Phase.FAILED, reason=reason, message=message)

    async def _refuse(self, unreadable: Unreadable) -> bool:
        """Fail a job that cannot be read; whether nothing is left to do about it."""
        key = unreadable.key
        try:
            old = Status.parse(unreadable.raw_status)
        except (KeyError, TypeError, ValueError, AttributeError):
            old = Status()
        if old.finished:
            return True
        error = outcome.facts_of(unreadable.error)
        patch = status_patch(
            unreadable.raw_status, outcome.unreadable(old, unreadable.generation, error, self._clock())
        )
        try:
            document = await self.run_blocking(
                self._store.patch_status,
                key.namespace,
                key.name,
                patch,
                resource_version=unreadable.resource_version,
            )
        except Conflict:
            await self._refresh(key)
            return False
        except ObjectMissing:
            self._gone(key)
            return True
        self.counts.status_writes += 1
        change = self._informer.observe("MODIFIED", document)
        if change is not None:
            self._apply(change)
        self._events.emit(
            key, unreadable.uid, warning=True, reason="Failed", message=f"{error.reason}: {error.message}"
        )
        return True

    # ---- after the end ----------------------------------------------------------------------

    async def _finish(self, known: Known) -> bool:
        """Deliver the webhook, and delete the job when its time has come."""
        job, now, url = known.job, self._clock(), self._settings.webhook_url
        attempt = self._attempts.get(job.key)
        if attempt is not None and attempt.uid == job.uid:
            if attempt.outcome is None:
                return True
            if self._is_written(job, attempt.delivery):
                del self._attempts[job.key]
            else:
                result, when, jitter = attempt.outcome
                status = after_attempt(job, attempt.delivery, result, when, jitter)
                if not await self._write(known, status):
                    del self._attempts[job.key]
            return False
        delivery = next_delivery(job, url, now)
        if isinstance(delivery, DeliverNow):
            attempt = self._attempts[job.key] = Attempt(job.uid, delivery)
            self._spawn(self._deliver(job, attempt))
            return True
        if isinstance(delivery, DeliverAt):
            self._look_at(job.key, delivery.when, now)
            return True
        settled = delivery_settled(job, url, now)
        due = deletion_time(job, self._settings.ttl_seconds, webhook_settled=settled)
        if due is not None and due <= now:
            return await self._delete(job)
        if due is not None:
            self._look_at(job.key, due, now)
        return True

    def _is_written(self, job: ThumbnailJob, delivery: DeliverNow) -> bool:
        """Whether the status says that this attempt was made."""
        return job.status.webhook is not None and job.status.webhook.attempts >= delivery.attempt

    def _look_at(self, key: JobKey, when: datetime, now: datetime) -> None:
        self._queue.add_after(key, min(MAX_TIMER_SECONDS, max(0.0, (when - now).total_seconds())))

    async def _deliver(self, job: ThumbnailJob, attempt: Attempt) -> None:
        """Make one attempt; its outcome is written by the next look at the job."""
        key, delivery = job.key, attempt.delivery
        try:
            try:
                secret = await self._secrets.get(key.namespace, job.spec.account, delivery.secret_name)
            except InvalidJob:
                result = NO_SECRET
            else:
                result = await self._sender.send(delivery, secret, self._clock())
        except Exception as error:
            if isinstance(error, Unavailable):
                logger.warning("the webhook of %s has to wait: %s", key, error.reason)
            else:
                logger.exception("an attempt to deliver the webhook of %s failed", key)
            # It does not count: its outcome is not known.
            if self._attempts.get(key) is attempt:
                del self._attempts[key]
            self._queue.add_after(key, DELIVERY_RETRY_SECONDS)
        else:
            self.counts.webhook_attempts += 1
            attempt.outcome = result, self._clock(), self._random.random()
            self._queue.add(key)

    async def _delete(self, job: ThumbnailJob) -> bool:
        try:
            await self.run_blocking(self._store.delete, job.key.namespace, job.key.name, uid=job.uid)
        except Conflict:
            await self._refresh(job.key)
            return False
        except ObjectMissing:
            logger.debug("%s was deleted by somebody else", job.key)
        else:
            self.counts.deleted += 1
        self._gone(job.key)
        return True

    # ---- the loop ---------------------------------------------------------------------------

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
        for job in self._informer.jobs():
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _new_suffix(self) -> str:
        return "".join(self._random.choices(SUFFIX_ALPHABET, k=10))


def _order(job: ThumbnailJob) -> tuple[bool, datetime, str]:
    return job.spec.priority is not Priority.INTERACTIVE, job.created, job.key.name


def _is_finished(known: Known | Unreadable | None) -> bool:
    return isinstance(known, Known) and known.job.status.finished


def _urgency(change: Change) -> tuple[int, bool, float, str]:
    """Running jobs first, then those that wait, each in their order, then finished ones."""
    if not isinstance(change.after, Known):
        return 2, False, 0.0, change.key.name
    job = change.after.job
    bulk, created, name = _order(job)
    rank = 2 if job.status.finished else int(job.status.phase is not Phase.RUNNING)
    return rank, bulk, created.timestamp(), name
