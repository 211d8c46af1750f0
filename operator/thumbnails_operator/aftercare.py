"""Looks after a job that has ended, for the reconciler: its webhook is delivered, then it is deleted.

What is due when is decided by `webhook.py` and `ttl.py`.
"""

import logging
import random as randomness
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from thumbnails_contract.errors import InvalidJob, Unavailable
from thumbnails_contract.job import JobKey, ThumbnailJob

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
    given_up,
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
    """See the module's text."""

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
    ) -> None:
        self._roster = roster
        self._writer = writer
        self._secrets = secrets
        self._sender = sender
        self._queue = queue
        self._tasks = tasks
        self._settings = settings
        self._counts = counts
        self._clock = clock
        self._random = random

    async def step(self, known: Known) -> bool:
        """Do what is due; False when the job wants another look at once."""
        job, now, url = known.job, self._clock(), self._settings.webhook_url
        attempt = self._roster.attempts.get(job.key)
        if attempt is not None and attempt.uid == job.uid:
            return await self._go_on(known, attempt)
        delivery = next_delivery(job, url, now)
        if isinstance(delivery, DeliverNow):
            attempt = self._roster.attempts[job.key] = Attempt(job.uid, delivery)
            self._tasks.spawn(self._deliver(job, attempt))
            return True
        if isinstance(delivery, DeliverAt):
            self._look_at(job.key, delivery.when, now)
            return True
        settled = delivery_settled(job, url, now)
        due = deletion_time(job, self._settings.ttl_seconds, webhook_settled=settled)
        if due is not None and due <= now:
            return await self._writer.delete(job)
        if due is not None:
            self._look_at(job.key, due, now)
        return True

    async def _go_on(self, known: Known, attempt: Attempt) -> bool:
        """Write the outcome of an attempt once it is there, and forget the attempt once that is written."""
        if attempt.outcome is None:
            return True
        job = known.job
        if _is_written(job, attempt.delivery):
            del self._roster.attempts[job.key]
            if (why := given_up(job.status)) is not None:
                logger.warning("the webhook of %s is given up: %s, %s", job.key, why.reason, why.message)
            return False
        result, when, jitter = attempt.outcome
        if not await self._writer.write(known, after_attempt(job, attempt.delivery, result, when, jitter)):
            del self._roster.attempts[job.key]
        return False

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
            if self._roster.attempts.get(key) is attempt:
                del self._roster.attempts[key]
            self._queue.add_after(key, DELIVERY_RETRY_SECONDS)
        else:
            self._counts.webhook_attempts.labels(attempt_reason(delivery, result)).inc()
            self._counts.webhook_seconds.observe(max(0.0, (self._clock() - began).total_seconds()))
            attempt.outcome = result, self._clock(), self._random.random()
            self._queue.add(key)


def _is_written(job: ThumbnailJob, delivery: DeliverNow) -> bool:
    """Whether the status says that this attempt was made."""
    return job.status.webhook is not None and job.status.webhook.attempts >= delivery.attempt
