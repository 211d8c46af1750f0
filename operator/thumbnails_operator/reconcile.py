"""Decides what a ThumbnailJob needs next, for the controller: the job and some facts in, one step out.

The policies below are asked in their order, and the first that has an answer wins. A step either
gathers a fact that is missing (then the question is asked again), or is where the job stands for now.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from thumbnails_contract.errors import ForbiddenSource, OutputTooLarge
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.keys import check_source_key, source_identity
from thumbnails_contract.status import ErrorFacts, Reason, Status

from . import outcome
from .settings import OperatorSettings
from .wanted import Thumbnail, Wanted, missing, output_facts


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is in the dispatcher. `cause`: how its last attempt ended."""

    attempts: int
    worker: str | None = None
    postponed: bool = False
    cause: ErrorFacts | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the operator knows of a job besides its document."""

    identity: str | None = None
    wanted: tuple[Wanted, ...] = ()
    there: Mapping[str, Thumbnail] = field(default_factory=dict)  # by object key: found or rendered
    rendered_by: str | None = None  # the last worker that has made any of them
    to_look_up: tuple[str, ...] = ()  # keys that an equal job has made, and nobody has asked for yet
    claimed: bool = False  # whether it is this job that renders them (claims.py)
    waits_for_equal: bool = False
    place: Place | None = None
    attempts: int = 0  # ended ones
    error: ErrorFacts | None = None  # it failed for good
    trouble: ErrorFacts | None = None  # why its namespace has no workers, or what it needs is away
    workers_live: bool = False  # any, in its namespace
    waited_seconds: float = 0.0
    started: datetime | None = None  # the first hand-out that this operator knows of


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has ended: what is left are its webhook and its deletion."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The job ends now, with this status."""

    status: Status


@dataclass(frozen=True, slots=True)
class Identify:
    """Ask the object store what the source is."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the object store for thumbnails that an equal job has made."""

    object_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """Become the one that renders these keys, or wait for the one that does."""

    object_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Give it to the dispatcher."""


@dataclass(frozen=True, slots=True)
class Park:
    """It may not run: out of the dispatcher, with this status; look again after `again_seconds`."""

    status: Status
    keep_waiting: bool = False  # for an equal job
    again_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """It is in the dispatcher as it should be."""

    status: Status
    again_seconds: float | None = None


Step = Finished | Settle | Identify | LookUp | Claim | Enqueue | Park | Stay
Policy = Callable[[ThumbnailJob, Facts, OperatorSettings, datetime], Step | None]


def next_step(job: ThumbnailJob, facts: Facts, settings: OperatorSettings, now: datetime) -> Step:
    """What the job needs next."""
    for policy in _POLICIES:
        step = policy(job, facts, settings, now)
        if step is not None:
            return step
    return _stay(job, facts, settings, now)


def blocked(
    job: ThumbnailJob, trouble: ErrorFacts, waited_seconds: float, settings: OperatorSettings, now: datetime
) -> Status:
    """The status of a job of which a fact cannot be gathered, because something is away."""
    if waited_seconds < settings.trouble_notice_seconds:
        return job.status
    return outcome.waiting(job, trouble.reason, trouble.message, now)


def _finished(job: ThumbnailJob, _f: Facts, _s: OperatorSettings, _now: datetime) -> Step | None:
    return Finished() if job.status.finished else None


def _cancelled(job: ThumbnailJob, _f: Facts, _s: OperatorSettings, now: datetime) -> Step | None:
    return Settle(outcome.cancelled(job, now)) if job.spec.cancel else None


def _failed(job: ThumbnailJob, facts: Facts, _s: OperatorSettings, now: datetime) -> Step | None:
    return Settle(outcome.failed(job, facts.error, facts.attempts, now)) if facts.error else None


def _forbidden_source(job: ThumbnailJob, _f: Facts, _s: OperatorSettings, now: datetime) -> Step | None:
    """Before anything is signed or asked: else whoever may create jobs could read everybody's originals."""
    try:
        check_source_key(job.spec.object_key, job.key.namespace)
    except ForbiddenSource as error:
        return Settle(outcome.failed(job, outcome.facts_of(error), job.status.attempts, now))
    return None


