"""Looks after a job that has ended, for the reconciler: webhooks are delivered, then the archivist gets it.

The webhooks are its own, and that of its batch if it is the one that bears it. What is due when is decided
by `webhook.py`, `batch_webhook.py` and `ttl.py`.
"""

import logging
import random as randomness
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from thumbnails_contract.errors import InvalidJob, Unavailable
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.status import ConditionType

from .batch_webhook import WriteFirst, after_batch_attempt, batch_delivery_settled, next_batch_delivery
from .counts import Counts
from .informer import Known
from .memory import Attempt
from .ports import SigningSecrets
from .queue import WorkQueue
from .roster import Roster
from .settings import OperatorSettings
from .status_writer import StatusWriter
from .tasks import Tasks
from .ttl import deletion_time
from .webhook import (
    NO_SECRET,
    DeliverAt,
    DeliverNow,
    DeliveryResult,
    after_attempt,
    attempt_reason,
    delivery_settled,
    gave_up,
    next_delivery,
)

logger = logging.getLogger(__name__)

MAX_TIMER_SECONDS: Final = 3600.0
# After an attempt to deliver that could not even be made.
DELIVERY_RETRY_SECONDS: Final = 5.0


class Sender(Protocol):
    """Makes one attempt to deliver a webhook, and bounds how many run at once."""

    async def send(self, delivery: DeliverNow, secret: str, now: datetime) -> DeliveryResult:
        """How the attempt ended."""


