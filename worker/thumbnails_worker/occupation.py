"""Counts how long renderers waited between two pictures while there was work, for the log's last line.

A plain data structure without locks or clocks; the supervisor guards it with its lock.
"""

from dataclasses import dataclass
from typing import Final

# A longer pause is no waiting for input: there was nothing to do.
_PAUSE_SECONDS: Final = 1.0
_NEWS: Final = 0.2  # what the latest picture counts in the pace


@dataclass(slots=True)
class Occupation:
    """What all renderers of a worker did together, in seconds."""

    pictures: int = 0
    busy_seconds: float = 0.0
    waited_seconds: float = 0.0
    pace_seconds: float | None = None  # what a picture takes lately

    def add(self, busy_seconds: float, waited_seconds: float) -> None:
        """A picture, and how long its renderer had waited for it: none for its first one."""
        self.pictures += 1
        before = busy_seconds if self.pace_seconds is None else self.pace_seconds
        self.pace_seconds = before + _NEWS * (busy_seconds - before)
        self.busy_seconds += busy_seconds
        if waited_seconds <= _PAUSE_SECONDS:
            self.waited_seconds += waited_seconds

    @property
    def waiting_share(self) -> float:
        """The part (0..1) of their time that renderers waited for their next picture."""
        total = self.busy_seconds + self.waited_seconds
        return self.waited_seconds / total if total else 0.0
