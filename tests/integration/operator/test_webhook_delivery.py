"""A webhook from the job's end to its delivery: decisions, sender and receiver together, over restarts."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from thumbnails_contract import spec
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.status import Condition, ConditionType, Reason, Status, status_patch
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.webhook import (
    MAX_ATTEMPTS,
    DeliverAt,
    DeliverNow,
    after_attempt,
    delivery_settled,
    next_delivery,
)
from thumbnails_operator.webhook_sender import WebhookSender

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def finished_job(now: datetime, webhook_url: str | None = None) -> ThumbnailJob:
    condition = Condition(ConditionType.COMPLETE, True, Reason.RENDERED, "", now)
    return ThumbnailJob(
        key=JobKey("team-a", "photo"),
        uid="uid-1",
        resource_version="1",
        generation=1,
        created=now,
        spec=spec.Spec("sources/team-a/x", webhook=spec.Webhook(webhook_url) if webhook_url else None),
        status=Status(conditions=(condition,), completion_time=now),
    )


async def deliver(
    job: ThumbnailJob, default_url: str | None, now: datetime, answers: list[web.Response]
) -> tuple[ThumbnailJob, list[tuple[str, bytes]]]:
    """Deliver with a new sender for each attempt, jumping from one due time to the next."""
    received: list[tuple[str, bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        received.append((request.headers["webhook-id"], body))
        return answers.pop(0)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    if default_url is not None:
        default_url = default_url.replace("PORT", str(port))
    if job.spec.webhook is not None:
        url = job.spec.webhook.url.replace("PORT", str(port))
        job = replace(job, spec=replace(job.spec, webhook=spec.Webhook(url)))
    try:
        while (step := next_delivery(job, default_url, now)) is not None:
            match step:
                case DeliverAt(when):
                    assert when > now
                    now = when
                case DeliverNow():
                    sender = WebhookSender(OperatorSettings())
                    # The receiver checks the signed time against its own clock.
                    result = await sender.send(step, SECRET, datetime.now(UTC))
                    await sender.close()
                    status = after_attempt(job, step, result, now, 0.5)
                    stored: dict[str, Any] = job.status.to_manifest()
                    stored = merge_patch(stored, status_patch(stored, status))
                    job = replace(job, status=Status.parse(stored))
        assert delivery_settled(job, default_url)
        return job, received
    finally:
        await runner.cleanup()


def test_a_receiver_that_was_down_gets_the_same_message_later() -> None:
    async def scenario() -> None:
        now = datetime(2026, 11, 24, 5, 0, 0, 999_999, tzinfo=UTC)
        answers = [
            web.Response(status=500),
            web.Response(status=302, headers={"Location": "/elsewhere"}),
            web.Response(status=503, headers={"Retry-After": "7200"}),
            web.Response(status=204),
        ]
        job, received = await deliver(finished_job(now), "http://127.0.0.1:PORT/hook", now, answers)
        assert len(received) == 4
        assert len(set(received)) == 1
        condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
        assert condition is not None
        assert (condition.status, condition.message) == (True, "attempt 4 of 10: HTTP 204")
        assert condition.last_transition_time - now > timedelta(hours=2)

    asyncio.run(scenario())


def test_a_receiver_that_is_gone_is_asked_once() -> None:
    async def scenario() -> None:
        now = datetime.now(UTC)
        answers = [web.Response(status=410)]
        job, received = await deliver(finished_job(now), "http://127.0.0.1:PORT/hook", now, answers)
        assert len(received) == 1
        condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
        assert condition is not None
        assert condition.reason == Reason.RECEIVER_GONE

    asyncio.run(scenario())


def test_a_clients_url_of_an_internal_address_ends_at_once_by_literal_and_later_by_name() -> None:
    async def scenario() -> None:
        now = datetime.now(UTC)
        job, received = await deliver(finished_job(now, "http://127.1:PORT/hook"), None, now, [])
        condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
        assert condition is not None
        assert (condition.reason, job.status.webhook.attempts if job.status.webhook else 0) == (
            Reason.FORBIDDEN_ADDRESS,
            1,
        )
        job, received_by_name = await deliver(finished_job(now, "http://localhost:PORT/hook"), None, now, [])
        condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
        assert condition is not None
        assert (condition.reason, job.status.webhook.attempts if job.status.webhook else 0) == (
            Reason.DELIVERY_FAILED,
            MAX_ATTEMPTS,
        )
        assert received == received_by_name == []

    asyncio.run(scenario())
