"""All jobs of a caller, for whoever reads them: those that the job store has, and those that are history.

A job's place in the order is the same in both, and it is history before it leaves the job store. So to look
at the store's jobs first and at history then finds each of them, also those that move meanwhile; what is in
both is taken from the store.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from heapq import merge
from itertools import groupby, islice, takewhile
from typing import Final

from thumbnails_common.history import History
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.history import Position, position_of
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.names import is_job_name
from thumbnails_contract.status import FINISHED_PHASES, Phase

from .accounts import Caller
from .history_heads import HistoryHeads
from .job_cache import JobCache, Page

# Documents are read one by one, but several at once.
_READERS: Final = 8


class Catalogue:
    """Every method may be called from any thread, and may raise Unavailable when a store is away."""

    def __init__(self, jobs: JobCache, history: History) -> None:
        self._jobs = jobs
        self._history = history
        self._heads = HistoryHeads(lambda caller: history.newest(caller.namespace, caller.account))
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="history")
        jobs.on_removed(self._heads.gone)
        jobs.on_relisted(self._heads.forget)

    def get(self, caller: Caller, name: str) -> ThumbnailJob | None:
        """The caller's job of this name, or None; history is asked only for what is nowhere else."""
        job = self._jobs.get(caller, name)
        if job is None and is_job_name(name):
            job = self._history.get(caller.namespace, caller.account, name)
        return job

    def wait_until_finished(self, job: ThumbnailJob, timeout_seconds: float) -> ThumbnailJob:
        """The job as it is when it has ended, was deleted, time is up, or the cache stops.

        One that left the job store in the meantime is as history has it; while that cannot be asked, as it
        was seen last. Raises nothing.
        """
        latest = self._jobs.wait_until_finished(job, timeout_seconds)
        if latest.status.finished or self._jobs.holds(latest):
            return latest
        try:
            kept = self._history.get(job.key.namespace, job.spec.account, job.key.name)
        except Unavailable:
            return latest
        return kept if kept is not None and kept.uid == job.uid else latest

    def holds(self, job: ThumbnailJob) -> bool:
        """Whether the job store has this very job still, as far as is known here."""
        return self._jobs.holds(job)

    def is_history(self, caller: Caller, name: str) -> bool:
        """Whether a job that the job store has no more was kept."""
        return self._history.get(caller.namespace, caller.account, name) is not None

    def page(
        self,
        caller: Caller,
        *,
        phases: frozenset[Phase],
        limit: int,
        before: Position | None,
        batch: str | None = None,
    ) -> Page | None:
        """At most `limit` jobs older than `before`, newest first; None when the caller has no job at all.

        With `batch` they are of this one alone.
        """
        live = self._jobs.page(caller, phases=phases, limit=limit, before=before, batch=batch)
        jobs: Sequence[ThumbnailJob] = () if live is None else live.jobs
        # The store's jobs go on after this place, so that history is asked for what comes before it alone.
        floor = None if live is None else live.next
        if phases & FINISHED_PHASES and self._reaches(caller, floor):
            old = self._history.positions(
                caller.namespace,
                caller.account,
                phases=phases,
                before=before,
                batch=batch,
                at_once=limit + 1,
            )
            if floor is not None:
                old = takewhile(floor.__lt__, old)
            jobs = self._merged(caller, jobs, old, limit + 1)
        if not jobs and live is None and not self._has_history(caller):
            return None
        shown = tuple(jobs[:limit])
        has_more = floor is not None or len(jobs) > limit
        return Page(shown, position_of(shown[-1]) if has_more else None)

    def _reaches(self, caller: Caller, floor: Position | None) -> bool:
        """Whether there may be history from this place on (None: any)."""
        newest = self._heads.newest(caller)
        return newest is not None and (floor is None or newest > floor)

    def _has_history(self, caller: Caller) -> bool:
        if self._heads.newest(caller) is None:
            return False
        places = self._history.positions(caller.namespace, caller.account)
        if self._merged(caller, (), places, 1):
            return True
        self._heads.forget(caller)
        return False

    def _merged(
        self, caller: Caller, live: Sequence[ThumbnailJob], old: Iterator[Position], count: int
    ) -> list[ThumbnailJob]:
        """The `count` newest of both, newest first."""
        by_place = {position_of(job): job for job in live}
        places = (place for place, _ in groupby(merge(by_place, old, reverse=True)))
        found: list[ThumbnailJob] = []
        # Not every place has its job still, so it may take more than one round.
        while len(found) < count and (some := list(islice(places, count - len(found)))):
            read = self._read(caller, [place for place in some if place not in by_place])
            found += [job for place in some if (job := by_place.get(place) or read.get(place))]
        return found

    def _read(self, caller: Caller, places: Sequence[Position]) -> Mapping[Position, ThumbnailJob]:
        """The jobs of these places, without those whose name has become another job's."""
        get = partial(self._history.get, caller.namespace, caller.account)
        jobs = self._readers.map(get, [place.name for place in places])
        return {
            place: job
            for place, job in zip(places, jobs, strict=True)
            if job is not None and position_of(job) == place and not self._jobs.knows(job.key)
        }
