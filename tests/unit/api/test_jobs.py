"""GET /jobs, GET and DELETE /jobs/{id}: order, pages, filters, waiting, tombstones."""

import io
import itertools
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_api.accounts import Caller
from thumbnails_api.deletion import Deletion
from thumbnails_common.history import History
from thumbnails_common.jobstore import ObjectMissing
from thumbnails_common.objectstore import NoSuchObject
from thumbnails_common.tombstone import Tombstone
from thumbnails_contract.errors import JobStoreUnavailable, ObjectStoreUnavailable

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def ids(result: Any) -> Any:
    assert result.status_code == 200, result.text
    return [job["id"] for job in result.json]


def follow(service: Any, result: Any) -> Any:
    """The page that the Link header names, or None."""
    link = result.headers.get("link")
    if link is None:
        return None
    address, _, relation = link.partition(";")
    assert "rel=next" in relation.replace('"', "")
    path, _, query = address.strip("<>").partition("?")
    return service.get(path, query_string=query)


def test_no_jobs_at_all_is_404(service: Any, problem: Any) -> None:
    problem(service.get("/jobs"), 404, "NoJobs")


def test_jobs_come_newest_first(service: Any, jpeg: bytes) -> None:
    made = [service.upload(jpeg).json["id"] for _ in range(3)]
    assert ids(service.get("/jobs")) == made[::-1]


def test_pages_bring_each_job_once(service: Any, jpeg: bytes) -> None:
    made = [service.upload(jpeg).json["id"] for _ in range(7)]
    seen = []
    page = service.get("/jobs?limit=3")
    while page is not None:
        seen.append(ids(page))
        page = follow(service, page)
    assert [len(part) for part in seen] == [3, 3, 1]
    assert list(itertools.chain.from_iterable(seen)) == made[::-1]


def test_a_page_stays_where_it_was_while_jobs_come_and_go(service: Any, jpeg: bytes) -> None:
    made = [service.upload(jpeg).json["id"] for _ in range(4)]
    first = service.get("/jobs?limit=2")
    service.upload(jpeg)
    service.request("DELETE", f"/jobs/{made[1]}")
    assert ids(follow(service, first)) == [made[0]]


def test_the_filter_is_kept_from_page_to_page(service: Any, jpeg: bytes) -> None:
    made = [service.upload(jpeg).json["id"] for _ in range(6)]
    for job_id in made[::2]:
        service.finish(job_id)
    first = service.get("/jobs?limit=2&status=complete")
    assert ids(first) == [made[4], made[2]]
    assert ids(follow(service, first)) == [made[0]]


def test_the_jobs_of_a_batch_can_be_asked_for(service: Any, jpeg: bytes) -> None:
    service.upload(jpeg)
    batch = service.post_form([("image", f"{number}.jpg", jpeg) for number in range(3)]).json
    service.post_form([("image", "x.jpg", jpeg), ("image", "y.jpg", jpeg)])
    made = [item["id"] for item in batch["items"]]
    path = f"/jobs?batch={batch['batchId']}"
    assert ids(service.get(path)) == made[::-1]
    page = service.get(f"{path}&limit=2")
    assert ids(page) + ids(follow(service, page)) == made[::-1]
    service.finish(made[1])
    assert ids(service.get(f"{path}&status=complete")) == [made[1]]
    assert ids(service.get(f"{path}&status=pending,failed")) == [made[2], made[0]]
    assert ids(service.get("/jobs?batch=00000000-0000-7000-8000-0000000fffff")) == []


def test_several_statuses_can_be_asked_for(service: Any, jpeg: bytes) -> None:
    pending, complete, failed = (service.upload(jpeg).json["id"] for _ in range(3))
    service.finish(complete)
    service.fail(failed, "CorruptSource", "The file is truncated.")
    assert ids(service.get("/jobs?status=failed,pending")) == [failed, pending]


