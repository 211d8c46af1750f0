"""`Prefer: wait=10` (RFC 7240): how long a request is held until its jobs have ended, and how many are."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from thumbnails_contract.job import ThumbnailJob

from .catalogue import Catalogue

_WAIT = re.compile(r'wait[ \t]*=[ \t]*"?0*([0-9]+)"?', re.ASCII | re.IGNORECASE)
_MOST_DIGITS: Final = 9  # more of them mean the same: longer than anybody waits


def parse_wait(prefer: str | None) -> int | None:
    """The seconds of the first `wait` preference; None when there is none that can be read."""
    for preference in (prefer or "").split(","):
        match = _WAIT.fullmatch(preference.partition(";")[0].strip())
        if match:
            return int(match[1][:_MOST_DIGITS])
    return None


def applied(seconds: int) -> str:
    """The value of Preference-Applied."""
    return f"wait={seconds}"


class Waiting:
    """Holds requests, few enough that threads are left to answer others."""

    def __init__(self, jobs: Catalogue, *, max_requests: int, max_seconds: int) -> None:
        self._jobs = jobs
        self._places = threading.BoundedSemaphore(max_requests) if max_requests > 0 else None
        self._max_seconds: Final = max_seconds

    def wait(self, jobs: Sequence[ThumbnailJob], prefer: str | None) -> tuple[list[ThumbnailJob], str | None]:
        """The jobs as they are after the wait, and the value of Preference-Applied.

        That is None when nothing was asked for, and when too many requests wait already.
        """
        with self.place(prefer) as seconds:
            if seconds is None:
                return list(jobs), None
            deadline = time.monotonic() + seconds
            latest = [
                self._jobs.wait_until_finished(job, max(0.0, deadline - time.monotonic())) for job in jobs
            ]
            return latest, applied(seconds)

    @contextmanager
    def place(self, prefer: str | None) -> Iterator[int | None]:
        """A place among the requests that wait, for so many seconds.

        None when nothing was asked for, and when too many requests wait already.
        """
        wanted = parse_wait(prefer)
        if wanted is None or self._places is None or not self._places.acquire(blocking=False):
            yield None
            return
        try:
            yield min(wanted, self._max_seconds)
        finally:
            self._places.release()
