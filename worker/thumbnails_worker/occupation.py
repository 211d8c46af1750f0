"""Counts how long renderers waited between two pictures while there was work, for the log's last line.

A plain data structure without locks or clocks; the supervisor guards it with its lock.
"""

from dataclasses import dataclass
from typing import Final

# A longer pause is no waiting for input: there was nothing to do.
_PAUSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Occupation:
    """What all renderers of a worker did together, in seconds."""

    pictures: int = 0
    busy_seconds: float = 0.0
    waited_seconds: float = 0.0

    def add(self, previous_end: float | None, begin: float, end: float) -> None:
        """A picture rendered from `begin` to `end`; `previous_end`: of the same renderer's one before."""
        self.pictures += 1
        self.busy_seconds += end - begin
        if previous_end is not None and begin - previous_end <= _PAUSE_SECONDS:
            self.waited_seconds += begin - previous_end

    @property
    def waiting_share(self) -> float:
        """The part (0..1) of their time that renderers waited for their next picture."""
        total = self.busy_seconds + self.waited_seconds
        return self.waited_seconds / total if total else 0.0
