"""Jobs past their TTL: for clients, nothing has happened, wherever the job lies by then."""

from typing import Any

import pytest

AT_ONCE = "ttlSecondsAfterFinished=0"


def pages(account: Any, limit: int, query: str = "") -> list[str]:
    """All jobs from page to page, each page from another replica."""
    found: list[str] = []
    path = f"/jobs?limit={limit}&{query}"
    while path:
        answer = account.get(path)
        assert answer.status_code == 200
        assert len(answer.json()) <= limit
        found += [job["id"] for job in answer.json()]
        path = answer.links["next"]["url"] if "next" in answer.links else ""
    return found


def test_a_job_that_is_history_reads_as_before(account: Any, picture: Any) -> None:
    original = picture()
    before = account.rendered(original, "preset=card&ttlSecondsAfterFinished=2")
    account.has_left_the_store(before["id"])
    assert account.get(f"/jobs/{before['id']}").json() == before
    assert account.get(f"/jobs/{before['id']}", Prefer="wait=5").json() == before
    assert account.listed() == [before]
    for output in before["outputs"]:
        answer = account.get(output["path"])
        assert (answer.status_code, answer.headers["ETag"]) == (200, output["etag"])
        assert account.get(output["path"], **{"If-None-Match": output["etag"]}).status_code == 304
    assert account.get(before["imagePath"]).content == original
    assert account.get(account.get(f"/jobs/{before['id']}/links").json()["thumbnailPath"]).status_code == 200


def test_a_job_that_is_history_is_nobody_else_s(service: Any, account: Any, picture: Any) -> None:
    job_id = account.rendered(picture(), AT_ONCE)["id"]
    account.has_left_the_store(job_id)
    rival = service.new_account()
    for path in ("/jobs", "/thumbnails", "/images"):
        assert rival.get(f"{path}/{job_id}").status_code == 404
    assert rival.request("DELETE", f"/jobs/{job_id}").status_code == 404
    assert rival.get("/jobs").status_code == 404
    assert account.get(f"/thumbnails/{job_id}").status_code == 200


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_go_on_from_the_store_into_history_in_one_order(account: Any, picture: Any, limit: int) -> None:
    made = []
    for number in range(6):
        job = account.rendered(picture(), AT_ONCE if number in {0, 1, 3} else "")
        made.append(job["id"])
    failed = account.upload(picture()[:150], AT_ONCE).json()["id"]
    account.finished(failed, "failed")
    for job_id in (*(made[number] for number in (0, 1, 3)), failed):
        account.has_left_the_store(job_id)
    listed = pages(account, limit)
    assert sorted(listed) == sorted([*made, failed])
    created = {job["id"]: (job["createdAt"], job["id"]) for job in account.listed()}
    assert listed == sorted(created, key=lambda job_id: created[job_id], reverse=True)
    assert pages(account, limit, "status=failed") == [failed]
    assert pages(account, limit, "status=complete") == [job_id for job_id in listed if job_id != failed]
    assert account.listed("status=pending") == []


def test_jobs_that_become_history_between_two_pages_are_listed_once(account: Any, picture: Any) -> None:
    made = [account.rendered(picture(), "ttlSecondsAfterFinished=6")["id"] for _ in range(6)]
    first = account.get("/jobs?limit=2")
    for job_id in made:
        account.has_left_the_store(job_id)
    found = [job["id"] for job in first.json()]
    path = first.links["next"]["url"]
    while path:
        answer = account.get(path)
        found += [job["id"] for job in answer.json()]
        path = answer.links["next"]["url"] if "next" in answer.links else ""
    assert sorted(found) == sorted(made)


def test_history_can_be_deleted(service: Any, account: Any, picture: Any, eventually: Any) -> None:
    job = account.rendered(picture(), AT_ONCE)
    account.has_left_the_store(job["id"])
    answer = account.request("DELETE", f"/jobs/{job['id']}", headers={"Prefer": "wait=60"})
    assert answer.status_code == 204
    for path in (f"/jobs/{job['id']}", f"/thumbnails/{job['id']}", job["imagePath"]):
        assert account.get(path).status_code == 404
    assert account.get("/jobs").json()["reason"] == "NoJobs"
    assert objects_of(service, account) == []


def test_what_history_refers_to_stays_when_an_equal_job_is_deleted(account: Any, picture: Any) -> None:
    original = picture()
    old = account.rendered(original, AT_ONCE)
    account.has_left_the_store(old["id"])
    new = account.rendered(original)
    assert new["outputs"][0]["etag"] == old["outputs"][0]["etag"]
    headers = {"Prefer": "wait=60"}
    assert account.request("DELETE", f"/jobs/{new['id']}", headers=headers).status_code == 204
    assert account.get(old["thumbnailPath"]).status_code == 200


def objects_of(service: Any, account: Any) -> list[str]:
    mark = f"/{service.shelf.namespace}/{account.name}/"
    return [facts.key for facts in service.objects.list("") if mark in facts.key]
