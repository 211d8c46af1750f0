"""Decides which worker gets which job next, and keeps the leases: a pure data structure.

A job in here is *ready*, *postponed* (a time must pass), *held back* (after a start, until the
workers said what they hold), or *leased* to one worker; one that finished, failed for good or may
not run is not in here. Time is seconds of a monotonic clock, handed in; so are the names of leases.

The order: interactive before bulk; within a priority one job of each account in turn; within an
account oldest first. A worker serves the jobs of its own namespace. A job whose worker died is a
*suspect*: it is given only to a worker that holds nothing, which then gets nothing else until it is
done, so that the guilty one of several is found and the others complete.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from thumbnails_contract.job import JobKey
from thumbnails_contract.spec import Priority
from thumbnails_contract.status import ErrorFacts

from .backoff import backoff_seconds
from .lane import Entry, Lane, State, Ticket
from .lease import LeaseName, WorkerKey

FIRST_POSTPONE_SECONDS: Final = 1.0
MAX_POSTPONE_SECONDS: Final = 30.0
# A job that workers give back more often than this in a row is postponed, so that it does not circle.
FREE_RETURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease that was just given."""

    lease: str
    key: JobKey


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that ended without success; `final` when it was the last one."""

    key: JobKey
    cause: ErrorFacts
    attempts: int
    final: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """How much of a namespace is ready for a worker; `overdue` of it has waited too long."""

    interactive: int
    bulk: int
    overdue: int

    @property
    def ready(self) -> int:
        """All of it."""
        return self.interactive + self.bulk


@dataclass(slots=True, eq=False)
class _Worker:
    key: WorkerKey
    last_seen: float
    leases: dict[str, Entry] = field(default_factory=dict)
    unwanted: set[str] = field(default_factory=set)  # held by it, wanted by nobody
    taken: int = 0
    reserved: bool = False  # drains, to take a suspect

    @property
    def alone(self) -> bool:
        return self.reserved or any(entry.suspect for entry in self.leases.values())


class Dispatcher:
    """See the module's text. `new_suffix` gives the random end of a lease's name."""

    def __init__(self, *, max_attempts: int, lease_seconds: float, new_suffix: Callable[[], str]) -> None:
        self._max_attempts = max_attempts
        self._lease_seconds = lease_seconds
        self._new_suffix = new_suffix
        self._entries: dict[JobKey, Entry] = {}
        self._lanes: dict[str, Lane] = {}
        self._workers: dict[WorkerKey, _Worker] = {}
        self._postponed: list[tuple[float, int, Entry]] = []
        self._held_back: set[JobKey] = set()
        self._serial = 0

    # ---- jobs -------------------------------------------------------------------------------

    def add(self, ticket: Ticket, now: float, *, held_back: bool = False) -> bool:
        """Put a job in, if it is not in yet; whether it was not."""
        old = self._entries.get(ticket.key)
        if old is not None:
            if old.ticket.uid == ticket.uid:
                return False
            self.remove(ticket.key)
        entry = Entry(ticket, ticket.attempts, suspect=ticket.attempts > 0)
        self._entries[ticket.key] = entry
        if held_back:
            entry.state = State.HELD_BACK
            self._held_back.add(ticket.key)
        else:
            self._make_ready(entry, now)
        return True

    def remove(self, key: JobKey) -> bool:
        """Take a job out: it ended or may not run. A worker that has it is told to drop it."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        if entry.state is State.LEASED:
            lease, worker = self._unlease(entry)
            self._workers[worker].unwanted.add(lease)
        else:
            self._leave_queue(entry)
        return True

    def entry(self, key: JobKey) -> Entry | None:
        """Where a job is; None when it is not in here. To be read only."""
        return self._entries.get(key)

    def release_held_back(self, now: float) -> None:
        """The grace after a start is over: what no worker claimed is ready."""
        for key in sorted(self._held_back):
            self._make_ready(self._entries[key], now)
        self._held_back.clear()

    def advance(self, now: float) -> None:
        """Make ready what was postponed until now."""
        while self._postponed and self._postponed[0][0] <= now:
            _, serial, entry = heappop(self._postponed)
            if entry.state is State.POSTPONED and entry.serial == serial:
                self._make_ready(entry, now)

    # ---- workers ----------------------------------------------------------------------------

    def hold(self, worker: WorkerKey, holding: Iterable[str], now: float) -> tuple[JobKey, ...]:
        """What a poll says that the worker has. Returns the jobs that changed hands by that.

        Polls of a worker are strictly one after the other, so a lease of it that is not held was
        lost on the way: that is no attempt. A lease that is held but unknown is one of an earlier
        leader: it is adopted, if its job waits for a worker.
        """
        record = self._workers.get(worker)
        if record is None:
            record = self._workers[worker] = _Worker(worker, now)
        record.last_seen = now
        held = set(holding)
        changed = []
        for lease, entry in list(record.leases.items()):
            if lease not in held:
                self._unlease(entry)
                self._make_ready(entry, now)
                changed.append(entry.key)
        record.unwanted &= held
        for lease in held - record.leases.keys() - record.unwanted:
            adopted = self._adopt(record, lease)
            if adopted is None:
                record.unwanted.add(lease)
            else:
                changed.append(adopted)
        return tuple(changed)

    def seen(self, worker: WorkerKey, now: float) -> None:
        """The worker was heard of."""
        if (record := self._workers.get(worker)) is not None:
            record.last_seen = now

    def grant(self, worker: WorkerKey, capacity: int) -> tuple[Grant, ...]:
        """Lease up to `capacity` jobs to a worker that polls; fewer when others could take some too."""
        record, lane = self._workers[worker], self._lanes.get(worker.namespace)
        if capacity <= 0 or not lane:
            record.reserved = False
            return ()
        if any(entry.suspect for entry in record.leases.values()):
            return ()
        if self._shall_work_alone(record, lane):
            record.reserved = True
            if record.leases or record.unwanted:
                return ()
            record.reserved = False
            return (self._lease(lane.next_suspect(), record),)
        workers = sum(1 for key in self._workers if key.namespace == worker.namespace)
        normal = len(lane) - lane.suspects
        share = min(capacity, max(1, -(-normal // workers)), normal)
        return tuple(self._lease(lane.next(), record) for _ in range(share))

    def give_back(
        self, worker: WorkerKey, lease: str, now: float, cause: ErrorFacts | None = None
    ) -> JobKey | None:
        """The worker did not begin, or the answer did not reach it: ready again, no attempt.

        `cause`: why it is given back again and again, if it is.
        """
        entry = self._held_by(worker, lease)
        if entry is None:
            return None
        self._unlease(entry)
        entry.returns += 1
        if entry.returns > FREE_RETURNS:
            entry.cause = cause or entry.cause
            self._postpone(entry, now)
        else:
            self._make_ready(entry, now)
        return entry.key

    def postpone(self, worker: WorkerKey, lease: str, cause: ErrorFacts, now: float) -> JobKey | None:
        """What it needs is away: tried again later (1, 2, 4, ... 30 seconds), no attempt."""
        entry = self._held_by(worker, lease)
        if entry is None:
            return None
        self._unlease(entry)
        entry.cause = cause
        self._postpone(entry, now)
        return entry.key

    def succeed(self, worker: WorkerKey, lease: str) -> JobKey | None:
        """Take the job of a successful result out; None when nobody wants that result.

        Any lease of the job will do, known or not: thumbnails are addressed by content, so whoever
        comes first has made the same.
        """
        name = LeaseName.parse(lease)
        if name is None or name.job.namespace != worker.namespace:
            return None
        self._forget_lease(worker, lease)
        entry = self._entries.get(name.job)
        if entry is None or entry.ticket.uid != name.uid:
            return None
        if entry.lease == lease:
            self._unlease(entry)
            del self._entries[entry.key]
        else:
            self.remove(entry.key)
        return entry.key

    def fail(
        self, worker: WorkerKey, lease: str, cause: ErrorFacts, now: float, *, final: bool, alone: bool
    ) -> Failure | None:
        """An attempt ended without success; None when that attempt is not the current one.

        `final`: another try does not help. `alone`: the next try is one of a suspect.
        """
        entry = self._held_by(worker, lease) or self._unknown_attempt(worker, lease)
        self._forget_lease(worker, lease)
        return None if entry is None else self._end_attempt(entry, cause, now, final=final, alone=alone)

    def lose(
        self, worker: WorkerKey, cause: ErrorFacts, now: float, *, counts: bool
    ) -> tuple[Failure | JobKey, ...]:
        """A worker is gone: what it held is tried again, alone; `counts` when it may be the job's fault."""
        record = self._workers.pop(worker, None)
        if record is None:
            return ()
        ended: list[Failure | JobKey] = []
        for entry in list(record.leases.values()):
            entry.lease = entry.worker = None
            if counts:
                ended.append(self._end_attempt(entry, cause, now, final=False, alone=True))
            else:
                self._make_ready(entry, now)
                ended.append(entry.key)
        return tuple(ended)

    def silent(self, now: float) -> tuple[WorkerKey, ...]:
        """Workers that were not heard of for too long."""
        limit = now - self._lease_seconds
        return tuple(record.key for record in self._workers.values() if record.last_seen < limit)

    # ---- views ------------------------------------------------------------------------------

    def holds(self, worker: WorkerKey) -> int:
        """How many leases the worker has, those included that it shall drop."""
        record = self._workers.get(worker)
        return len(record.leases) + len(record.unwanted) if record else 0

    def taken(self, worker: WorkerKey) -> int:
        """How many jobs the worker was ever given."""
        record = self._workers.get(worker)
        return record.taken if record else 0

    def drops(self, worker: WorkerKey) -> frozenset[str]:
        """The leases that the worker holds and nobody wants."""
        record = self._workers.get(worker)
        return frozenset(record.unwanted) if record else frozenset()

    def unwanted_jobs(self) -> frozenset[JobKey]:
        """The jobs of all leases that workers hold and nobody wants."""
        names = (LeaseName.parse(lease) for record in self._workers.values() for lease in record.unwanted)
        return frozenset(name.job for name in names if name is not None)

    def is_current(self, worker: WorkerKey, lease: str) -> bool:
        """Whether this lease is the worker's (still)."""
        return self._held_by(worker, lease) is not None

    def demand(self, now: float, overdue_seconds: float, count_at_most: int) -> dict[str, Demand]:
        """By namespace, where anything is ready; `overdue` is counted up to `count_at_most`."""
        return {
            namespace: Demand(
                lane.count(Priority.INTERACTIVE),
                lane.count(Priority.BULK),
                lane.overdue(now - overdue_seconds, count_at_most),
            )
            for namespace, lane in self._lanes.items()
            if lane
        }

    def entries(self) -> Iterator[Entry]:
        """All of them, to be read only."""
        return iter(self._entries.values())

    @property
    def has_ready(self) -> bool:
        """Whether anything is ready for a worker."""
        return bool(self._lanes)

    def next_due(self) -> float | None:
        """When the next postponed job may be ready."""
        return self._postponed[0][0] if self._postponed else None

    # ---- inside -----------------------------------------------------------------------------

    def _shall_work_alone(self, record: _Worker, lane: Lane) -> bool:
        """Up to half of a namespace's workers (at least one) try suspects, before anything else.

        At least one, because under load a worker that prefetches never holds nothing by itself.
        """
        if not lane.suspects:
            record.reserved = False
            return False
        if record.reserved:
            return True
        others = [each for each in self._workers.values() if each.key.namespace == record.key.namespace]
        return sum(each.alone for each in others) < max(1, len(others) // 2)

    def _make_ready(self, entry: Entry, now: float) -> None:
        self._serial += 1
        entry.state, entry.serial = State.READY, self._serial
        self._lanes.setdefault(entry.key.namespace, Lane()).add(entry, now)

    def _leave_queue(self, entry: Entry) -> None:
        """Out of wherever it waits; what is left of it in a heap is skipped there."""
        if entry.state is State.READY:
            lane = self._lanes[entry.key.namespace]
            lane.remove(entry)
            if not lane:
                del self._lanes[entry.key.namespace]
        self._held_back.discard(entry.key)
        entry.serial = 0

    def _lease(self, entry: Entry, record: _Worker) -> Grant:
        name = LeaseName(entry.key, entry.ticket.uid, entry.attempts + 1, self._new_suffix())
        self._bind(entry, record, str(name))
        return Grant(str(name), entry.key)

    def _bind(self, entry: Entry, record: _Worker, lease: str) -> None:
        self._leave_queue(entry)
        entry.state, entry.lease, entry.worker = State.LEASED, lease, record.key
        record.leases[lease] = entry
        record.taken += 1

    def _adopt(self, record: _Worker, lease: str) -> JobKey | None:
        name = LeaseName.parse(lease)
        if name is None or name.job.namespace != record.key.namespace:
            return None
        entry = self._entries.get(name.job)
        if entry is None or entry.ticket.uid != name.uid or entry.state is State.LEASED:
            return None
        self._bind(entry, record, lease)
        entry.attempts = max(entry.attempts, name.attempt - 1)
        return entry.key

    def _unlease(self, entry: Entry) -> tuple[str, WorkerKey]:
        """Take the lease from its worker. The caller says what becomes of the job."""
        lease, worker = entry.lease, entry.worker
        if lease is None or worker is None:
            raise AssertionError("only a leased job has a lease")
        entry.lease = entry.worker = None
        self._workers[worker].leases.pop(lease, None)
        return lease, worker

    def _held_by(self, worker: WorkerKey, lease: str) -> Entry | None:
        record = self._workers.get(worker)
        return record.leases.get(lease) if record else None

    def _unknown_attempt(self, worker: WorkerKey, lease: str) -> Entry | None:
        """The job of a lease of an earlier leader: its attempt is the current one if nobody else has it."""
        name = LeaseName.parse(lease)
        if name is None or name.job.namespace != worker.namespace:
            return None
        entry = self._entries.get(name.job)
        current = (
            entry is not None
            and entry.ticket.uid == name.uid
            and entry.state is not State.LEASED
            and entry.attempts + 1 == name.attempt
        )
        return entry if current else None

    def _forget_lease(self, worker: WorkerKey, lease: str) -> None:
        if (record := self._workers.get(worker)) is not None:
            record.unwanted.discard(lease)

    def _end_attempt(
        self, entry: Entry, cause: ErrorFacts, now: float, *, final: bool, alone: bool
    ) -> Failure:
        if entry.lease is not None:
            self._unlease(entry)
        elif entry.state is not State.LEASED:
            self._leave_queue(entry)
        entry.attempts += 1
        entry.returns = 0
        entry.cause = cause
        entry.suspect = entry.suspect or alone
        final = final or entry.attempts >= self._max_attempts
        if final:
            del self._entries[entry.key]
        else:
            self._make_ready(entry, now)
        return Failure(entry.key, cause, entry.attempts, final)

    def _postpone(self, entry: Entry, now: float) -> None:
        self._serial += 1
        entry.state, entry.serial = State.POSTPONED, self._serial
        entry.postponed += 1
        delay = backoff_seconds(entry.postponed, FIRST_POSTPONE_SECONDS, MAX_POSTPONE_SECONDS)
        heappush(self._postponed, (now + delay, entry.serial, entry))
