"""Takes in what workers make of the jobs they were given, for the desk: results, failures, deaths."""

from collections.abc import Callable
from datetime import datetime

from thumbnails_contract.errors import RenderError, Unavailable
from thumbnails_contract.job import JobKey
from thumbnails_contract.status import ErrorFacts
from thumbnails_contract.wire import Result

from . import outcome
from .counts import Counts
from .desk import Assignment
from .dispatch import Dispatcher, Failure
from .informer import Known
from .lease import LeaseName, WorkerKey
from .ports import EventSink
from .queue import WorkQueue
from .roster import Roster
from .settings import OperatorSettings
from .wanted import Thumbnail, missing


class Intake:
    """See the module's text. All calls come from the operator's event loop."""

    def __init__(
        self,
        *,
        roster: Roster,
        dispatcher: Dispatcher,
        queue: WorkQueue[JobKey],
        events: EventSink,
        settings: OperatorSettings,
        counts: Counts,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._dispatcher = dispatcher
        self._queue = queue
        self._events = events
        self._settings = settings
        self._counts = counts
        self._clock = clock
        self._monotonic = monotonic
        self._wake = wake

    # ---- what the desk asks and tells -------------------------------------------------------

    def assignment(self, key: JobKey) -> Assignment | None:
        """What a worker shall make for a job; None when it may not run (any more)."""
        known, memory = self._roster.get(key), self._roster.memory(key)
        if not isinstance(known, Known) or memory is None or known.job.status.finished:
            return None
        outputs = missing(memory.wanted, memory.there)
        return Assignment(known.job, outputs) if outputs else None

    def handed_out(self, key: JobKey) -> None:
        """A worker has the job."""
        memory = self._roster.memory(key)
        if memory is not None and memory.started is None:
            memory.started = self._clock()
            known = self._roster.get(key)
            if isinstance(known, Known) and known.job.status.start_time is None:
                self._counts.wait_seconds.observe(self._roster.waited_seconds(memory))
        self._counts.handed_out.inc()
        self._queue.add(key)

    def waits_again(self, key: JobKey) -> None:
        """The job has no worker any more."""
        memory = self._roster.memory(key)
        if memory is not None:
            memory.waiting_since = self._monotonic()
        self._queue.add(key)
        self._wake()

    def take_result(self, worker: WorkerKey, result: Result) -> None:
        """How an item ended in a worker; a result that nobody waits for is let go."""
        lease, now = result.lease, self._monotonic()
        self._counts.rendered(result)
        if result.outputs and result.error is None:
            self._take_success(worker, result)
        elif result.returned:
            cause = outcome.facts_of(Unavailable("Workers give this job back again and again."))
            self._put_back(self._dispatcher.give_back(worker, lease, now, cause))
        else:
            error = outcome.worker_error(result)
            if outcome.is_unavailable(error):
                self._put_back(self._dispatcher.postpone(worker, lease, error, now))
            else:
                final = result.error is not None and not result.retry
                self._take_failure(worker, lease, error, final=final)
        self._wake()

    # ---- what the pool tells ----------------------------------------------------------------

    def worker_lost(self, worker: WorkerKey, cause: ErrorFacts, counts: bool) -> None:
        """A worker is gone with all that it held; `counts` when that may be a job's fault."""
        for ended in self._dispatcher.lose(worker, cause, self._monotonic(), counts=counts):
            if isinstance(ended, Failure):
                self._attempt_failed(ended)
            else:
                self.waits_again(ended)
        self._wake()

    # ---- inside -----------------------------------------------------------------------------

    def _put_back(self, key: JobKey | None) -> None:
        if key is not None:
            self.waits_again(key)

    def _take_success(self, worker: WorkerKey, result: Result) -> None:
        name = LeaseName.parse(result.lease)
        memory = self._roster.memory(name.job) if name else None
        entry = self._dispatcher.entry(name.job) if name else None
        if name is None or memory is None or entry is None or entry.ticket.uid != name.uid:
            self._dispatcher.succeed(worker, result.lease)
            return
        if name.job.namespace != worker.namespace:
            return
        expected = {item.object_key for item in memory.wanted}
        for rendered in result.outputs:
            if rendered.object_key in expected:
                memory.there[rendered.object_key] = Thumbnail.from_result(rendered, result.source)
                memory.rendered_by = worker.name
        if missing(memory.wanted, memory.there):
            error = outcome.facts_of(RenderError("The worker did not make all thumbnails."))
            self._take_failure(worker, result.lease, error, final=False)
            return
        memory.attempts = entry.attempts + 1
        self._dispatcher.succeed(worker, result.lease)
        self._queue.add(name.job)

    def _take_failure(self, worker: WorkerKey, lease: str, error: ErrorFacts, *, final: bool) -> None:
        alone = error.reason in outcome.SUSPICIOUS
        failure = self._dispatcher.fail(worker, lease, error, self._monotonic(), final=final, alone=alone)
        if failure is not None:
            self._attempt_failed(failure)

    def _attempt_failed(self, failure: Failure) -> None:
        memory = self._roster.memory(failure.key)
        if memory is None:
            return
        self._counts.failed_attempts.labels(failure.cause.reason).inc()
        memory.attempts = failure.attempts
        memory.waiting_since = self._monotonic()
        if failure.final:
            memory.error = failure.cause
        else:
            message = f"Attempt {failure.attempts} of {self._settings.max_attempts}: {failure.cause.message}"
            self._events.emit(
                failure.key, memory.uid, warning=True, reason=failure.cause.reason, message=message
            )
        self._queue.add(failure.key)
