"""What credentials allow: to read, to write, or both; and which of them a request needs. No I/O."""

from enum import StrEnum
from typing import Final

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Scope(StrEnum):
    """`read`: see jobs, originals and thumbnails. `write`: upload, and delete. Neither holds the other."""

    READ = "read"
    WRITE = "write"


ALL_SCOPES: Final = frozenset(Scope)


def scope_needed(method: str) -> Scope:
    """For a request with this method."""
    return Scope.READ if method in _READING else Scope.WRITE
