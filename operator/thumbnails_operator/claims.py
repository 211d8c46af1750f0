"""Decides which one of several equal jobs renders a thumbnail while the others wait for it.

A job claims the keys of all thumbnails that it is about to render, or none of them. So of any two
that want a common thumbnail one has no claim at all, and they cannot wait for each other.
"""

from collections.abc import Callable, Iterable

from thumbnails_contract.job import JobKey


class Claims:
    """Who renders which thumbnail. A holder that is overtaken loses all its claims at once."""

    def __init__(self) -> None:
        self._holders: dict[str, JobKey] = {}
        self._held: dict[JobKey, tuple[str, ...]] = {}
        self._waiters: dict[JobKey, set[JobKey]] = {}
        self._waits_for: dict[JobKey, JobKey] = {}

    def claim(
        self, job: JobKey, object_keys: Iterable[str], may_overtake: Callable[[JobKey], bool]
    ) -> tuple[JobKey, ...]:
        """Claim all of `object_keys` for `job`, or have it wait for a holder that may not be overtaken.

        Returns the jobs for which something has changed by that: they want another look.
        """
        wanted = tuple(object_keys)
        holders = sorted({self._holders[key] for key in wanted if key in self._holders} - {job})
        disturbed = self.release(job)
        for holder in holders:
            if not may_overtake(holder):
                self._waiters.setdefault(holder, set()).add(job)
                self._waits_for[job] = holder
                return disturbed
        for holder in holders:
            disturbed += (holder, *self.release(holder))
        self._held[job] = wanted
        for key in wanted:
            self._holders[key] = job
        return disturbed

    def holds(self, job: JobKey) -> bool:
        """Whether the job has its claims."""
        return job in self._held

    def waits(self, job: JobKey) -> bool:
        """Whether the job waits for another one's claims."""
        return job in self._waits_for

    def release(self, job: JobKey) -> tuple[JobKey, ...]:
        """The job renders nothing (any more). Returns the jobs that waited for it."""
        holder = self._waits_for.pop(job, None)
        if holder is not None:
            self._waiters[holder].discard(job)
        for key in self._held.pop(job, ()):
            del self._holders[key]
        waiters = self._waiters.pop(job, set())
        for waiter in waiters:
            del self._waits_for[waiter]
        return tuple(sorted(waiters))
