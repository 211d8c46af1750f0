"""Decides which ready job of a namespace goes next, for the dispatcher: a pure data structure.

Interactive before bulk; within a priority one job of each account in turn; within an account oldest
first. Suspects (see `dispatch.py`) have a row of their own.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from heapq import heappop, heappush

from thumbnails_contract.job import JobKey
from thumbnails_contract.spec import Priority
from thumbnails_contract.status import ErrorFacts

from .lease import WorkerKey


@dataclass(frozen=True, slots=True)
class Ticket:
    """What handing out needs to know of a job. `attempts` are those that ended without success."""

    key: JobKey
    uid: str
    account: str
    priority: Priority
    created: datetime
    attempts: int = 0


class State(Enum):
    """Where a job is."""

    READY = auto()
    POSTPONED = auto()
    HELD_BACK = auto()
    LEASED = auto()


@dataclass(slots=True, eq=False)
class Entry:
    """One job in the dispatcher; only the dispatcher changes it."""

    ticket: Ticket
    attempts: int
    state: State = State.READY
    suspect: bool = False
    lease: str | None = None
    worker: WorkerKey | None = None
    returns: int = 0
    postponed: int = 0
    cause: ErrorFacts | None = None  # how its last attempt ended
    serial: int = 0  # which of its places in the queues is the valid one

    @property
    def key(self) -> JobKey:
        """Its job."""
        return self.ticket.key


_Place = tuple[datetime, str, int, Entry]


class Lane:
    """The ready jobs of one namespace; its length is their number.

    An entry that leaves, or comes again, stays in a heap and is skipped there: its `serial` is
    another one by then.
    """

    def __init__(self) -> None:
        self._accounts: dict[Priority, OrderedDict[str, list[_Place]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._suspects: list[tuple[bool, datetime, str, int, Entry]] = []
        self._since: OrderedDict[JobKey, float] = OrderedDict()  # in the order of becoming ready
        self._counts = dict.fromkeys(Priority, 0)
        self.suspects = 0

    def __len__(self) -> int:
        return len(self._since)

    def add(self, entry: Entry, now: float) -> None:
        """The job is ready now; its serial is new."""
        ticket = entry.ticket
        self._since[ticket.key] = now
        self._counts[ticket.priority] += 1
        if entry.suspect:
            self.suspects += 1
            bulk = ticket.priority is Priority.BULK
            heappush(self._suspects, (bulk, ticket.created, ticket.key.name, entry.serial, entry))
        else:
            places = self._accounts[ticket.priority].setdefault(ticket.account, [])
            heappush(places, (ticket.created, ticket.key.name, entry.serial, entry))

    def remove(self, entry: Entry) -> None:
        """The job is not ready any more; its serial is to become another one."""
        del self._since[entry.key]
        self._counts[entry.ticket.priority] -= 1
        self.suspects -= entry.suspect

    def next(self) -> Entry:
        """The next one that is no suspect: there must be one. It is removed by `remove`."""
        for priority in Priority:  # interactive is the first
            accounts = self._accounts[priority]
            while accounts:
                account, places = next(iter(accounts.items()))
                entry = None
                while places and entry is None:
                    _, _, serial, candidate = heappop(places)
                    entry = candidate if candidate.serial == serial else None
                if places:
                    accounts.move_to_end(account)
                else:
                    del accounts[account]
                if entry is not None:
                    return entry
        raise AssertionError("the count of ready jobs is wrong")

    def next_suspect(self) -> Entry:
        """The next suspect: there must be one. It is removed by `remove`."""
        while True:
            *_, serial, entry = heappop(self._suspects)
            if entry.serial == serial:
                return entry

    def count(self, priority: Priority) -> int:
        """How many there are of a priority."""
        return self._counts[priority]

    def overdue(self, limit: float, at_most: int) -> int:
        """How many are ready since `limit` or longer, counted up to `at_most`."""
        count = 0
        for since in self._since.values():
            if since > limit or count >= at_most:
                break
            count += 1
        return count
