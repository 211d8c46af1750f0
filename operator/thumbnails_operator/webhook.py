"""When a job's webhook is sent, what it says, and what an attempt's outcome makes of the status: pure.

Standard Webhooks 1.0. How far a delivery is stands in the job's status (condition WebhookDelivered,
`status.webhook`), so a restart goes on where it was. An attempt counts once its outcome is known: one
that a crash cut short is made again, with the same id and the same bytes (at least once).
"""

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Batch, BatchWebhooks
from thumbnails_contract.status import (
    REST_STATUS,
    Condition,
    ConditionType,
    DeliveryFacts,
    OutputFacts,
    Phase,
    Reason,
    Status,
    set_condition,
)
from thumbnails_contract.timestamps import format_time
from thumbnails_contract.tracing import TraceContext

from .outcome import ended_at

# The standard's schedule: how long after the attempt before (the first: after the job's end).
DELAYS: Final = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MAX_ATTEMPTS: Final = len(DELAYS)
JITTER_FRACTION: Final = 0.2
MAX_RETRY_AFTER: Final = timedelta(hours=24)
# A delivery that nobody has begun by then is not begun: an admin who sets a default URL is told of the
# jobs of the last days, not of every job there ever was.
LATEST_START: Final = sum(DELAYS, timedelta(0))

EVENT_TYPES: Final = {
    Phase.SUCCEEDED: "thumbnailjob.completed",
    Phase.FAILED: "thumbnailjob.failed",
    Phase.CANCELLED: "thumbnailjob.cancelled",
}

HTTP_OK: Final = range(200, 300)
HTTP_GONE: Final = 410
# Whose Retry-After has a meaning here (RFC 9110 section 10.2.3, RFC 6585 section 4).
HTTP_BUSY: Final = frozenset({429, 503})

_FINAL_REASONS: Final = frozenset({Reason.DELIVERY_FAILED, Reason.RECEIVER_GONE, Reason.FORBIDDEN_ADDRESS})


@dataclass(frozen=True, slots=True)
class DeliverNow:
    """One attempt that is due. `trusted`: the admin's own URL, whose address is not checked.

    `attempt` counts from 1. `secret_name` names the Secret to sign with; None is the account's own.
    `of_batch`: it tells of the job's batch, not of the job. `trace` is that of the job's request.
    """

    url: str
    trusted: bool
    message_id: str
    body: bytes
    secret_name: str | None
    attempt: int
    of_batch: bool = False
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class DeliverAt:
    """The next attempt is due at this time."""

    when: datetime


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """How an attempt ended: the receiver's HTTP status, or None and a few public words.

    `forbidden`: the URL itself can never be delivered to.
    """

    http_status: int | None = None
    detail: str = ""
    retry_after_seconds: float | None = None
    forbidden: bool = False


# For whoever looks the secret up: the attempt could not be signed; one that is made later helps.
NO_SECRET: Final = DeliveryResult(detail="the signing secret is not there or not valid")


def next_delivery(job: ThumbnailJob, default_url: str | None, now: datetime) -> DeliverNow | DeliverAt | None:
    """What is to be done about the job's webhook; None: nothing (yet, or any more)."""
    url = _job_url(job, default_url)
    if url is None or not job.status.finished or delivery_settled(job, default_url, now):
        return None
    facts = job.status.webhook
    if facts is not None and facts.next_attempt_time is not None and facts.next_attempt_time > now:
        return DeliverAt(facts.next_attempt_time)
    webhook = job.spec.webhook
    return DeliverNow(
        url=url,
        trusted=url == default_url,
        message_id=f"msg_{job.uid}",
        body=event_body(job),
        secret_name=webhook.secret_name if webhook else None,
        attempt=(facts.attempts if facts else 0) + 1,
        trace=TraceContext.of(job.annotations),
    )


def delivery_settled(job: ThumbnailJob, default_url: str | None, now: datetime | None = None) -> bool:
    """Whether nothing will be sent for this job any more.

    `now` tells deliveries that were never begun and are too old to begin; without it they are open.
    """
    if _job_url(job, default_url) is None:
        return True
    status = job.status
    if not status.finished:
        return False
    condition = status.condition(ConditionType.WEBHOOK_DELIVERED)
    if condition is not None:
        return condition.status or gave_up(condition)
    return now is not None and now - ended_at(job) > LATEST_START


def gave_up(delivered: Condition) -> bool:
    """Whether this condition of a delivery says that it will never succeed."""
    return delivered.reason in _FINAL_REASONS


