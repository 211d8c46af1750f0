"""All that the operator knows of jobs, kept in step: documents, memories, claims, places in the dispatcher.

For the parts that the controller is made of; all calls come from its event loop.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from thumbnails_common.jobstore import Document
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import source_identity
from thumbnails_contract.spec import Priority
from thumbnails_contract.status import Phase

from .batches import Batch, Batches
from .claims import Claims
from .dispatch import Dispatcher
from .informer import Change, Informer, Known, Owned, Unreadable
from .lane import State
from .memory import Attempt, Made, Memory
from .pool import Pool
from .queue import WorkQueue
from .reconcile import Facts, Place
from .wanted import missing, wanted


class Roster:
    """See the module's text. `wake`: there may be something to hand out, or to plan."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        queue: WorkQueue[JobKey],
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._queue = queue
        self._monotonic = monotonic
        self._wake = wake
        self._informer = Informer()
        self._memories: dict[JobKey, Memory] = {}
        self._made = Made()
        self._claims = Claims()
        self._batches = Batches()
        self._deletion_listeners: list[Callable[[ThumbnailJob], None]] = []
        # To deliver webhooks, one at a time for each job and each batch that a job bears.
        self.attempts: dict[JobKey, Attempt] = {}
        self.batch_attempts: dict[JobKey, Attempt] = {}

    # ---- documents --------------------------------------------------------------------------

    def get(self, key: JobKey) -> Known | Unreadable | None:
        """What is known of a job."""
        return self._informer.get(key)

    def jobs(self) -> Iterator[ThumbnailJob]:
        """All jobs that can be read."""
        return self._informer.jobs()

    def owned(self) -> Iterator[Owned]:
        """All jobs whose account is known, whether the rest can be read or not."""
        return self._informer.owned()

    def unreadable(self) -> Iterator[JobKey]:
        """The names of all others."""
        return self._informer.unreadable()

    def observe(self, event_type: str, document: Document) -> Change | None:
        """Take in a watch event or a fetched document; None when it says nothing new."""
        return self._apply(self._informer.observe(event_type, document))

    def relist(self, documents: Iterable[Document]) -> list[Change]:
        """Take in a full list. The changes, those first that are most urgent to look at."""
        changes = self._informer.relist(documents)
        for change in changes:
            self._apply(change)
        return sorted(changes, key=_urgency)

    def wrote(self, job: ThumbnailJob, document: Document) -> None:
        """Take in what a write of `job`'s status answered."""
        self._apply(self._informer.wrote(job, document))

    def forget(self, key: JobKey) -> None:
        """The job is gone."""
        self._apply(self._informer.forget(key))

    def keep_made(self, job: ThumbnailJob) -> None:
        """The thumbnails of this job stay when it goes."""
        self._made.keep(job)

    def on_deleted(self, listener: Callable[[ThumbnailJob], None]) -> None:
        """Call `listener` with each job that is gone, whoever deleted it."""
        self._deletion_listeners.append(listener)

    def _apply(self, change: Change | None) -> Change | None:
        """Keep everything that hangs on a job in step with what is known of it."""
        if change is None:
            return None
        before, after = change.before, change.after
        bearer = self._batches.change(_job(before), _job(after))
        if bearer is not None:
            self._queue.add(bearer)
        if isinstance(before, Known) and before.job.status.finished:
            self._made.remove(before.job)
        if isinstance(after, Known) and after.job.status.finished:
            self._made.add(after.job)
        if after is None or change.replaced:
            self.let_go(change.key)
            self._memories.pop(change.key, None)
            self.attempts.pop(change.key, None)
            self.batch_attempts.pop(change.key, None)
            if isinstance(before, Known):
                for listener in self._deletion_listeners:
                    listener(before.job)
        elif is_finished(after) or isinstance(after, Unreadable):
            self.let_go(change.key)
            self._memories.pop(change.key, None)
        return change

    def batch(self, job: ThumbnailJob) -> Batch | None:
        """The jobs that were uploaded together with this one."""
        return self._batches.of(job)

    # ---- what else there is of a job --------------------------------------------------------

    def memory(self, key: JobKey) -> Memory | None:
        """What is remembered of an unfinished job that was looked at before."""
        return self._memories.get(key)

    def remember(self, job: ThumbnailJob) -> Memory:
        """What is remembered of an unfinished job, from now on."""
        memory = self._memories.get(job.key)
        if memory is None or memory.uid != job.uid:
            memory = Memory(job.uid, self._monotonic(), attempts=job.status.attempts)
            self._memories[job.key] = memory
        if memory.identity is None:
            identity = source_identity(job.spec.object_key, job.key.namespace, job.spec.account)
            if identity is not None:
                self.identify(job, memory, identity)
        return memory

    def identify(self, job: ThumbnailJob, memory: Memory, identity: str) -> None:
        """The identity of the job's source is this (keys.py)."""
        memory.identity = identity
        memory.wanted = wanted(job, identity)

    def facts(self, job: ThumbnailJob, memory: Memory, pool: Pool) -> Facts:
        """What `reconcile.py` wants to know of a job besides its document."""
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
            rendered_by=memory.rendered_by,
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
            trouble=pool.trouble(key.namespace),
            workers_live=place is not None and place.worker is None and pool.live(key.namespace),
            waited_seconds=self.waited_seconds(memory),
            started=memory.started,
        )

    def waited_seconds(self, memory: Memory) -> float:
        """How long the job has been waiting for a worker."""
        return self._monotonic() - memory.waiting_since

    # ---- who renders what -------------------------------------------------------------------

    def claim(self, job: ThumbnailJob, object_keys: tuple[str, ...]) -> None:
        """Have the job render these thumbnails, or wait for the one that does."""
        for other in self._claims.claim(job.key, object_keys, partial(self._goes_before, job)):
            self._queue.add(other)
        if self._claims.waits(job.key):
            self.remember(job).looked_up.clear()  # what is not there now will be

    def disclaim(self, key: JobKey) -> None:
        """The job renders nothing (any more): those that waited for it may go on."""
        for waiter in self._claims.release(key):
            self._queue.add(waiter)

    def unqueue(self, key: JobKey) -> None:
        """The job may not run for now: no worker gets it, and who has it drops it."""
        if self._dispatcher.remove(key):
            self._wake()

    def let_go(self, key: JobKey) -> None:
        """The job shall not run (any more), and nobody shall wait for it."""
        self.unqueue(key)
        self.disclaim(key)

    def _goes_before(self, job: ThumbnailJob, holder: JobKey) -> bool:
        """Whether `job` may take a claim from `holder`: who runs keeps it, then who would run first."""
        entry, known = self._dispatcher.entry(holder), self._informer.get(holder)
        if not isinstance(known, Known):
            return True
        if entry is not None and entry.state in {State.LEASED, State.HELD_BACK}:
            return False
        return _order(job) < _order(known.job)


def _job(known: Known | Unreadable | None) -> ThumbnailJob | None:
    return known.job if isinstance(known, Known) else None


def is_finished(known: Known | Unreadable | None) -> bool:
    """Whether this is a job that has ended."""
    return isinstance(known, Known) and known.job.status.finished


def _order(job: ThumbnailJob) -> tuple[bool, datetime, str]:
    return job.spec.priority is not Priority.INTERACTIVE, job.created, job.key.name


def _urgency(change: Change) -> tuple[int, bool, float, str]:
    """Running jobs first, then those that wait, each in their order, then finished ones.

    Nobody else shall claim what a worker may have half done.
    """
    if not isinstance(change.after, Known):
        return 2, False, 0.0, change.key.name
    job = change.after.job
    bulk, created, name = _order(job)
    rank = 2 if job.status.finished else int(job.status.phase is not Phase.RUNNING)
    return rank, bulk, created.timestamp(), name
