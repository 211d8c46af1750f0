"""Decides what the end of an item, or of the renderer that had it, means: pure, for the supervisor."""

import os
import signal
from dataclasses import dataclass
from enum import Enum, auto

from thumbnails_contract.errors import DeadlineExceeded, OutOfMemory, ThumbnailsError, WorkerCrashed
from thumbnails_contract.status import ErrorFacts
from thumbnails_contract.wire import Result


class KilledFor(Enum):
    """Why the supervisor itself killed a renderer."""

    DEADLINE = auto()  # the item took too long by the clock
    DRAIN = auto()  # the worker has to end


@dataclass(frozen=True, slots=True)
class End:
    """A public error and whether another try may help; no error: hand the item to somebody else."""

    error: ThumbnailsError | None
    retry: bool = False


def explain_death(wait_status: int, killed_for: KilledFor | None) -> End:
    """What the death of a renderer says about the item that it had.

    `wait_status` is that of waitpid(2).
    """
    if killed_for is KilledFor.DRAIN:
        return End(None)
    if killed_for is KilledFor.DEADLINE:
        return End(DeadlineExceeded(), retry=True)  # a busy machine may have been the reason
    number = os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else None
    if number == signal.SIGXCPU:
        return End(DeadlineExceeded(), retry=False)
    if number == signal.SIGKILL:
        return End(OutOfMemory(), retry=True)  # by the kernel, which may have had others to blame
    return End(WorkerCrashed(), retry=True)


def failed(lease: str, error: ThumbnailsError, *, retry: bool, seconds: float = 0.0) -> Result:
    """The result of an item that failed."""
    return Result(lease, error=ErrorFacts(error.reason, error.message), retry=retry, render_seconds=seconds)


def ended(lease: str, end: End) -> Result:
    """The result of an item whose renderer died."""
    if end.error is None:
        return returned(lease)
    return failed(lease, end.error, retry=end.retry)


def returned(lease: str) -> Result:
    """The result of an item that somebody else has to do; no attempt is counted."""
    return Result(lease, returned=True)