class Aftercare:
    """See the module's text. `end` takes jobs whose time has come (`archivist.py`)."""

    def __init__(
        self,
        *,
        roster: Roster,
        writer: StatusWriter,
        secrets: SigningSecrets,
        sender: Sender,
        queue: WorkQueue[JobKey],
        tasks: Tasks,
        settings: OperatorSettings,
        counts: Counts,
        clock: Callable[[], datetime],
        random: randomness.Random,
        end: Callable[[ThumbnailJob], None],
    ) -> None:
        self._roster = roster
        self._writer = writer
        self._secrets = secrets
        self._sender = sender
        self._queue = queue
        self._tasks = tasks
        self._settings = settings
        self._grace = timedelta(seconds=settings.batch_grace_seconds)
        self._counts = counts
        self._clock = clock
        self._random = random
        self._end = end

    async def step(self, known: Known) -> bool:
        """Do what is due; False when the job wants another look at once."""
        return await self._tell(known) and await self._tell_of_batch(known) and self._end_in_time(known)

    async def _tell(self, known: Known) -> bool:
        """The job's own webhook; True when that is looked after for now."""
        job, now = known.job, self._clock()
        attempt = self._roster.attempts.get(job.key)
        if attempt is not None and attempt.uid == job.uid:
            return await self._go_on(known, attempt)
        self._begin(job, next_delivery(job, self._settings.webhook_url, now), now)
        return True

    async def _tell_of_batch(self, known: Known) -> bool:
        """The webhook of the job's batch, if the job bears it; True when that is looked after for now."""
        job, now = known.job, self._clock()
        batch = self._roster.batch(job)
        if batch is None:
            return True
        attempt = self._roster.batch_attempts.get(job.key)
        if attempt is not None and attempt.uid == job.uid:
            return await self._go_on(known, attempt)
        delivery = next_batch_delivery(job, batch, self._settings.webhook_url, now, self._grace)
        if isinstance(delivery, WriteFirst):
            await self._writer.write(known, delivery.status)
            return False
        self._begin(job, delivery, now)
        return True

    def _begin(self, job: ThumbnailJob, delivery: DeliverNow | DeliverAt | None, now: datetime) -> None:
        if isinstance(delivery, DeliverNow):
            attempt = self._attempts(delivery)[job.key] = Attempt(job.uid, delivery)
            self._tasks.spawn(self._deliver(job, attempt))
        elif isinstance(delivery, DeliverAt):
            self._look_at(job.key, delivery.when, now)

    def _end_in_time(self, known: Known) -> bool:
        """Give the job away when its time has come, and nothing is to be told any more."""
        job, now, url = known.job, self._clock(), self._settings.webhook_url
        settled = delivery_settled(job, url, now)
        due = deletion_time(job, self._settings.ttl_seconds, webhook_settled=settled)
        if due is None:
            return True
        batch = self._roster.batch(job)
        waits = not batch_delivery_settled(job, batch, url, now, self._grace)
        # What is known of a batch goes with its last job.
        bears = job.status.batch is not None and batch is not None and len(batch) > 1
        if waits or bears:
            self._queue.add_after(job.key, MAX_TIMER_SECONDS)
            return True
        if due <= now:
            self._end(job)
        else:
            self._look_at(job.key, due, now)
        return True

    async def _go_on(self, known: Known, attempt: Attempt) -> bool:
        """Write the outcome of an attempt once it is there, and forget the attempt once that is written."""
        if attempt.outcome is None:
            return True
        job, delivery = known.job, attempt.delivery
        if _is_written(job, delivery):
            del self._attempts(delivery)[job.key]
            self._settled(job, delivery)
            return False
        result, when, jitter = attempt.outcome
        after = after_batch_attempt if delivery.of_batch else after_attempt
        if not await self._writer.write(known, after(job, delivery, result, when, jitter)):
            del self._attempts(delivery)[job.key]
        return False

    def _settled(self, job: ThumbnailJob, delivery: DeliverNow) -> None:
        """After the outcome of an attempt was written: what else there is to do when it was the last one."""
        condition = job.status.condition(_condition_type(delivery))
        if condition is None or not (condition.status or gave_up(condition)):
            return
        if not condition.status:
            which = f"the batch of {job.key}" if delivery.of_batch else str(job.key)
            logger.warning(
                "the webhook of %s is given up: %s, %s", which, condition.reason, condition.message
            )
        batch = self._roster.batch(job)
        if delivery.of_batch and batch is not None:
            for key in batch:  # they may go now
                self._queue.add(key)

    def _attempts(self, delivery: DeliverNow) -> dict[JobKey, Attempt]:
        return self._roster.batch_attempts if delivery.of_batch else self._roster.attempts

    def _look_at(self, key: JobKey, when: datetime, now: datetime) -> None:
        self._queue.add_after(key, min(MAX_TIMER_SECONDS, max(0.0, (when - now).total_seconds())))

    async def _deliver(self, job: ThumbnailJob, attempt: Attempt) -> None:
        """Make one attempt; its outcome is written by the next look at the job."""
        key, delivery, began = job.key, attempt.delivery, self._clock()
        try:
            try:
                secret = await self._secrets.get(key.namespace, job.spec.account, delivery.secret_name)
            except InvalidJob:
                result = NO_SECRET
            else:
                result = await self._sender.send(delivery, secret, self._clock())
        except Exception as error:
            if isinstance(error, Unavailable):
                logger.warning("the webhook of %s has to wait: %s", key, error.reason)
            else:
                logger.exception("an attempt to deliver the webhook of %s failed", key)
            # It does not count: its outcome is not known.
            if self._attempts(delivery).get(key) is attempt:
                del self._attempts(delivery)[key]
            self._queue.add_after(key, DELIVERY_RETRY_SECONDS)
        else:
            self._counts.webhook_attempts.labels(attempt_reason(delivery, result)).inc()
            self._counts.webhook_seconds.observe(max(0.0, (self._clock() - began).total_seconds()))
            attempt.outcome = result, self._clock(), self._random.random()
            self._queue.add(key)


def _is_written(job: ThumbnailJob, delivery: DeliverNow) -> bool:
    """Whether the status says that this attempt was made."""
    if not delivery.of_batch:
        facts = job.status.webhook
    else:
        facts = job.status.batch.webhook if job.status.batch else None
    return facts is not None and facts.attempts >= delivery.attempt


def _condition_type(delivery: DeliverNow) -> ConditionType:
    return ConditionType.BATCH_WEBHOOK_DELIVERED if delivery.of_batch else ConditionType.WEBHOOK_DELIVERED
