"""Where uploads lie while they come and are stored: files without a name, and how much there may be of them.

Shared by the server, which receives bodies, and the app, which takes pictures out of them.
"""

import io
import logging
import tempfile
import threading
from typing import BinaryIO, Final, cast

from thumbnails_contract.errors import Overloaded

log = logging.getLogger(__name__)

IN_MEMORY_BYTES: Final = 1 << 20


class Budget:
    """How many bytes of bodies may be in one place at once, all requests together."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Whether there was room for `count` more bytes; they are taken then."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def has_room(self, count: int) -> bool:
        """Whether `count` more bytes could be taken just now."""
        return count <= self._left

    def give_back(self, count: int) -> None:
        """Room for others."""
        with self._lock:
            self._left += count


def no_room() -> Overloaded:
    """What is said when a budget is spent."""
    return Overloaded("Too many uploads are under way just now.", retry_after_seconds=5)


def full_disk(error: OSError) -> Overloaded:
    """What is said when the disk is full, whatever the budget; the log is told why."""
    log.error("cannot spool an upload: %s", error.strerror)
    return Overloaded("There is no room for the upload just now.", retry_after_seconds=10)


def new_spool(max_bytes: int) -> BinaryIO:
    """A file for at most `max_bytes`: in memory, or unlinked in TMPDIR as the server's own.

    Raises Overloaded.
    """
    if max_bytes <= IN_MEMORY_BYTES:
        return io.BytesIO()
    try:
        return cast("BinaryIO", tempfile.TemporaryFile())
    except OSError as error:
        raise full_disk(error) from error


def new_counted_spool(max_bytes: int, budget: Budget) -> BinaryIO:
    """The same; what may be on disk is of the budget, until the file is closed."""
    if max_bytes <= IN_MEMORY_BYTES:
        return io.BytesIO()
    if not budget.take(max_bytes):
        raise no_room()
    try:
        raw = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by whoever asked for it
    except OSError as error:
        budget.give_back(max_bytes)
        raise full_disk(error) from error
    return cast("BinaryIO", _CountedSpool(raw, max_bytes, budget))


class _CountedSpool(io.BufferedRandom):
    """A file that gives back what it took of a budget."""

    def __init__(self, raw: io.FileIO, taken: int, budget: Budget) -> None:
        super().__init__(raw)
        self._taken = taken
        self._budget = budget

    def close(self) -> None:
        try:
            super().close()
        finally:
            taken, self._taken = self._taken, 0
            self._budget.give_back(taken)
