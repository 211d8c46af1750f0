"""Hands calls from threads that watch over to the event loop, in order, for the feeds of the controller."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Bridge:
    """Has functions called on a loop, in order, from any thread; the loop is woken once for all that wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._lock = threading.Lock()
        self._scheduled = False

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Have it called soon."""
        self._calls.append((function, args))
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
            self._loop.call_soon_threadsafe(self._on_loop)

    def _on_loop(self) -> None:
        with self._lock:
            self._scheduled = False
        while self._calls:
            function, args = self._calls.popleft()
            try:
                function(*args)
            except Exception:  # the others must be called all the same; the next list makes up for it
                logger.exception("an event could not be taken in")
