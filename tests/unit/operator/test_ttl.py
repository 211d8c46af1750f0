"""When a finished job is deleted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from thumbnails_contract.job import ThumbnailJob
from thumbnails_operator import outcome
from thumbnails_operator.ttl import deletion_time, stays_as_history

ENDED = datetime(2026, 1, 2, 3, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("own", "default", "settled", "seconds"),
    [
        (None, None, True, None),
        (None, 60, True, 60),
        (10, 60, True, 10),
        (0, None, True, 0),
        (0, 60, True, 0),
        (10, 60, False, None),
    ],
)
def test_the_jobs_own_time_goes_before_the_default_and_the_webhook_before_both(
    make_job: Callable[..., ThumbnailJob],
    own: int | None,
    default: int | None,
    settled: bool,
    seconds: int | None,
) -> None:
    job = make_job(ttl_seconds_after_finished=own)
    ended = make_job(status=outcome.cancelled(job, ENDED), ttl_seconds_after_finished=own)
    expected = None if seconds is None else ENDED + timedelta(seconds=seconds)
    assert deletion_time(ended, default, webhook_settled=settled) == expected


def test_an_unfinished_job_is_never_deleted(make_job: Callable[..., ThumbnailJob]) -> None:
    assert deletion_time(make_job(ttl_seconds_after_finished=0), 0, webhook_settled=True) is None


@pytest.mark.parametrize(
    ("keep_days", "age", "stays"),
    [
        (None, timedelta(days=9_999), True),
        (30, timedelta(days=30), True),
        (30, timedelta(days=30, seconds=1), False),
        (0.5, timedelta(hours=13), False),
    ],
)
def test_a_job_becomes_history_unless_it_has_been_kept_long_enough(
    make_job: Callable[..., ThumbnailJob], keep_days: float | None, age: timedelta, stays: bool
) -> None:
    ended = make_job(status=outcome.cancelled(make_job(), ENDED))
    assert stays_as_history(ended, keep_days, ENDED + age) is stays
