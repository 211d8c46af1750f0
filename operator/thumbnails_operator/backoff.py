"""Decides how long the operator waits before it tries again what has failed."""

from typing import Final

# 2.0 ** more would overflow some day.
_MOST_DOUBLINGS: Final = 64


def backoff_seconds(failures: int, first_seconds: float, longest_seconds: float) -> float:
    """How long to wait after so many failures in a row (1 or more): doubling, up to the longest."""
    return min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
