"""When a webhook is sent, what it says, and what becomes of the job's status."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.spec import Batch, BatchWebhooks, Spec, Webhook
from thumbnails_contract.status import (
    Condition,
    ConditionType,
    DeliveryFacts,
    ErrorFacts,
    OutputFacts,
    Reason,
    Status,
    status_patch,
)
from thumbnails_operator.webhook import (
    DELAYS,
    LATEST_START,
    MAX_ATTEMPTS,
    NO_SECRET,
    DeliverAt,
    DeliverNow,
    DeliveryResult,
    after_attempt,
    delivery_settled,
    next_delivery,
    parse_retry_after,
)

CREATED = datetime(2026, 11, 24, 5, 0, 0, tzinfo=UTC)
ENDED = datetime(2026, 11, 24, 5, 0, 1, 250_000, tzinfo=UTC)
NOW = ENDED + timedelta(milliseconds=10)
DEFAULT_URL = "http://receiver.internal/hook?token=secret"
OWN_URL = "https://client.example/hook"


def make_job(status: Status | None = None, webhook: Webhook | None = None) -> ThumbnailJob:
    return ThumbnailJob(
        key=JobKey("team-a", "photo"),
        uid="0194-uid",
        resource_version="7",
        generation=1,
        created=CREATED,
        spec=Spec(object_key="sources/team-a/default/x/photo", webhook=webhook),
        status=status or Status(),
    )


def ended(type_: ConditionType = ConditionType.COMPLETE, reason: str = Reason.RENDERED) -> Status:
    output = OutputFacts(
        name="default",
        format="auto",
        object_key="thumbnails/team-a/default/i/r",
        width=100,
        height=100,
        bytes=2345,
        content_type="image/jpeg",
        etag="e",
        thumbhash="t",
    )
    failed = type_ is ConditionType.FAILED
    return Status(
        conditions=(Condition(type_, True, reason, "", ENDED),),
        outputs=() if failed else (output,),
        completion_time=ENDED,
        error=ErrorFacts(reason, "Why.") if failed else None,
    )


def stored(job: ThumbnailJob, status: Status) -> ThumbnailJob:
    """The job after its status went through the store, as a restarted operator reads it."""
    old = job.status.to_manifest()
    return replace(job, status=Status.parse(merge_patch(old, status_patch(old, status))))


def due(job: ThumbnailJob, now: datetime = NOW, default_url: str | None = DEFAULT_URL) -> DeliverNow:
    delivery = next_delivery(job, default_url, now)
    assert isinstance(delivery, DeliverNow)
    return delivery


def fail(job: ThumbnailJob, now: datetime, result: DeliveryResult | None = None) -> ThumbnailJob:
    return stored(job, after_attempt(job, due(job, now), result or DeliveryResult(503), now, 0.0))


def outcome(job: ThumbnailJob) -> Condition:
    condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
    assert condition is not None
    return condition


# ---- where to, and when ---------------------------------------------------------------------


def test_a_finished_job_is_delivered_at_once_to_the_default_url() -> None:
    delivery = due(make_job(ended()))
    assert (delivery.url, delivery.trusted, delivery.secret_name) == (DEFAULT_URL, True, None)
    assert (delivery.message_id, delivery.attempt) == ("msg_0194-uid", 1)


def test_a_jobs_own_url_takes_the_place_of_the_default_one_and_is_not_trusted() -> None:
    delivery = due(make_job(ended(), Webhook(OWN_URL, "my-secret")))
    assert (delivery.url, delivery.trusted, delivery.secret_name) == (OWN_URL, False, "my-secret")


def test_a_jobs_own_url_needs_no_default_one() -> None:
    assert due(make_job(ended(), Webhook(OWN_URL)), default_url=None).url == OWN_URL


@pytest.mark.parametrize("default_url", [None, ""])
def test_without_a_url_nothing_is_sent_and_nothing_is_open(default_url: str | None) -> None:
    for status in (Status(), ended()):
        assert next_delivery(make_job(status), default_url, NOW) is None
        assert delivery_settled(make_job(status), default_url)


@pytest.mark.parametrize("webhooks", list(BatchWebhooks))
def test_a_job_of_a_batch_is_told_of_unless_only_the_batch_is(webhooks: BatchWebhooks) -> None:
    job = make_job(ended())
    job = replace(job, spec=replace(job.spec, batch=Batch("album", 0, 1, 1, webhooks)))
    told = webhooks is not BatchWebhooks.ONCE
    assert (next_delivery(job, DEFAULT_URL, NOW) is not None) == told
    assert delivery_settled(job, DEFAULT_URL, NOW) == (not told)


@pytest.mark.parametrize("started", [False, True])
def test_nothing_is_sent_before_the_job_has_ended(started: bool) -> None:
    condition = Condition(ConditionType.STARTED, started, Reason.QUEUED, "", CREATED)
    job = make_job(Status(conditions=(condition,)))
    assert next_delivery(job, DEFAULT_URL, NOW) is None
    assert not delivery_settled(job, DEFAULT_URL)


def test_a_delivery_that_nobody_began_for_days_is_not_begun() -> None:
    job = make_job(ended())
    assert next_delivery(job, DEFAULT_URL, ENDED + LATEST_START) is not None
    late = ENDED + LATEST_START + timedelta(seconds=1)
    assert next_delivery(job, DEFAULT_URL, late) is None
    assert delivery_settled(job, DEFAULT_URL, late)
    assert not delivery_settled(job, DEFAULT_URL, NOW)
    begun = fail(job, NOW)
    assert next_delivery(begun, DEFAULT_URL, late) is not None


# ---- what it says ---------------------------------------------------------------------------


def test_the_event_of_a_complete_job() -> None:
    body = due(make_job(ended())).body
    assert json.loads(body) == {
        "type": "thumbnailjob.completed",
        "timestamp": "2026-11-24T05:00:01Z",
        "data": {
            "jobId": "photo",
            "status": "complete",
            "thumbnailPath": "/thumbnails/photo",
            "imagePath": "/images/photo",
            "jobPath": "/jobs/photo",
            "outputs": [
                {
                    "name": "default",
                    "format": "auto",
                    "width": 100,
                    "height": 100,
                    "bytes": 2345,
                    "contentType": "image/jpeg",
                    "path": "/thumbnails/photo/default",
                }
            ],
        },
    }
    assert b": " not in body


@pytest.mark.parametrize(
    ("reason", "type_", "word"),
    [
        ("CorruptSource", "thumbnailjob.failed", "failed"),
        ("Cancelled", "thumbnailjob.cancelled", "cancelled"),
    ],
)
def test_the_event_of_a_job_that_did_not_complete(reason: str, type_: str, word: str) -> None:
    event = json.loads(due(make_job(ended(ConditionType.FAILED, reason))).body)
    data = event["data"]
    assert (event["type"], data["status"]) == (type_, word)
    assert (data["thumbnailPath"], data["outputs"]) == (None, [])
    assert data["error"] == {"reason": reason, "message": "Why."}


def test_the_event_names_the_batch() -> None:
    job = make_job(ended())
    job = replace(job, spec=replace(job.spec, batch=Batch("b-1", 2, 3)))
    assert json.loads(due(job).body)["data"]["batch"] == {"id": "b-1", "index": 2, "size": 3}


def test_a_job_whose_completion_time_is_missing_still_has_one_time() -> None:
    job = make_job(replace(ended(), completion_time=None))
    assert json.loads(due(job).body)["timestamp"] == "2026-11-24T05:00:01Z"


def test_every_attempt_has_the_same_id_and_bytes_before_and_after_a_restart() -> None:
    job = make_job(ended())
    first = due(job)
    second = due(fail(job, NOW), NOW + timedelta(hours=1))
    assert (second.message_id, second.body) == (first.message_id, first.body)
    assert (first.attempt, second.attempt) == (1, 2)


# ---- how an attempt ends ----------------------------------------------------------------------


@pytest.mark.parametrize("http_status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_delivery(http_status: int) -> None:
    job = make_job(ended())
    job = stored(job, after_attempt(job, due(job), DeliveryResult(http_status), NOW, 0.5))
    assert outcome(job).status
    assert outcome(job).reason == Reason.DELIVERED
    assert job.status.webhook == DeliveryFacts(1, None)
    assert delivery_settled(job, DEFAULT_URL)
    assert next_delivery(job, DEFAULT_URL, NOW + timedelta(days=1)) is None


@pytest.mark.parametrize("http_status", [199, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again_redirects_too(http_status: int) -> None:
    job = fail(make_job(ended()), NOW, DeliveryResult(http_status))
    assert not outcome(job).status
    assert outcome(job).reason == Reason.DELIVERY_RETRYING
    assert outcome(job).message == f"attempt 1 of 10: HTTP {http_status}"
    assert not delivery_settled(job, DEFAULT_URL)


@pytest.mark.parametrize(
    ("result", "reason", "message"),
    [
        (DeliveryResult(410), Reason.RECEIVER_GONE, "attempt 1 of 10: HTTP 410"),
        (
            DeliveryResult(detail="the address is not allowed", forbidden=True),
            Reason.FORBIDDEN_ADDRESS,
            "attempt 1 of 10: the address is not allowed",
        ),
    ],
)
def test_what_can_never_succeed_stops_for_ever(result: DeliveryResult, reason: Reason, message: str) -> None:
    job = fail(make_job(ended()), NOW, result)
    assert (outcome(job).status, outcome(job).reason, outcome(job).message) == (False, reason, message)
    assert job.status.webhook == DeliveryFacts(1, None)
    assert delivery_settled(job, DEFAULT_URL)
    assert next_delivery(job, DEFAULT_URL, NOW + timedelta(days=9)) is None


def test_a_secret_that_is_not_there_is_waited_for() -> None:
    job = fail(make_job(ended(), Webhook(OWN_URL, "soon")), NOW, NO_SECRET)
    assert outcome(job).reason == Reason.DELIVERY_RETRYING


def test_the_schedule_is_that_of_the_standard() -> None:
    job, now, waits = make_job(ended()), NOW, []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert due(job, now).attempt == attempt
        job = fail(job, now)
        following = next_delivery(job, DEFAULT_URL, now)
        if following is None:
            break
        assert isinstance(following, DeliverAt)
        waits.append(following.when - now)
        now = following.when
    assert attempt == 10
    expected = [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)] + [
        timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)
    ]
    for wait, exact in zip(waits, expected, strict=True):
        assert exact <= wait < exact + timedelta(seconds=1)
    assert outcome(job).reason == Reason.DELIVERY_FAILED
    assert outcome(job).message == "attempt 10 of 10: HTTP 503"
    assert delivery_settled(job, DEFAULT_URL)


def test_a_success_after_failures_shows_when_it_came() -> None:
    job = fail(make_job(ended()), NOW)
    later = NOW + timedelta(minutes=1)
    job = stored(job, after_attempt(job, due(job, later), DeliveryResult(204), later, 0.0))
    assert outcome(job).message == "attempt 2 of 10: HTTP 204"
    assert outcome(job).last_transition_time == later.replace(microsecond=0)


@given(attempts=st.integers(0, MAX_ATTEMPTS - 2), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_retries_by_a_fifth_and_never_brings_them_forward(
    attempts: int, jitter: float
) -> None:
    job = make_job(replace(ended(), webhook=DeliveryFacts(attempts, None)))
    status = after_attempt(job, due(job), DeliveryResult(500), NOW, jitter)
    assert status.webhook is not None
    assert status.webhook.next_attempt_time is not None
    exact = DELAYS[attempts + 1]
    wait = status.webhook.next_attempt_time - NOW
    assert exact <= wait <= exact * 1.2 + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("http_status", "asked_seconds", "wait_seconds"),
    [
        (503, 60, 60),
        (429, 3600, 3600),
        (503, 1, 5),  # never sooner than the schedule
        (503, 10**9, 24 * 3600),  # bounded
        (500, 3600, 5),  # says nothing there
        (302, 3600, 5),
    ],
)
def test_retry_after_is_honoured(http_status: int, asked_seconds: float, wait_seconds: int) -> None:
    job = fail(make_job(ended()), NOW, DeliveryResult(http_status, "", asked_seconds))
    following = next_delivery(job, DEFAULT_URL, NOW)
    assert isinstance(following, DeliverAt)
    exact = timedelta(seconds=wait_seconds)
    assert exact <= following.when - NOW < exact + timedelta(seconds=1)


def test_the_rest_of_the_status_stays() -> None:
    job = make_job(ended())
    status = after_attempt(job, due(job), DeliveryResult(500), NOW, 0.0)
    assert replace(status, conditions=status.conditions[:1], webhook=None) == job.status


def test_no_url_reaches_the_status() -> None:
    text = json.dumps(fail(make_job(ended()), NOW).status.to_manifest())
    assert "receiver.internal" not in text
    assert "token" not in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 400, 999_999_999.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Tue, 24 Nov 2026 05:01:01 GMT", 59.74),
        ("Tue, 24 Nov 2026 05:01:01 -0000", 59.74),
        ("Mon, 23 Nov 2026 05:00:00 GMT", 0.0),
        ("²", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == (seconds if seconds is None else pytest.approx(seconds))