def after_attempt(
    job: ThumbnailJob, attempt: DeliverNow, result: DeliveryResult, now: datetime, jitter: float
) -> Status:
    """The status after an attempt. `jitter`: a random number of [0, 1)."""
    condition, delivery = attempted(
        ConditionType.WEBHOOK_DELIVERED, job.generation, attempt, result, now, jitter
    )
    conditions = set_condition(job.status.conditions, condition)
    return replace(job.status, conditions=conditions, webhook=delivery)


def attempted(
    type_: ConditionType,
    generation: int,
    attempt: DeliverNow,
    result: DeliveryResult,
    now: datetime,
    jitter: float,
) -> tuple[Condition, DeliveryFacts]:
    """What an attempt makes of the condition of its delivery, and how far that is then."""
    answer = f"HTTP {result.http_status}" if result.http_status is not None else result.detail
    reason = attempt_reason(attempt, result)
    next_attempt: datetime | None = None
    if reason is Reason.DELIVERY_RETRYING:
        next_attempt = _whole_second(now + _delay(attempt.attempt, result, jitter))
    condition = Condition(
        type=type_,
        status=reason is Reason.DELIVERED,
        reason=reason,
        message=f"attempt {attempt.attempt} of {MAX_ATTEMPTS}: {answer}",
        last_transition_time=now,
        observed_generation=generation,
    )
    return condition, DeliveryFacts(attempts=attempt.attempt, next_attempt_time=next_attempt)


def attempt_reason(attempt: DeliverNow, result: DeliveryResult) -> Reason:
    """What an attempt's result makes of the delivery."""
    if result.http_status in HTTP_OK:
        return Reason.DELIVERED
    if result.forbidden:
        return Reason.FORBIDDEN_ADDRESS
    if result.http_status == HTTP_GONE:
        return Reason.RECEIVER_GONE
    if attempt.attempt >= MAX_ATTEMPTS:
        return Reason.DELIVERY_FAILED
    return Reason.DELIVERY_RETRYING


def event_body(job: ThumbnailJob) -> bytes:
    """The event of a finished job: compact JSON, the same bytes whenever it is made."""
    status, name = job.status, job.key.name
    thumbnail_path = f"/thumbnails/{name}"
    complete = status.phase is Phase.SUCCEEDED
    data: dict[str, Any] = {
        "jobId": name,
        "status": REST_STATUS[status.phase],
        "thumbnailPath": thumbnail_path if complete else None,
        "imagePath": f"/images/{name}",
        "jobPath": f"/jobs/{name}",
        "outputs": [_output(output, thumbnail_path) for output in status.outputs] if complete else [],
    }
    if status.error is not None:
        data["error"] = {"reason": status.error.reason, "message": status.error.message}
    if job.spec.batch is not None:
        data["batch"] = _batch(job.spec.batch)
    event = {"type": EVENT_TYPES[status.phase], "timestamp": format_time(ended_at(job)), "data": data}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date), or None when it says nothing usable."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # more digits mean the same: for ever
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": UTC, says RFC 5322
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def receiver_url(job: ThumbnailJob, default_url: str | None) -> str | None:
    """Who is told of the job, or of its batch."""
    return job.spec.webhook.url if job.spec.webhook else default_url or None


def _job_url(job: ThumbnailJob, default_url: str | None) -> str | None:
    """Who is told of the job itself."""
    batch = job.spec.batch
    if batch is not None and batch.webhooks is BatchWebhooks.ONCE:
        return None
    return receiver_url(job, default_url)


def _delay(attempts: int, result: DeliveryResult, jitter: float) -> timedelta:
    """How long to wait after that many attempts, of which `result` was the last one's."""
    delay = DELAYS[attempts] * (1 + JITTER_FRACTION * jitter)
    if result.http_status in HTTP_BUSY and result.retry_after_seconds is not None:
        delay = max(delay, min(timedelta(seconds=result.retry_after_seconds), MAX_RETRY_AFTER))
    return delay


def _whole_second(moment: datetime) -> datetime:
    """Rounded up: statuses are stored in whole seconds, and never too early for a Retry-After."""
    return datetime.fromtimestamp(math.ceil(moment.timestamp()), UTC)


def _output(output: OutputFacts, thumbnail_path: str) -> dict[str, Any]:
    return {
        "name": output.name,
        "format": output.format,
        "width": output.width,
        "height": output.height,
        "bytes": output.bytes,
        "contentType": output.content_type,
        "path": f"{thumbnail_path}/{output.name}",
    }


def _batch(batch: Batch) -> dict[str, Any]:
    return {"id": batch.id, "index": batch.index, "size": batch.size}
