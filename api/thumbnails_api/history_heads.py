"""Where an account's history begins, for `GET /jobs`: pages of newer jobs ask no object store.

It is asked once for an account. After that every job that the job store has no more may have become the
newest one of history; to think so of one that was deleted costs a needless question, and nothing else.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from thumbnails_contract.history import Position, position_of
from thumbnails_contract.job import ThumbnailJob

from .accounts import Caller


@dataclass(slots=True)
class _Head:
    newest: Position | None = None
    is_known: bool = False

    def rise(self, position: Position | None) -> None:
        if position is not None and (self.newest is None or position > self.newest):
            self.newest = position


class HistoryHeads:
    """`ask` tells the newest place in an account's history. Every method may be called from any thread."""

    def __init__(self, ask: Callable[[Caller], Position | None]) -> None:
        self._ask = ask
        self._heads: dict[Caller, _Head] = {}
        self._lock = threading.Lock()

    def newest(self, caller: Caller) -> Position | None:
        """No job of history is newer than this; None when there is none. Raises what `ask` raises."""
        with self._lock:
            head = self._heads.setdefault(caller, _Head())
            if head.is_known:
                return head.newest
        # What goes meanwhile is noted in the head, whether the answer has it or not.
        found = self._ask(caller)
        with self._lock:
            head.rise(found)
            head.is_known = True
            return head.newest

    def gone(self, job: ThumbnailJob) -> None:
        """The job store has this job no more."""
        caller = Caller(job.key.namespace, job.spec.account)
        with self._lock:
            if head := self._heads.get(caller):
                head.rise(position_of(job))

    def forget(self, caller: Caller | None = None) -> None:
        """Ask again, for one account or for all: jobs may have gone unseen, or there is less than thought."""
        with self._lock:
            if caller is None:
                self._heads.clear()
            else:
                self._heads.pop(caller, None)
