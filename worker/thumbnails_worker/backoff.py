"""Decides how long to wait before the next try."""

from collections.abc import Iterator


def delays(
    first_seconds: float, longest_seconds: float, bound_seconds: float | None = None
) -> Iterator[float]:
    """Seconds to wait before each further try: doubling up to the longest, until the bound is used up."""
    delay, total = first_seconds, 0.0
    while bound_seconds is None or total + delay <= bound_seconds:
        yield delay
        total += delay
        delay = min(delay * 2, longest_seconds)
