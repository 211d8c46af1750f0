"""Brings one job, step by step, to where `reconcile.py` says it shall be, for the controller's loop."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.status import Phase, Status

from .aftercare import Aftercare
from .dispatch import Dispatcher
from .informer import Known, Unreadable
from .lane import Ticket
from .lookups import Lookups
from .memory import Memory
from .pool import Pool
from .queue import WorkQueue
from .reconcile import (
    Claim,
    Enqueue,
    Finished,
    Identify,
    LookUp,
    Park,
    Settle,
    Stay,
    Step,
    next_step,
)
from .roster import Roster
from .settings import OperatorSettings
from .status_writer import StatusWriter

MAX_STEPS: Final = 20
# A deletion in the bucket is one request.
DELETION_SECONDS: Final = 0.1


class Reconciler:
    """See the module's text. `grace`: whether workers have not all said yet what they hold."""

    def __init__(
        self,
        *,
        roster: Roster,
        dispatcher: Dispatcher,
        pool: Pool,
        queue: WorkQueue[JobKey],
        writer: StatusWriter,
        lookups: Lookups,
        aftercare: Aftercare,
        settings: OperatorSettings,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        wake: Callable[[], None],
        grace: Callable[[], bool],
    ) -> None:
        self._roster = roster
        self._dispatcher = dispatcher
        self._pool = pool
        self._queue = queue
        self._writer = writer
        self._lookups = lookups
        self._aftercare = aftercare
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._wake = wake
        self._grace = grace

    async def look(self, key: JobKey) -> bool:
        """Step on until the job is where it shall be for now; False when it does not come to rest.

        Raises Unavailable when something that it needs is away.
        """
        for _ in range(MAX_STEPS):
            known = self._roster.get(key)
            if known is None or await self._step(known):
                return True
        return False

    async def _step(self, known: Known | Unreadable) -> bool:
        """One step; whether it was the last one for now."""
        if isinstance(known, Unreadable):
            return await self._writer.refuse(known)
        job = known.job
        if job.status.finished:
            return await self._aftercare.step(known)
        if job.deleting:
            self._roster.let_go(job.key)
            return True
        memory = self._roster.remember(job)
        facts = self._roster.facts(job, memory, self._pool)
        return await self._take(next_step(job, facts, self._settings, self._clock()), known, memory)

    async def _take(self, step: Step, known: Known, memory: Memory) -> bool:
        match step:
            case Finished():
                return await self._aftercare.step(known)
            case Settle(status):
                self._roster.unqueue(known.job.key)
                await self._writer.settle(known, status)
                return False
            case Park(status, keep_waiting, again_seconds):
                self._roster.unqueue(known.job.key)
                if not keep_waiting:
                    self._roster.disclaim(known.job.key)
                return await self._rest(known, status, again_seconds)
            case Stay(status, again_seconds):
                return await self._rest(known, status, again_seconds)
            case Enqueue():
                return self._enqueue(known.job, memory)
            case _:
                await self._gather(step, known, memory)
                return False

    async def _gather(self, step: Identify | LookUp | Claim, known: Known, memory: Memory) -> None:
        """Take a step after which more is known of the job."""
        match step:
            case Identify():
                await self._lookups.identify(known, memory)
            case LookUp(object_keys):
                await self._lookups.look_up(known, memory, object_keys)
            case Claim(object_keys):
                self._roster.claim(known.job, object_keys)

    async def _rest(self, known: Known, status: Status, again_seconds: float | None) -> bool:
        if await self._writer.write(known, status):
            return False
        if again_seconds is not None:
            self._queue.add_after(known.job.key, again_seconds)
        return True

    def _enqueue(self, job: ThumbnailJob, memory: Memory) -> bool:
        if self._lookups.in_the_way(memory):
            self._queue.add_after(job.key, DELETION_SECONDS)
            return True
        attempts = max(job.status.attempts, memory.attempts)
        ticket = Ticket(job.key, job.uid, job.spec.account, job.spec.priority, job.created, attempts)
        held_back = self._grace() and job.status.phase is Phase.RUNNING
        self._dispatcher.add(ticket, self._monotonic(), held_back=held_back)
        self._wake()
        return False
