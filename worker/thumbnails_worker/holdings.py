"""What a worker holds: every lease from the answer that brought it to the acknowledgement of its result.

A plain data structure without locks, clocks or I/O; the supervisor guards it with one lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from thumbnails_contract.wire import Item, Result

# Beyond those that render: enough that the next original is there when a renderer becomes free, few
# enough that another worker which is idle gets its share. To ask for an item and to fetch it takes some
# milliseconds, on a busy machine tens of them: as many quick pictures are rendered meanwhile.
_AHEAD_A_RENDERER: Final = 1
_LEAST_AHEAD, _MOST_AHEAD = 1, 4
_AHEAD_SECONDS: Final = 0.1
# Thumbnails that wait for the object store, or results for the operator, for each item in work.
_BEHIND_FACTOR: Final = 8


class Stage(IntEnum):
    """How far an item is."""

    FETCHING = 0
    READY = 1
    RENDERING = 2
    STORING = 3
    DONE = 4  # has a result that was not acknowledged


@dataclass(slots=True)
class Held:
    """One item and where it is."""

    item: Item
    stage: Stage = Stage.FETCHING
    source_file: int | None = None
    source_bytes: int = 0
    result: Result | None = None
    sending: bool = False  # its result is under way
    dropped: bool = False  # wanted by nobody, but its thumbnails may be under way

    @property
    def owner(self) -> tuple[str, str]:
        """Whose it is: a renderer serves one owner in its life."""
        return self.item.namespace, self.item.account


class Holdings:
    """All items of this worker."""

    def __init__(self, renderers: int, ahead_bytes: int) -> None:
        """`ahead_bytes`: no more items are taken while originals of so many bytes wait."""
        self._renderers = renderers
        self._ahead_bytes = ahead_bytes
        self._held: dict[str, Held] = {}

    def take(self, items: Iterable[Item]) -> list[Held]:
        """Items of an answer; those that are held already are left out."""
        taken = []
        for item in items:
            if item.lease not in self._held:
                held = self._held[item.lease] = Held(item)
                taken.append(held)
        return taken

    def leases(self) -> tuple[str, ...]:
        """Everything that is held."""
        return tuple(self._held)

    def at(self, *stages: Stage) -> list[Held]:
        """The items at these stages, oldest first."""
        return [held for held in self._held.values() if held.stage in stages]

    def holds(self, held: Held) -> bool:
        """Whether anybody still wants this item."""
        return self._held.get(held.item.lease) is held and not held.dropped

    def capacity(self, pace_seconds: float | None = None) -> int:
        """How many more items may be taken now; `pace_seconds`: what a picture takes lately, if known."""
        depth = self._renderers * (1 + _AHEAD_A_RENDERER) + _ahead(pace_seconds)
        waiting = sum(held.source_bytes for held in self.at(Stage.READY))
        if waiting > self._ahead_bytes or len(self._held) > _BEHIND_FACTOR * depth:
            return 0
        in_work = len(self.at(Stage.FETCHING, Stage.READY, Stage.RENDERING))
        return max(0, depth - in_work)

    def finish(self, held: Held, result: Result) -> None:
        """Keep the result until it is acknowledged; that of an item that was dropped is forgotten."""
        if held.dropped:
            self._held.pop(held.item.lease, None)
        elif self.holds(held) and held.result is None:
            held.stage = Stage.DONE
            held.result = result

    def next_results(self) -> list[Result]:
        """Results that are not under way yet, which they are from now on."""
        results = []
        for held in self.at(Stage.DONE):
            if not held.sending and held.result is not None:
                held.sending = True
                results.append(held.result)
        return results

    def has_results(self) -> bool:
        """Whether `next_results` would give some."""
        return any(not held.sending for held in self.at(Stage.DONE))

    def acknowledged(self, results: Iterable[Result]) -> None:
        """The operator has these."""
        for result in results:
            self._held.pop(result.lease, None)

    def not_acknowledged(self, results: Iterable[Result]) -> None:
        """Nobody knows whether the operator has these: they are sent again."""
        for result in results:
            if held := self._held.get(result.lease):
                held.sending = False

    def send_again(self) -> None:
        """Nobody waits for the answers that are under way: their results are sent once more."""
        for held in self._held.values():
            held.sending = False

    def drop(self, lease: str) -> Held | None:
        """Forget an item; gives what was held, for the caller to end what is under way.

        One whose thumbnails may be under way to the object store counts as held until that is over: whoever
        deletes them has to know when no more can come.
        """
        held = self._held.get(lease)
        if held is None or held.dropped:
            return None
        if held.stage is Stage.STORING:
            held.dropped = True
        else:
            del self._held[lease]
        return held


def _ahead(pace_seconds: float | None) -> int:
    """How many items are fetched beyond those that renderers have in hand."""
    if not pace_seconds:
        return _LEAST_AHEAD
    return min(_MOST_AHEAD, max(_LEAST_AHEAD, int(_AHEAD_SECONDS / pace_seconds)))
