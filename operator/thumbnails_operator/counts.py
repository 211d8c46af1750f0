"""What the operator has done since its start, as numbers: for metrics and tests."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Each only grows."""

    status_writes: int = 0
    conflicts: int = 0
    handed_out: int = 0
    rendered: int = 0
    cached: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    deleted: int = 0
    webhook_attempts: int = 0
