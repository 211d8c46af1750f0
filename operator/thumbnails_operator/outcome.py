"""Makes the status of a job from what happened to it: a start, a wait, a result, a dead worker.

Every function is pure, takes the job as it is and gives the whole status that it shall have. A job
that has finished keeps its outcome: only its webhook's state may change.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from thumbnails_contract.errors import (
    Cancelled,
    DeadlineExceeded,
    OutOfMemory,
    RenderError,
    ThumbnailsError,
    Unavailable,
    WorkerCrashed,
    WorkerLost,
    error_classes,
)
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import (
    Condition,
    ConditionType,
    ErrorFacts,
    OutputFacts,
    Reason,
    SourceFacts,
    Status,
    set_condition,
)
from thumbnails_contract.timestamps import format_time
from thumbnails_contract.wire import Result

from .ports import WorkerPhase, WorkerState

MAX_MESSAGE: Final = 1024

_TERMINAL: Final = frozenset({ConditionType.COMPLETE, ConditionType.FAILED})

# Deaths of a worker that come from outside: no picture is to blame.
DISRUPTIONS: Final = frozenset(
    {"DisruptionTarget", "Evicted", "Preempting", "Preempted", "NodeShutdown", "NodeLost", "Terminated"}
)
# Ends of an attempt after which the next one is made alone (dispatch.py).
SUSPICIOUS: Final = frozenset(
    cls.reason for cls in (OutOfMemory, WorkerCrashed, DeadlineExceeded, WorkerLost)
)


def facts_of(error: ThumbnailsError) -> ErrorFacts:
    """An error as conditions and `status.error` carry it."""
    return ErrorFacts(error.reason, error.message)


def waiting(job: ThumbnailJob, reason: str, message: str, now: datetime) -> Status:
    """The job does not run, and why."""
    return _with(job, job.status, _condition(job, ConditionType.STARTED, False, reason, message, now))


def running(
    job: ThumbnailJob, worker: str, attempts: int, max_attempts: int, started: datetime, now: datetime
) -> Status:
    """A worker has the job; `attempts` ended before this one, and `started` is the start of the first."""
    message = f"Attempt {attempts + 1} of {max_attempts}." if attempts else ""
    status = replace(
        job.status,
        worker_job=worker,
        attempts=attempts,
        start_time=_first_start(job.status, started),
    )
    return _with(job, status, _condition(job, ConditionType.STARTED, True, Reason.RENDERING, message, now))


def retrying(job: ThumbnailJob, cause: ErrorFacts, attempts: int, max_attempts: int, now: datetime) -> Status:
    """An attempt has failed, and there will be another one."""
    message = f"Attempt {attempts} of {max_attempts} ended with {cause.reason}; there is another one."
    status = replace(job.status, attempts=attempts)
    return _with(job, status, _condition(job, ConditionType.STARTED, True, Reason.RETRYING, message, now))


def succeeded(
    job: ThumbnailJob,
    outputs: tuple[OutputFacts, ...],
    source: SourceFacts | None,
    *,
    worker: str | None,
    attempts: int,
    started: datetime,
    now: datetime,
) -> Status:
    """All thumbnails are there, rendered by `worker`, or found (None).

    `attempts` includes the one that ended well (none when they were found).
    """
    reason, verb = (Reason.RENDERED, "rendered") if worker else (Reason.CACHED, "found")
    message = f"{len(outputs)} thumbnail{'s' if len(outputs) > 1 else ''} {verb}."
    status = replace(
        job.status,
        worker_job=worker or job.status.worker_job,
        source=source,
        outputs=outputs,
        attempts=attempts,
        start_time=_first_start(job.status, started),
        completion_time=now,
        error=None,
    )
    status = _with(
        job, status, _condition(job, ConditionType.STARTED, True, _started_reason(status), "", now)
    )
    return _with(job, status, _condition(job, ConditionType.COMPLETE, True, reason, message, now))


def failed(job: ThumbnailJob, error: ErrorFacts, attempts: int, now: datetime) -> Status:
    """The job has failed for good."""
    status = replace(job.status, attempts=attempts, completion_time=now, error=error)
    return _with(job, status, _condition(job, ConditionType.FAILED, True, error.reason, error.message, now))


def cancelled(job: ThumbnailJob, now: datetime) -> Status:
    """`spec.cancel` was set before the job had ended."""
    return failed(job, facts_of(Cancelled()), job.status.attempts, now)


def unreadable(old: Status, generation: int, error: ErrorFacts, now: datetime) -> Status:
    """A job that this version cannot read fails."""
    condition = Condition(ConditionType.FAILED, True, error.reason, error.message, now, generation)
    return replace(
        old,
        observed_generation=generation,
        conditions=set_condition(old.conditions, condition),
        completion_time=now,
        error=error,
    )


def worker_error(result: Result) -> ErrorFacts:
    """What a worker says went wrong, in reasons of our tree and with a bounded message."""
    error = result.error
    if error is None:
        return facts_of(RenderError("The worker's result says neither what it made nor what went wrong."))
    known = error_classes().get(error.reason, RenderError)
    return ErrorFacts(known.reason, (error.message or known.default_message)[:MAX_MESSAGE])


def is_unavailable(error: ErrorFacts) -> bool:
    """Whether something that the worker needed was away: neither the picture's fault nor the worker's."""
    return issubclass(error_classes().get(error.reason, ThumbnailsError), Unavailable)


def death(state: WorkerState) -> ErrorFacts:
    """Why a worker's jobs lost it, from what its Job and pod say."""
    if state.reason == "OOMKilled":
        return facts_of(OutOfMemory())
    if state.reason == "DeadlineExceeded":
        return facts_of(DeadlineExceeded("The worker was ended at its deadline while it had this picture."))
    if state.phase is WorkerPhase.ENDED:
        return facts_of(WorkerLost("The worker ended while it had this picture."))
    return facts_of(WorkerCrashed("The worker died while it had this picture."))


def silence() -> ErrorFacts:
    """Why a worker's jobs lost it when nobody hears of it any more."""
    return facts_of(WorkerLost("The worker was not heard of any more."))


def end_reason(status: Status) -> str:
    """The reason of the condition that says how a job has ended; empty for one that has not."""
    ends = (status.condition(ConditionType.COMPLETE), status.condition(ConditionType.FAILED))
    return next((condition.reason for condition in ends if condition is not None and condition.status), "")


def is_disruption(state: WorkerState) -> bool:
    """Whether the worker was ended from outside."""
    return state.reason in DISRUPTIONS


def ended_at(job: ThumbnailJob) -> datetime:
    """When the job ended. A status that somebody else wrote may lack it; the condition has a time too."""
    if job.status.completion_time is not None:
        return job.status.completion_time
    times = (
        condition.last_transition_time
        for condition in job.status.conditions
        if condition.status and condition.type in _TERMINAL
    )
    return max(times, default=job.created)


def _condition(
    job: ThumbnailJob, type_: ConditionType, status: bool, reason: str, message: str, now: datetime
) -> Condition:
    return Condition(str(type_), status, str(reason), message, now, job.generation)


def _with(job: ThumbnailJob, status: Status, condition: Condition) -> Status:
    return replace(
        status,
        observed_generation=job.generation,
        conditions=set_condition(status.conditions, condition),
    )


def _started_reason(status: Status) -> str:
    started = status.condition(ConditionType.STARTED)
    return started.reason if started and started.status else Reason.RENDERING


def _first_start(status: Status, started: datetime) -> datetime:
    """The first start of all; `started` where it is the same, as a document has whole seconds only."""
    stored = status.start_time
    return started if stored is None or format_time(stored) == format_time(started) else stored
