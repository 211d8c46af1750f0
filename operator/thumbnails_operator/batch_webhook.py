"""When a batch's webhook is sent, and what it says: pure; `webhook.py` has what all webhooks have in common.

One job bears it for all (`batches.py`). How the batch ended is written into that job's status first, so every
attempt says the same, whoever makes it and whatever becomes of other jobs meanwhile.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Batch as BatchPlace
from thumbnails_contract.spec import BatchWebhooks
from thumbnails_contract.status import BatchFacts, ConditionType, Status, set_condition
from thumbnails_contract.timestamps import format_time
from thumbnails_contract.tracing import TraceContext

from .batches import Batch, Record
from .webhook import (
    LATEST_START,
    DeliverAt,
    DeliverNow,
    DeliveryResult,
    attempted,
    gave_up,
    receiver_url,
)

EVENT_TYPE: Final = "thumbnailjob.batch.completed"


@dataclass(frozen=True, slots=True)
class WriteFirst:
    """Before anything else, this status is to be written."""

    status: Status


def next_batch_delivery(
    job: ThumbnailJob, batch: Batch | None, default_url: str | None, now: datetime, grace: timedelta
) -> WriteFirst | DeliverNow | DeliverAt | None:
    """What this job, which has ended, has to do about its batch's webhook; None: nothing (yet, or any more).

    `grace`: so long after its last job was made, a batch of which jobs are missing is not waited for: the
    upload broke off, or they were deleted.
    """
    place, url = job.spec.batch, receiver_url(job, default_url)
    if place is None or place.webhooks is BatchWebhooks.EACH or url is None:
        return None
    if batch is None or job.key != batch.bearer:
        return None
    if job.status.batch is None:
        return _begin(job, batch, now, grace)
    if batch_delivery_settled(job, batch, default_url, now, grace):
        return None
    delivery = job.status.batch.webhook
    if delivery is not None and delivery.next_attempt_time is not None and delivery.next_attempt_time > now:
        return DeliverAt(delivery.next_attempt_time)
    return DeliverNow(
        url=url,
        trusted=url == default_url,
        message_id=f"msg_{place.id}",
        body=batch_event_body(place, job.status.batch),
        secret_name=job.spec.webhook.secret_name if job.spec.webhook else None,
        attempt=(delivery.attempts if delivery else 0) + 1,
        of_batch=True,
        trace=TraceContext.of(job.annotations),
    )


def batch_delivery_settled(
    job: ThumbnailJob, batch: Batch | None, default_url: str | None, now: datetime, grace: timedelta
) -> bool:
    """Whether nothing will be sent for the job's batch any more."""
    place = job.spec.batch
    if batch is None or place is None or place.webhooks is BatchWebhooks.EACH:
        return True
    if receiver_url(job, default_url) is None:
        return True
    record = batch.record
    if record is not None:
        if record.delivered is not None:
            return record.delivered.status or gave_up(record.delivered)
        return now - record.facts.completion_time > LATEST_START
    if batch.open or _is_waited_for(batch, now, grace):
        return False
    return now - batch.facts().completion_time > LATEST_START


def after_batch_attempt(
    job: ThumbnailJob, attempt: DeliverNow, result: DeliveryResult, now: datetime, jitter: float
) -> Status:
    """The bearer's status after an attempt. `jitter`: a random number of [0, 1)."""
    if job.status.batch is None:
        raise AssertionError("a batch that is delivered has a record")
    type_ = ConditionType.BATCH_WEBHOOK_DELIVERED
    condition, delivery = attempted(type_, job.generation, attempt, result, now, jitter)
    return replace(
        job.status,
        conditions=set_condition(job.status.conditions, condition),
        batch=replace(job.status.batch, webhook=delivery),
    )


def batch_event_body(place: BatchPlace, facts: BatchFacts) -> bytes:
    """The event of a batch that has ended: compact JSON, the same bytes whenever it is made."""
    event = {
        "type": EVENT_TYPE,
        "timestamp": format_time(facts.completion_time),
        "data": {
            "batchId": place.id,
            "size": place.size,
            "jobs": facts.complete + facts.failed + facts.cancelled,
            "complete": facts.complete,
            "failed": facts.failed,
            "cancelled": facts.cancelled,
            "jobsPath": f"/jobs?batch={place.id}",
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _begin(job: ThumbnailJob, batch: Batch, now: datetime, grace: timedelta) -> WriteFirst | DeliverAt | None:
    if batch.record is not None:
        # Its bearer was deleted. An operator that is started now would know nothing, and tell it all again.
        return WriteFirst(_with_record(job.status, batch.record))
    if batch.open:
        return None
    if _is_waited_for(batch, now, grace):
        return DeliverAt(batch.newest + grace)
    facts = batch.facts()
    if now - facts.completion_time > LATEST_START:
        return None
    return WriteFirst(_with_record(job.status, Record(facts, None)))


def _with_record(status: Status, record: Record) -> Status:
    conditions = status.conditions
    if record.delivered is not None:
        conditions = set_condition(conditions, record.delivered)
    return replace(status, conditions=conditions, batch=record.facts)


def _is_waited_for(batch: Batch, now: datetime, grace: timedelta) -> bool:
    return not batch.whole and now < batch.newest + grace