def test_a_filter_without_matches_and_a_page_past_the_end_are_empty(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.upload(jpeg)
    assert ids(service.get("/jobs?status=cancelled")) == []
    page = service.get("/jobs?limit=1")
    service.request("DELETE", f"/jobs/{job_id}")
    assert ids(follow(service, page)) == []


@pytest.mark.parametrize(
    "query",
    [
        "batch=",
        "batch=No!",
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=-1",
        "limit=1&limit=2",
        "limit=",
        "status=done",
        "status=",
        "cursor=xyz",
        "cursor=",
        "cursor=WzEsMl0",
        "cursor=W1tbXQ",
        "cursor=WyJhIiwiYiJd",
        "page=2",
    ],
)
def test_wrong_parameters_are_400(service: Any, problem: Any, jpeg: bytes, query: Any) -> None:
    service.upload(jpeg)
    problem(service.get("/jobs", query_string=query), 400, "InvalidOption")


def test_a_job_that_was_made_by_kubectl_is_ordered_by_its_time(service: Any, jpeg: bytes) -> None:
    late = service.upload(jpeg).json["id"]
    document = service.store.get("thumbnails", late)
    document["metadata"] |= {
        "name": "zzz-by-hand",
        "uid": "by-hand",
        "creationTimestamp": "2020-01-01T00:00:00Z",
    }
    service.jobs.put(document)
    assert ids(service.get("/jobs")) == [late, "zzz-by-hand"]


def test_one_job(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    output = service.finish(job_id, thumbhash="abc")
    job = service.get(f"/jobs/{job_id}").json
    assert job["status"] == "complete"
    assert job["thumbnailPath"] == f"/thumbnails/{job_id}"
    assert job["completedAt"] == "2026-11-24T06:00:01Z"
    assert job["source"] == {"format": "jpeg", "width": 1200, "height": 800, "frames": 1, "bytes": 12345}
    assert job["outputs"] == [
        {
            "name": "default",
            "format": "jpeg",
            "width": 100,
            "height": 100,
            "frames": 1,
            "bytes": 9,
            "contentType": "image/jpeg",
            "path": f"/thumbnails/{job_id}/default",
            "etag": f'"{output.etag}"',
            "thumbhash": "abc",
        }
    ]


def test_a_failed_job_says_why(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.fail(job_id, "CorruptSource", "The file is truncated.")
    job = service.get(f"/jobs/{job_id}").json
    assert job["status"] == "failed"
    assert job["thumbnailPath"] is None
    assert job["error"] == {"reason": "CorruptSource", "message": "The file is truncated."}


@pytest.mark.parametrize("path", ["/jobs/123", "/jobs/NOT-A-NAME", "/jobs/%2e%2e", "/jobs/a%20b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_invalid_or_unknown_id_is_404(service: Any, problem: Any, path: Any, method: Any) -> None:
    problem(service.request(method, path), 404, "JobNotFound")


def test_the_store_is_not_asked_for_names_that_cannot_exist(service: Any) -> None:
    service.store.calls.clear()
    service.get("/jobs/NOT-A-NAME")
    assert service.store.calls == []
    service.get("/jobs/a-name")
    assert service.store.calls == ["get"]


def test_a_job_that_another_replica_just_made_is_found(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    document = service.store.get("thumbnails", job_id)
    document["metadata"] |= {"name": "made-elsewhere", "uid": "elsewhere"}
    service.store.documents["thumbnails", "made-elsewhere"] = document
    assert service.get("/jobs/made-elsewhere").status_code == 200


def test_a_store_that_is_away_is_503_for_jobs_that_are_not_known(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    known = service.upload(jpeg).json["id"]
    service.store.failures["get"] = [JobStoreUnavailable()] * 5
    assert service.get(f"/jobs/{known}").status_code == 200
    problem(service.get("/jobs/unknown"), 503, "JobStoreUnavailable")


def test_nobody_sees_the_jobs_of_another_account(
    make_service: Any, by_header: Any, problem: Any, jpeg: bytes
) -> None:
    service = make_service(authenticator=by_header)
    alice, bob = {"Authorization": "alice"}, {"Authorization": "bob"}
    headers = alice | {"Content-Type": "image/jpeg"}
    job_id = service.request("POST", "/images", body=jpeg, headers=headers).json["id"]
    service.finish(job_id)
    problem(service.get(f"/jobs/{job_id}", headers=bob), 404, "JobNotFound")
    problem(service.get(f"/images/{job_id}", headers=bob), 404, "ImageNotFound")
    problem(service.get(f"/thumbnails/{job_id}", headers=bob), 404, "ThumbnailNotFound")
    problem(service.request("DELETE", f"/jobs/{job_id}", headers=bob), 404, "JobNotFound")
    problem(service.get("/jobs", headers=bob), 404, "NoJobs")
    assert ids(service.get("/jobs", headers=alice)) == [job_id]


# ---- deleting ----


def test_deleting_writes_a_tombstone_first(service: Any, problem: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    output = service.finish(job_id)
    source = service.store.documents["thumbnails", job_id]["spec"]["source"]["objectKey"]
    uid = service.store.documents["thumbnails", job_id]["metadata"]["uid"]
    result = service.request("DELETE", f"/jobs/{job_id}")
    assert (result.status_code, result.content) == (204, b"")
    _, content = service.objects.objects[f"tombstones/thumbnails/{job_id}"]
    tombstone = Tombstone.parse(content)
    assert (tombstone.name, tombstone.uid) == (job_id, uid)
    assert tombstone.keys[:2] == (source, output.object_key)
    # What it would have in history, if it becomes that at this very moment.
    assert tombstone.keys[2] == f"history/thumbnails/default/jobs/{job_id}"
    assert all(key.startswith("history/thumbnails/default/") for key in tombstone.keys[2:])
    assert service.store.documents == {}
    problem(service.get(f"/jobs/{job_id}"), 404, "JobNotFound")
    problem(service.request("DELETE", f"/jobs/{job_id}"), 404, "JobNotFound")


def test_a_deletion_that_is_waited_for_says_when_nothing_is_left(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    job_id = service.upload(jpeg).json["id"]
    path, tombstone = f"/jobs/{job_id}", f"tombstones/thumbnails/{job_id}"
    for _ in range(2):  # it may be asked for again
        result = service.request("DELETE", path, headers={"Prefer": "wait=0"})
        assert (result.status_code, result.json) == (202, {"id": job_id})
        assert result.headers["preference-applied"] == "wait=0"
    problem(service.get(path), 404, "JobNotFound")
    caller, meanwhile = Caller("thumbnails", "default"), iter([[], [tombstone]])
    deletion = Deletion(
        service.store,
        service.objects,
        service.jobs,
        History(service.objects),
        lambda: NOW,
        sleep=lambda _seconds: service.objects.delete(next(meanwhile)),  # what the operator does
    )
    deletion.delete(caller, job_id, again=True)
    assert deletion.wait(caller, job_id, 60)
    assert next(meanwhile, None) is None
    other = service.upload(jpeg).json["id"]
    service.objects.failures["head"] = [NoSuchObject()]
    result = service.request("DELETE", f"/jobs/{other}", headers={"Prefer": "wait=20"})
    assert (result.status_code, result.headers["preference-applied"]) == (204, "wait=20")
    problem(service.request("DELETE", path, headers={"Prefer": "wait=20"}), 404, "JobNotFound")


def test_a_deletion_of_another_account_is_nobody_s_business(service: Any, problem: Any, jpeg: bytes) -> None:
    tombstone = Tombstone("thumbnails", "theirs", "uid", (), NOW, "shop").to_bytes()
    service.objects.put("tombstones/thumbnails/theirs", io.BytesIO(tombstone), len(tombstone))
    result = service.request("DELETE", "/jobs/theirs", headers={"Prefer": "wait=1"})
    problem(result, 404, "JobNotFound")


def test_without_a_tombstone_nothing_is_deleted(service: Any, problem: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    problem(service.request("DELETE", f"/jobs/{job_id}"), 503, "ObjectStoreUnavailable")
    assert ids(service.get("/jobs")) == [job_id]


def test_a_job_that_somebody_else_deletes_meanwhile_is_deleted(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.store.failures["delete"] = [ObjectMissing()]
    assert service.request("DELETE", f"/jobs/{job_id}").status_code == 204


def test_a_tombstone_never_names_an_original_of_another_job(service: Any, jpeg: bytes) -> None:
    first, second = service.upload(jpeg).json["id"], service.upload(jpeg).json["id"]
    documents = service.store.documents
    documents["thumbnails", second]["spec"]["source"] = documents["thumbnails", first]["spec"]["source"]
    service.request("DELETE", f"/jobs/{second}")
    assert Tombstone.parse(service.objects.objects[f"tombstones/thumbnails/{second}"][1]).keys == ()


def test_a_deleted_job_does_not_come_back_with_an_old_state(service: Any, jpeg: bytes, problem: Any) -> None:
    job_id = service.upload(jpeg).json["id"]
    old = service.store.get("thumbnails", job_id)
    service.request("DELETE", f"/jobs/{job_id}")
    assert service.jobs.put(old) is None
    problem(service.get("/jobs"), 404, "NoJobs")


# ---- Prefer: wait ----


def test_wait_holds_the_answer_until_the_job_has_ended(make_service: Any, jpeg: bytes) -> None:
    service = make_service(watching=True)
    job_id = service.upload(jpeg).json["id"]
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(service.get(f"/jobs/{job_id}", headers={"Prefer": "wait=25"}))
    )
    waiter.start()
    service.finish(job_id)
    waiter.join(60)
    (answer,) = answers
    assert answer.json["status"] == "complete"
    assert answer.headers["preference-applied"] == "wait=25"


def test_wait_on_an_upload(service: Any, jpeg: bytes) -> None:
    result = service.request(
        "POST",
        "/images",
        body=jpeg,
        headers={"Content-Type": "image/jpeg", "Prefer": "respond-async, wait=0"},
    )
    assert result.status_code == 201
    assert result.json["status"] == "pending"
    assert result.headers["preference-applied"] == "wait=0"


def test_wait_is_cut_to_the_limit(make_service: Any, jpeg: bytes) -> None:
    service = make_service(max_wait_seconds=0)
    job_id = service.upload(jpeg).json["id"]
    for prefer in ("wait=3600", "wait=1000000", "wait=" + "9" * 5000, "wait=0000000000001"):
        answer = service.get(f"/jobs/{job_id}", headers={"Prefer": prefer})
        assert answer.headers["preference-applied"] == "wait=0"


@pytest.mark.parametrize("prefer", ["", "wait", "wait=soon", "wait=-1", "return=minimal"])
def test_what_is_no_wait_is_ignored(service: Any, jpeg: bytes, prefer: Any) -> None:
    job_id = service.upload(jpeg).json["id"]
    answer = service.get(f"/jobs/{job_id}", headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_beyond_the_cap_requests_are_answered_at_once(make_service: Any, jpeg: bytes) -> None:
    service = make_service(max_waiting_requests=0)
    job_id = service.upload(jpeg).json["id"]
    answer = service.get(f"/jobs/{job_id}", headers={"Prefer": "wait=300"})
    assert answer.json["status"] == "pending"
    assert "preference-applied" not in answer.headers


def test_a_wait_ends_with_the_job_s_deletion(make_service: Any, jpeg: bytes) -> None:
    service = make_service(watching=True, max_wait_seconds=120)
    job_id = service.upload(jpeg).json["id"]
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(service.get(f"/jobs/{job_id}", headers={"Prefer": "wait=120"}))
    )
    waiter.start()
    service.request("DELETE", f"/jobs/{job_id}")
    waiter.join(60)
    assert not waiter.is_alive()
