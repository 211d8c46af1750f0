"""`Idempotency-Key`: an upload that comes again, to whichever replica, makes no second job."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any


def test_of_uploads_at_once_one_makes_the_job(account: Any, picture: Any) -> None:
    original, key = picture(), {"Idempotency-Key": '"the-same"'}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: account.upload(original, **key), range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["reason"] for answer in answers if answer.status_code == 409} <= {
        "IdempotencyKeyInUse"
    }
    (job_id,) = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    again = account.upload(original, **key)
    assert again.json()["id"] == job_id
    assert again.headers["Idempotency-Replayed"] == "true"
    account.finished(job_id)
    assert [job["id"] for job in account.listed()] == [job_id]


def test_a_key_of_another_upload_is_refused(account: Any, picture: Any) -> None:
    key = {"Idempotency-Key": '"first"'}
    assert account.upload(picture(), **key).status_code == 201
    other = account.upload(picture(), **key)
    assert (other.status_code, other.json()["reason"]) == (422, "IdempotencyKeyReused")


def test_a_replica_that_starts_later_knows_what_was_taken(service: Any, account: Any, picture: Any) -> None:
    original, key = picture(), {"Idempotency-Key": '"before"'}
    first = account.upload(original, **key)
    later = service.new_account(account.name, replicas=[service.start_replica()])
    again = later.upload(original, **key)
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_batch_comes_again_as_it_was(account: Any, picture: Any) -> None:
    originals, key = [picture(), b"Holidays.", picture()], {"Idempotency-Key": '"batch"'}
    first, again = (account.upload_batch(originals, **key) for _ in range(2))
    assert first.status_code == again.status_code == 207
    assert again.json() == first.json()


def test_an_upload_comes_again_after_its_job_is_history(account: Any, picture: Any) -> None:
    original, key = picture(), {"Idempotency-Key": '"history"'}
    first = account.rendered(original, "ttlSecondsAfterFinished=0", **key)
    account.has_left_the_store(first["id"])
    again = account.upload(original, "ttlSecondsAfterFinished=0", **key)
    assert (again.status_code, again.json()["id"]) == (201, first["id"])
    assert [job["id"] for job in account.listed()] == [first["id"]]