def _output_too_large(job: ThumbnailJob, _f: Facts, settings: OperatorSettings, now: datetime) -> Step | None:
    limit = settings.limits.output_side
    for output in job.spec.outputs:
        if max(output.width or 0, output.height or 0) > limit:
            error = OutputTooLarge(f"Output '{output.name}' may be at most {limit} pixels wide and high.")
            return Settle(outcome.failed(job, outcome.facts_of(error), job.status.attempts, now))
    return None


def _complete(job: ThumbnailJob, facts: Facts, _s: OperatorSettings, now: datetime) -> Step | None:
    if facts.identity is None or missing(facts.wanted, facts.there):
        return None
    source = next((found.source for found in facts.there.values() if found.source), None)
    if source is not None:
        sha256 = source_identity(job.spec.object_key, job.key.namespace, job.spec.account)
        source = replace(source, sha256=sha256)
    return Settle(
        outcome.succeeded(
            job,
            output_facts(facts.wanted, facts.there),
            source,
            worker=facts.rendered_by,
            attempts=facts.attempts,
            started=facts.started or now,
            now=now,
        )
    )


def _suspended(job: ThumbnailJob, _f: Facts, _s: OperatorSettings, now: datetime) -> Step | None:
    if not job.spec.suspend:
        return None
    return Park(outcome.waiting(job, Reason.SUSPENDED, "spec.suspend is set.", now))


def _unidentified(_j: ThumbnailJob, facts: Facts, _s: OperatorSettings, _now: datetime) -> Step | None:
    return Identify() if facts.identity is None else None


def _unasked(_j: ThumbnailJob, facts: Facts, _s: OperatorSettings, _now: datetime) -> Step | None:
    if not facts.to_look_up or (facts.place and facts.place.worker):
        return None
    return LookUp(facts.to_look_up)


def _unclaimed(job: ThumbnailJob, facts: Facts, settings: OperatorSettings, now: datetime) -> Step | None:
    if facts.claimed:
        return None
    if not facts.waits_for_equal:
        return Claim(tuple(item.object_key for item in missing(facts.wanted, facts.there)))
    wait = settings.waiting_notice_seconds - facts.waited_seconds
    if wait > 0:
        return Park(job.status, keep_waiting=True, again_seconds=wait)
    message = "Another job renders the same picture in the same way; its thumbnails serve this one, too."
    return Park(outcome.waiting(job, Reason.WAITING_FOR_EQUAL_JOB, message, now), keep_waiting=True)


def _not_queued(_j: ThumbnailJob, facts: Facts, _s: OperatorSettings, _now: datetime) -> Step | None:
    return Enqueue() if facts.place is None else None


_POLICIES: tuple[Policy, ...] = (
    _finished,
    _cancelled,
    _failed,
    _forbidden_source,
    _output_too_large,
    _complete,
    _suspended,
    _unidentified,
    _unasked,
    _unclaimed,
    _not_queued,
)


def _stay(job: ThumbnailJob, facts: Facts, settings: OperatorSettings, now: datetime) -> Stay:
    place = facts.place
    if place is None:
        raise AssertionError("a job without a place is enqueued before")
    if place.worker is not None:
        started = facts.started or now
        return Stay(outcome.running(job, place.worker, place.attempts, settings.max_attempts, started, now))
    trouble = place.cause if place.postponed else facts.trouble
    notice = settings.trouble_notice_seconds if trouble else settings.waiting_notice_seconds
    wait = notice - facts.waited_seconds
    if wait <= 0:
        reason, message = _waiting_words(trouble, facts)
        waiting = outcome.waiting(job, reason, message, now)
        return Stay(waiting, settings.waiting_notice_seconds)
    if place.cause and place.attempts > job.status.attempts:
        return Stay(outcome.retrying(job, place.cause, place.attempts, settings.max_attempts, now), wait)
    return Stay(job.status, wait)


def _waiting_words(trouble: ErrorFacts | None, facts: Facts) -> tuple[str, str]:
    if trouble:
        return trouble.reason, trouble.message
    if facts.workers_live:
        return Reason.QUEUED, "All workers are busy with other jobs."
    return Reason.WORKERS_STARTING, "A worker is being started."
