"""Ends finished jobs whose time has come (`ttl.py`) for the controller: they become history, and are deleted.

One after another, in a queue of its own: thousands may be due at once, and jobs that clients wait for must
not wait behind them. A crash anywhere in between leaves a job that is still there and still due: what was
written of it is written again, the same. Until it was seen to be gone, the janitor leaves what it refers to
alone.
"""

import logging
import random as randomness
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from thumbnails_common.history import History
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.history import HistoryKeys
from thumbnails_contract.job import JobKey, ThumbnailJob

from .counts import Counts
from .informer import Known
from .queue import WorkQueue
from .roster import Roster
from .settings import OperatorSettings
from .status_writer import Deletion, StatusWriter
from .ttl import stays_as_history

logger = logging.getLogger(__name__)


class Archivist:
    """See the module's text. `decide_again`: the job has changed meanwhile."""

    def __init__(
        self,
        *,
        history: History,
        roster: Roster,
        writer: StatusWriter,
        settings: OperatorSettings,
        counts: Counts,
        clock: Callable[[], datetime],
        random: randomness.Random,
        run_blocking: Callable[..., Awaitable[Any]],
        decide_again: Callable[[JobKey], None],
    ) -> None:
        self._history = history
        self._roster = roster
        self._writer = writer
        self._settings = settings
        self._counts = counts
        self._clock = clock
        self._run_blocking = run_blocking
        self._decide_again = decide_again
        self._queue: WorkQueue[JobKey] = WorkQueue(random)
        self._due: dict[JobKey, ThumbnailJob] = {}
        # By uid: jobs that are history, or becoming it, and were not seen to be gone; those of them that are
        # under way, and of which not everything is written yet.
        self._kept: set[str] = set()
        self._moving: dict[str, JobKey] = {}
        self._begun: set[str] = set()

    def end(self, job: ThumbnailJob) -> None:
        """End this job soon, if it is still as it is now. Does not wait."""
        self._due[job.key] = job
        self._queue.add(job.key)

    def has_kept(self, job: ThumbnailJob) -> bool:
        """Whether a job that is gone now is history; asked once."""
        if job.uid not in self._kept:
            return False
        self._kept.discard(job.uid)
        return True

    def busy(self) -> frozenset[JobKey]:
        """Jobs of which something may be written yet, also when they are gone."""
        return frozenset(self._moving.values())

    async def run(self) -> None:
        """Work until cancelled; several may."""
        while True:
            key = await self._queue.get()
            try:
                await self._end(key)
            except Unavailable as error:
                logger.warning("the end of %s has to wait: %s", key, error.reason)
                self._queue.retry(key)
            except Exception:  # one job's trouble must not keep all others
                logger.exception("%s cannot be ended", key)
                self._queue.retry(key)
            else:
                self._queue.succeeded(key)
            finally:
                self._queue.done(key)

    def close(self) -> None:
        """End the timer of what waits for another try."""
        self._queue.close()

    async def _end(self, key: JobKey) -> None:
        job, known = self._due.get(key), self._roster.get(key)
        if job is None:
            return
        if not isinstance(known, Known) or known.job.uid != job.uid:
            if job.uid in self._begun:  # and deleted by somebody else before all of it was written
                await self._run_blocking(self._history.remove, [HistoryKeys.of(job)])
                self._begun.discard(job.uid)
            self._moving.pop(job.uid, None)
            del self._due[key]
            return
        if known.job.resource_version != job.resource_version:
            self._moving.pop(job.uid, None)
            del self._due[key]
            self._decide_again(key)
            return
        if stays_as_history(job, self._settings.thumbnails_keep_days, self._clock()):
            await self._keep(job)
        deletion = await self._writer.delete(job)
        self._moving.pop(job.uid, None)
        self._due.pop(key, None)
        if deletion is Deletion.CHANGED:
            self._decide_again(key)

    async def _keep(self, job: ThumbnailJob) -> None:
        ended = job.status.completion_time
        retention = timedelta(seconds=self._settings.source_retention_seconds)
        with_original = ended is not None and self._clock() - ended < retention
        self._kept.add(job.uid)
        self._moving[job.uid] = job.key
        self._begun.add(job.uid)
        await self._run_blocking(self._history.put, job, with_original=with_original)
        self._begun.discard(job.uid)
        self._roster.keep_made(job)
        self._counts.archived.inc()
