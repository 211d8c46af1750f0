"""Where workers' polls wait: hands out what `dispatch.py` grants, with presigned URLs, and takes results.

All calls come from the operator's event loop. Signing is done there too: it is arithmetic, and less of it
than a change of threads.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import Unavailable
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import RENDERER_VERSION
from thumbnails_contract.tracing import TraceContext
from thumbnails_contract.wire import Item, ItemOutput, Poll, Result, WorkAnswer, WorkRequest

from . import outcome
from .dispatch import Dispatcher, Grant
from .lease import WorkerKey
from .pool import Pool
from .settings import OperatorSettings
from .wanted import Wanted

MAX_WAIT_SECONDS: Final = 30.0
CONTENT_TYPE_PREFIX: Final = "image/"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker shall make: these thumbnails of this job."""

    job: ThumbnailJob
    outputs: tuple[Wanted, ...]


class DeskHooks(Protocol):
    """What the desk asks and tells: of jobs (intake.py)."""

    def assignment(self, key: JobKey) -> Assignment | None:
        """What is to be made for a job; None when it may not run (any more)."""

    def take_result(self, worker: WorkerKey, result: Result) -> None:
        """A result has come."""

    def handed_out(self, key: JobKey) -> None:
        """A worker gets the job, or had it already and was heard of."""

    def waits_again(self, key: JobKey) -> None:
        """The job was given back, or got lost on the way."""


@dataclass(slots=True, eq=False)
class _Parked:
    """A poll that waits for an answer."""

    worker: WorkerKey
    capacity: int
    answer: asyncio.Future[tuple[Grant, ...]]


