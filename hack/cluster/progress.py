"""Tells the person at the terminal which step of how many is being done, and how long each took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Numbered steps, one line each, with notes below those that take long."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._number = 0
        self._began = clock()
        self._step_began = self._began
        self._noted = False

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Shows `[2/7] what ... 1.3 s`."""
        self._number += 1
        self._step_began = self._clock()
        self._noted = False
        print(f"[{self._number}/{self._total}] {what} ...", end="", flush=True)
        try:
            yield
        except BaseException:
            print(" failed", flush=True)
            raise
        print(f"{'  done:' if self._noted else ''} {self._clock() - self._step_began:.1f} s", flush=True)

    def note(self, text: str) -> None:
        """A line below the current step."""
        if not self._noted:
            print(flush=True)
        self._noted = True
        print(f"      {self._clock() - self._step_began:5.0f} s  {text}", flush=True)

    @property
    def seconds(self) -> float:
        """Since the first step."""
        return self._clock() - self._began
