"""The work queue of the controller: which keys want a look, now or later, each once.

Level-triggered: a key says nothing about what happened, only that somebody should look. A key that
is added while it is looked at is looked at once more afterwards, never by two at a time. All calls
come from one event loop.
"""

import asyncio
import random as randomness
from collections import deque
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from .backoff import backoff_seconds

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS: Final = 0.05
MAX_RETRY_SECONDS: Final = 30.0


class WorkQueue(Generic[K]):
    """See the module's text."""

    def __init__(self, random: randomness.Random) -> None:
        self._random = random
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()  # in _ready
        self._working: set[K] = set()
        self._again: set[K] = set()  # added while worked on
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[K, int] = {}
        self._idle: asyncio.Future[None] | None = None
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Keys that want a look now, or have it."""
        return len(self._ready) + len(self._working)

    def add(self, key: K) -> None:
        """Look at `key` as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Look at `key` in so many seconds, unless it is looked at earlier anyway."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._serial += 1
            heappush(self._heap, (due, self._serial, key))
            self._set_timer()

    def retry(self, key: K) -> None:
        """Look again after a failure: exponentially later with each one in a row, and not all at once."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff_seconds(failures, FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS)
        self.add_after(key, delay * self._random.uniform(0.5, 1.0))

    def succeeded(self, key: K) -> None:
        """The next failure of `key` is a first one."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; call `done` with it afterwards."""
        while not self._ready:
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # What woke it must not be lost with it.
                if getter.done() and not getter.cancelled() and self._ready:
                    self._wake()
                raise
        key = self._ready.popleft()
        self._queued.discard(key)
        self._due.pop(key, None)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The look at `key` is over."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        if self._idle is not None and not self._idle.done() and not len(self):
            self._idle.set_result(None)

    async def wait_idle(self) -> None:
        """Return when no key wants a look now; those that are due later do not count."""
        while len(self):
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def close(self) -> None:
        """End the timer; nothing becomes due any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._heap.clear()
        self._due.clear()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        if self._timer is not None:
            if self._heap and self._timer.when() <= self._heap[0][0]:
                return
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        # A timer may fire a clock tick early.
        now = asyncio.get_running_loop().time() + 0.001
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_timer()
