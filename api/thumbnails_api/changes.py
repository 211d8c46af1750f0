"""What changed lately, in the order of the job store, so that followers can go on where they were. No I/O.

An event's id is the resourceVersion of the change. All replicas of the API see the same ones in the same
order (within a namespace, and a caller sees but one), so that a follower may go on at any of them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from thumbnails_contract.job import JobKey

from .accounts import Caller

DEFAULT_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """A job of this caller was made, changed or deleted; `version` is greater than that of all before."""

    version: int
    caller: Caller
    key: JobKey
    deleted: bool = False


@dataclass(slots=True)
class _Ring:
    """The last changes of one namespace. What was up to `floor` is forgotten."""

    floor: int
    changes: deque[Change] = field(default_factory=deque)

    @property
    def latest(self) -> int:
        return self.changes[-1].version if self.changes else self.floor


class Changes:
    """Not thread-safe: its owner has a lock."""

    def __init__(self, remembered: int = DEFAULT_REMEMBERED) -> None:
        self._remembered = remembered
        self._floor = 0
        self._rings: dict[str, _Ring] = {}

    def begin(self, version: int) -> None:
        """Everything was listed anew: what changed up to there is not known one by one."""
        self._floor = version
        self._rings.clear()

    def add(self, change: Change) -> None:
        """Take in the next change; one that is not after the last one of its namespace is a repetition."""
        ring = self._rings.setdefault(change.key.namespace, _Ring(self._floor))
        if change.version <= ring.latest:
            return
        ring.changes.append(change)
        if len(ring.changes) > self._remembered:
            ring.floor = ring.changes.popleft().version

    def latest(self, caller: Caller) -> int:
        """Where somebody begins who has just looked at everything."""
        ring = self._rings.get(caller.namespace)
        return ring.latest if ring else self._floor

    def since(self, caller: Caller, version: int) -> list[Change] | None:
        """The last change of each of the caller's jobs after this version, in order.

        None when that is too long ago, or was never: look at everything again.
        """
        ring = self._rings.get(caller.namespace)
        floor, latest = (ring.floor, ring.latest) if ring else (self._floor, self._floor)
        if version < floor:
            return None
        if ring is None or version >= latest:
            return []  # also when another replica is ahead of this one
        seen: set[JobKey] = set()
        found: list[Change] = []
        for change in _newest_first(ring.changes, version):
            if change.caller == caller and change.key not in seen:
                seen.add(change.key)
                found.append(change)
        return found[::-1]


def _newest_first(changes: deque[Change], version: int) -> Iterator[Change]:
    for change in reversed(changes):
        if change.version <= version:
            return
        yield change