class Desk:
    """See the module's text."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        objects: ObjectStore,
        settings: OperatorSettings,
        generation: int,
        monotonic: Callable[[], float],
        hooks: DeskHooks,
    ) -> None:
        self._dispatcher = dispatcher
        self._objects = objects
        self._settings = settings
        self._generation = generation
        self._monotonic = monotonic
        self._hooks = hooks
        self._pool: Pool | None = None
        self._parked: dict[WorkerKey, _Parked] = {}
        self._told_drops: dict[WorkerKey, frozenset[str]] = {}
        self._told_stop: set[WorkerKey] = set()
        self._paused = False
        self._closed = False

    def connect(self, pool: Pool) -> None:
        """Desk and pool know each other; call this once, before any worker polls."""
        self._pool = pool

    def is_parked(self, worker: WorkerKey) -> bool:
        """Whether a poll of the worker is waiting right now: it is alive, then."""
        return worker in self._parked

    async def work(self, worker: WorkerKey, request: WorkRequest) -> WorkAnswer:
        """Answer a request of a worker, when there is something to say or its time is up."""
        if self._closed:
            raise Unavailable("The operator is ending.")
        now = self._monotonic()
        self._dispatcher.seen(worker, now)
        for result in request.results:
            self._hooks.take_result(worker, result)
        poll = request.poll
        if poll is None:
            self._answer_if_full(worker)
            return WorkAnswer(self._generation, drop=self._tell_drops(worker))
        right_version = request.renderer_version == RENDERER_VERSION
        if not self._known_pool.polled(worker, draining=request.draining, right_version=right_version):
            return WorkAnswer(self._generation, drop=poll.holding, stop=True)
        reported = {result.lease for result in request.results}
        holding = [lease for lease in poll.holding if lease not in reported]
        for key in self._dispatcher.hold(worker, holding, now):
            entry = self._dispatcher.entry(key)
            if entry is not None and entry.worker == worker:
                self._hooks.handed_out(key)
            else:
                self._hooks.waits_again(key)
        self._told_drops[worker] = self._told_drops.get(worker, frozenset()) & set(poll.holding)
        if not holding:
            # It has nothing to finish first, so it is told to stop as often as it asks.
            self._told_stop.discard(worker)
        if request.results and poll.capacity <= 0:
            return self._answer(worker, ())  # what it brought has made room: it may ask anew
        grants = await self._wait(worker, poll)
        return self._answer(worker, self._sign(worker, grants))

    def pump(self) -> None:
        """Give what is ready to the polls that wait, those with the least to do first."""
        for parked in sorted(self._parked.values(), key=lambda each: self._dispatcher.holds(each.worker)):
            self._serve(parked)

    def forget(self, worker: WorkerKey) -> None:
        """The worker is gone."""
        self._told_drops.pop(worker, None)
        self._told_stop.discard(worker)
        parked = self._parked.get(worker)
        if parked is not None and not parked.answer.done():
            parked.answer.set_result(())

    def pause(self) -> None:
        """Hand out nothing more, but take results."""
        self._paused = True

    def close(self) -> None:
        """Answer nobody any more; polls that wait are answered now."""
        self._closed = True
        for parked in self._parked.values():
            if not parked.answer.done():
                parked.answer.set_result(())

    @property
    def _known_pool(self) -> Pool:
        if self._pool is None:
            raise AssertionError("connect() comes first")
        return self._pool

    def _serve(self, parked: _Parked) -> None:
        if parked.answer.done() or self._closed:
            return
        worker = parked.worker
        capacity = 0 if self._paused else self._known_pool.capacity(worker, parked.capacity)
        grants = self._dispatcher.grant(worker, capacity)
        for grant in grants:
            self._hooks.handed_out(grant.key)
        news = self._dispatcher.drops(worker) - self._told_drops.get(worker, frozenset())
        stop = self._known_pool.shall_stop(worker) and worker not in self._told_stop
        if grants or news or stop:
            parked.answer.set_result(grants)

    def _answer_if_full(self, worker: WorkerKey) -> None:
        """A delivery makes room in a worker whose poll waits and said that there is none: it may ask anew."""
        parked = self._parked.get(worker)
        if parked is not None and parked.capacity <= 0 and not parked.answer.done():
            parked.answer.set_result(())

    async def _wait(self, worker: WorkerKey, poll: Poll) -> tuple[Grant, ...]:
        loop = asyncio.get_running_loop()
        parked = _Parked(worker, poll.capacity, loop.create_future())
        before = self._parked.get(worker)
        if before is not None and not before.answer.done():
            before.answer.set_result(())  # its connection has died without our noticing
        self._parked[worker] = parked
        seconds = min(max(poll.wait_seconds, 0.0), MAX_WAIT_SECONDS)
        timer = loop.call_later(seconds, _time_is_up, parked.answer)
        try:
            self._serve(parked)
            return await parked.answer
        except asyncio.CancelledError:
            if parked.answer.done() and not parked.answer.cancelled():
                self._give_back(worker, parked.answer.result())
            raise
        finally:
            timer.cancel()
            self._dispatcher.seen(worker, self._monotonic())
            if self._parked.get(worker) is parked:
                del self._parked[worker]

    def _sign(self, worker: WorkerKey, grants: Sequence[Grant]) -> tuple[Item, ...]:
        """The items of these leases; those that cannot be made are not the worker's any more."""
        items: list[Item] = []
        for grant in grants:
            assignment = self._hooks.assignment(grant.key)
            if assignment is None:
                self._give_back(worker, [grant])
                continue
            try:
                items.append(self._make_item(grant.lease, assignment))
            except Unavailable as error:
                self._dispatcher.postpone(worker, grant.lease, outcome.facts_of(error), self._monotonic())
                self._hooks.waits_again(grant.key)
        return tuple(items)

    def _make_item(self, lease: str, assignment: Assignment) -> Item:
        job, settings = assignment.job, self._settings
        trace = TraceContext.of(job.annotations)
        return Item(
            lease=lease,
            namespace=job.key.namespace,
            job_name=job.key.name,
            account=job.spec.account,
            source_url=self._objects.presign_get(
                job.spec.object_key, expires_seconds=settings.presign_seconds
            ),
            outputs=tuple(
                ItemOutput(
                    wanted.output,
                    wanted.format,
                    wanted.object_key,
                    self._objects.presign_upload(
                        wanted.object_key,
                        content_type_prefix=CONTENT_TYPE_PREFIX,
                        max_bytes=settings.limits.output_bytes,
                        expires_seconds=settings.presign_seconds,
                    ),
                )
                for wanted in assignment.outputs
            ),
            limits=settings.limits,
            traceparent=trace.parent if trace else None,
        )

    def _answer(self, worker: WorkerKey, items: tuple[Item, ...]) -> WorkAnswer:
        drops = self._tell_drops(worker)
        stop = self._known_pool.shall_stop(worker) and not self._closed
        if stop:
            self._told_stop.add(worker)
        return WorkAnswer(self._generation, items, drops, stop)

    def _tell_drops(self, worker: WorkerKey) -> tuple[str, ...]:
        """All leases that the worker shall drop; from now on they are no news for it."""
        drops = self._dispatcher.drops(worker)
        if drops:
            self._told_drops[worker] = drops
        else:
            self._told_drops.pop(worker, None)
        return tuple(sorted(drops))

    def _give_back(self, worker: WorkerKey, grants: Sequence[Grant]) -> None:
        for grant in grants:
            if self._dispatcher.give_back(worker, grant.lease, self._monotonic()):
                self._hooks.waits_again(grant.key)


def _time_is_up(answer: asyncio.Future[tuple[Grant, ...]]) -> None:
    if not answer.done():
        answer.set_result(())
