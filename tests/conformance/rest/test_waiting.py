"""`Prefer: wait`: an answer that comes when the job has ended, also when it is gone by then."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

WAIT = {"Prefer": "wait=60"}


def test_an_upload_is_answered_with_the_finished_job(account: Any, picture: Any) -> None:
    answer = account.upload(picture(), **WAIT)
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json()["status"] == "complete"
    assert account.get(answer.json()["thumbnailPath"]).status_code == 200


def test_a_job_is_waited_for_at_a_replica_that_did_not_take_it(account: Any, picture: Any) -> None:
    job_id = account.upload(picture()).json()["id"]
    assert account.get(f"/jobs/{job_id}", **WAIT).json()["status"] == "complete"


def test_a_wait_ends_in_time(service: Any, account: Any, picture: Any) -> None:
    answer = account.upload(picture(), Prefer="wait=0")
    assert answer.headers["Preference-Applied"] == "wait=0"
    account.finished(answer.json()["id"])


@pytest.mark.timeout(300)
def test_a_job_that_goes_as_soon_as_it_has_ended_is_answered_finished(account: Any, picture: Any) -> None:
    originals = [picture() for _ in range(24)]
    with ThreadPoolExecutor(6) as threads:
        jobs = list(
            threads.map(
                lambda each: account.upload(each, "ttlSecondsAfterFinished=0", **WAIT).json(), originals
            )
        )
    assert {job["status"] for job in jobs} == {"complete"}


@pytest.mark.timeout(300)
def test_all_of_a_batch_are_answered_finished_though_the_first_ones_are_gone(
    account: Any, picture: Any
) -> None:
    originals = [picture() for _ in range(24)]
    answer = account.upload_batch(originals, "ttlSecondsAfterFinished=0", **WAIT)
    assert {job["status"] for job in answer.json()["items"]} == {"complete"}
    batch = answer.json()["batchId"]
    assert len(account.listed(f"batch={batch}&status=complete&limit=100")) == len(originals)
