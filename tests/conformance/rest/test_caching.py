"""Thumbnails over HTTP: strong ETags, ranges, conditions, what caches may keep; the same at each replica."""

from typing import Any

import pytest
import requests


@pytest.fixture
def job(account: Any, picture: Any) -> dict[str, Any]:
    job: dict[str, Any] = account.rendered(picture(), "width=64&height=64")
    return job


def test_every_replica_says_the_same(service: Any, account: Any, job: dict[str, Any]) -> None:
    answers = [account.at(each, "GET", job["thumbnailPath"]) for each in (*service.replicas,) * 2]
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["ETag"] for answer in answers} == {job["outputs"][0]["etag"]}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"private, max-age=31536000, immutable"}


def test_a_copy_that_is_still_good_is_not_sent_again(account: Any, job: dict[str, Any]) -> None:
    etag = job["outputs"][0]["etag"]
    for _ in account.replicas:
        answer = account.get(job["thumbnailPath"], **{"If-None-Match": etag})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
        assert account.get(job["thumbnailPath"], **{"If-None-Match": '"other"'}).status_code == 200
        assert account.get(job["thumbnailPath"], **{"If-Match": '"other"'}).status_code == 412


def test_a_part_and_the_head(account: Any, job: dict[str, Any]) -> None:
    whole = account.get(job["thumbnailPath"]).content
    for _ in account.replicas:
        part = account.get(job["thumbnailPath"], Range="bytes=5-14")
        assert (part.status_code, part.content) == (206, whole[5:15])
        assert part.headers["Content-Range"] == f"bytes 5-14/{len(whole)}"
        head = account.request("HEAD", job["thumbnailPath"])
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole)))
        beyond = account.get(job["thumbnailPath"], Range=f"bytes={len(whole)}-")
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")


def test_a_client_that_is_sent_to_the_object_store_gets_the_same_there(
    service: Any, account: Any, job: dict[str, Any]
) -> None:
    """The other replica is set up to send clients there; an address is good without any key, for a while."""
    sending = service.new_account(account.name, replicas=[service.start_replica(redirect_seconds=60)])
    here = account.get(job["thumbnailPath"])
    answer = sending.get(job["thumbnailPath"])
    assert (answer.status_code, answer.content) == (307, b"")
    there = requests.get(answer.headers["Location"], timeout=60)
    assert (there.status_code, there.content) == (200, here.content)
    for name in ("Content-Type", "Cache-Control", "Content-Disposition", "ETag"):
        assert there.headers[name] == here.headers[name]
    assert requests.get(answer.headers["Location"].replace("=60", "=61"), timeout=60).status_code == 403
    direct = sending.get(job["thumbnailPath"], Prefer="no-redirect")
    assert (direct.status_code, direct.content) == (200, here.content)
    still_good = {"If-None-Match": here.headers["ETag"]}
    assert sending.get(job["thumbnailPath"], **still_good).status_code == 304


def test_no_replica_remembers_what_was_deleted(account: Any, job: dict[str, Any], eventually: Any) -> None:
    for replica in account.replicas:
        assert account.at(replica, "GET", job["thumbnailPath"]).status_code == 200
    assert account.request("DELETE", f"/jobs/{job['id']}").status_code == 204
    for replica in account.replicas:
        eventually(
            lambda replica=replica: account.at(replica, "GET", job["thumbnailPath"]).status_code == 404,
            "the watch says so",
        )
