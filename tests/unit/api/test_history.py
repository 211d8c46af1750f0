"""Jobs past their TTL, for clients: as if nothing had happened, and at no cost for those that have not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from thumbnails_api.accounts import Caller
from thumbnails_api.catalogue import Catalogue
from thumbnails_api.history_heads import HistoryHeads
from thumbnails_common.history import History
from thumbnails_common.tombstone import Tombstone
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.history import Position
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.keys import history_prefix
from thumbnails_contract.spec import Spec

ALICE = {"Authorization": "alice"}
BOB = {"Authorization": "bob"}


def ids(result: Any) -> list[str]:
    assert result.status_code == 200, result.text
    return [job["id"] for job in result.json]


def pages(service: Any, path: str, **options: Any) -> list[list[str]]:
    """All pages from this one on."""
    found = []
    while True:
        result = service.get(path, **options)
        found.append(ids(result))
        link = result.headers.get("link")
        if link is None:
            return found
        path = link.partition("<")[2].partition(">")[0]


def upload(service: Any, picture: Any, count: int) -> list[str]:
    """So many finished jobs; their ids, the newest first."""
    made = [service.upload(picture("JPEG", (10 + number, 9))).json["id"] for number in range(count)]
    for job_id in made:
        service.finish(job_id)
    return made[::-1]


# ---- one job -------------------------------------------------------------------------------


def test_a_job_reads_the_same_before_and_after(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg, name="holiday.jpg").json["id"]
    service.finish(job_id, thumbnail=b"the thumbnail")
    before = service.get(f"/jobs/{job_id}")
    service.archive(job_id)
    assert service.get(f"/jobs/{job_id}").json == before.json
    assert service.get(f"/jobs/{job_id}", headers={"Prefer": "wait=5"}).json == before.json
    for path in (f"/thumbnails/{job_id}", f"/thumbnails/{job_id}/default"):
        result = service.get(path)
        assert (result.status_code, result.content) == (200, b"the thumbnail")
        assert "holiday-100x100.jpeg" in result.headers["content-disposition"]
    assert service.get(f"/images/{job_id}").content == jpeg


def test_a_follower_of_a_job_that_became_history_hears_its_end(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id)
    job = service.archive(job_id)
    assert f'"id":"{job_id}"' in service.get(f"/jobs/{job_id}/events").text
    seen = {"Last-Event-ID": job.resource_version}
    assert service.get(f"/jobs/{job_id}/events", headers=seen).status_code == 204


def test_whoever_waits_for_a_job_that_goes_as_soon_as_it_has_ended_sees_its_end(
    service: Any, jpeg: bytes
) -> None:
    job_id = service.upload(jpeg).json["id"]
    pending = ThumbnailJob.parse(service.store.get("thumbnails", job_id))
    service.finish(job_id)
    ended = service.archive(job_id)
    catalogue = Catalogue(service.jobs, History(service.objects))
    assert catalogue.wait_until_finished(pending, 30) == ended
    another = replace(pending, uid="another-of-that-name")
    assert catalogue.wait_until_finished(another, 30) == another
    service.objects.failures["get"] = [ObjectStoreUnavailable()]
    assert catalogue.wait_until_finished(pending, 30) == pending


def test_a_miss_is_one_question_to_the_object_store(service: Any, problem: Any, jpeg: bytes) -> None:
    unknown = "00000000-0000-7000-8000-00000000ffff"
    service.objects.calls.clear()
    problem(service.get(f"/jobs/{unknown}"), 404, "JobNotFound")
    assert service.objects.calls == ["get"]
    service.objects.calls.clear()
    problem(service.get("/jobs/No_Such_Name"), 404, "JobNotFound")
    problem(service.get("/thumbnails/No_Such_Name"), 404, "ThumbnailNotFound")
    assert service.objects.calls == []
    job_id = service.upload(jpeg).json["id"]
    service.objects.calls.clear()
    assert service.get(f"/jobs/{job_id}").status_code == 200
    assert service.objects.calls == []


def test_while_the_object_store_is_away_nobody_says_that_there_is_no_such_job(
    service: Any, problem: Any
) -> None:
    service.objects.failures["get"] = [ObjectStoreUnavailable()]
    problem(service.get("/jobs/00000000-0000-7000-8000-00000000ffff"), 503, "ObjectStoreUnavailable")


# ---- pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("old", [(), (0,), (7,), (5, 6, 7), (0, 2, 4, 6), (1, 3), range(8)])
def test_every_job_is_listed_once_wherever_it_is(
    service: Any, picture: Any, limit: int, old: tuple[int, ...]
) -> None:
    made = upload(service, picture, 8)
    for number in old:
        service.archive(made[number])
    found = pages(service, f"/jobs?limit={limit}")
    assert [job_id for page in found for job_id in page] == made
    assert all(len(page) == limit for page in found[:-1])


def test_jobs_that_move_between_two_pages_are_listed_once(service: Any, picture: Any) -> None:
    made = upload(service, picture, 9)
    found: list[str] = []
    path: str | None = "/jobs?limit=2"
    while path is not None:
        result = service.get(path)
        found += ids(result)
        # One that was listed, one that is to come.
        for job_id in (found[0], made[len(found)] if len(found) < 9 else ""):
            if ("thumbnails", job_id) in service.store.documents:
                service.archive(job_id)
        link = result.headers.get("link")
        path = link.partition("<")[2].partition(">")[0] if link else None
    assert found == made


def test_a_job_that_is_in_both_is_listed_once(service: Any, picture: Any) -> None:
    made = upload(service, picture, 3)
    History(service.objects).put(
        ThumbnailJob.parse(service.store.get("thumbnails", made[1])), with_original=False
    )
    assert ids(service.get("/jobs")) == made
    assert pages(service, "/jobs?limit=1") == [[job_id] for job_id in made]


def test_a_filter_reaches_into_history(service: Any, picture: Any) -> None:
    made = upload(service, picture, 4)
    failed = service.upload(picture("PNG")).json["id"]
    service.fail(failed, "CorruptSource", "The file is damaged.")
    for job_id in (made[0], made[2], failed):
        service.archive(job_id)
    running = service.upload(picture("GIF")).json["id"]
    assert ids(service.get("/jobs?status=complete")) == made
    assert pages(service, "/jobs?status=complete&limit=3") == [made[:3], made[3:]]
    assert ids(service.get("/jobs?status=failed")) == [failed]
    assert ids(service.get("/jobs?status=failed,pending")) == [running, failed]
    assert ids(service.get("/jobs?status=cancelled")) == []


def test_a_batch_reaches_into_history(service: Any, picture: Any) -> None:
    parts = [("image", f"{number}.jpg", picture("JPEG", (20 + number, 9))) for number in range(4)]
    answer = service.post_form(parts).json
    made = [item["id"] for item in answer["items"]][::-1]
    upload(service, picture, 2)
    for job_id in made:
        service.finish(job_id)
    for job_id in made[1:3]:
        service.archive(job_id)
    path = f"/jobs?batch={answer['batchId']}"
    assert ids(service.get(path)) == made
    assert pages(service, f"{path}&limit=1") == [[job_id] for job_id in made]
    assert ids(service.get(f"{path}&status=complete")) == made
    assert ids(service.get(f"{path}&status=failed")) == []


def test_there_are_no_jobs_only_when_history_has_none(service: Any, problem: Any, jpeg: bytes) -> None:
    problem(service.get("/jobs"), 404, "NoJobs")
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id)
    service.archive(job_id)
    assert ids(service.get("/jobs")) == [job_id]
    assert ids(service.get("/jobs?status=failed")) == []
    assert ids(service.get("/jobs?status=pending")) == []
    assert service.request("DELETE", f"/jobs/{job_id}").status_code == 204
    for path in ("/jobs", "/jobs?status=failed", "/jobs?status=pending"):
        problem(service.get(path), 404, "NoJobs")


def test_pages_of_newer_jobs_ask_the_object_store_nothing(service: Any, picture: Any) -> None:
    made = upload(service, picture, 6)
    service.archive(made[-1])
    service.get("/jobs?limit=2")
    service.objects.calls.clear()
    first = service.get("/jobs?limit=2")
    assert ids(first) == made[:2]
    assert service.objects.calls == []
    assert ids(service.get("/jobs?limit=6")) == made
    assert service.objects.calls.count("get") == 1


def test_an_account_without_history_asks_once(service: Any, picture: Any) -> None:
    made = upload(service, picture, 2)
    assert ids(service.get("/jobs")) == made
    service.objects.calls.clear()
    assert ids(service.get("/jobs")) == made
    assert service.objects.calls == []


def test_a_name_that_is_used_again_is_the_newer_job(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id)
    service.archive(job_id)
    document = service.store.create(
        new_manifest(JobKey("thumbnails", job_id), Spec("sources/thumbnails/a.jpg"))
    )
    service.jobs.put(document)
    assert [job["status"] for job in service.get("/jobs").json] == ["pending"]
    assert service.get(f"/jobs/{job_id}").json["status"] == "pending"


def test_a_job_that_became_history_is_not_told_of_as_deleted(make_service: Any, jpeg: bytes) -> None:
    service = make_service(watching=True)
    kept, deleted = (service.upload(jpeg, width=str(width)).json["id"] for width in (10, 20))
    service.finish(kept)
    version = service.get("/events").text.rpartition("id: ")[2].strip()
    job = ThumbnailJob.parse(service.store.get("thumbnails", kept))
    History(service.objects).put(job, with_original=False)
    service.store.delete("thumbnails", kept)
    service.store.delete("thumbnails", deleted)
    text = ""
    while f'"id":"{deleted}"' not in text:
        text = service.get("/events", headers={"Last-Event-ID": version}).text
    assert text.count("event: deleted") == 1
    assert "event: deleted" in text.partition(deleted)[0]


# ---- whose ---------------------------------------------------------------------------------


def test_history_is_its_accounts_own(make_service: Any, by_header: Any, problem: Any, jpeg: bytes) -> None:
    service = make_service(authenticator=by_header)
    job_id = service.post_form([("image", "a.jpg", jpeg)], headers=ALICE).json["id"]
    service.finish(job_id)
    service.archive(job_id)
    assert service.get(f"/jobs/{job_id}", headers=ALICE).status_code == 200
    problem(service.get(f"/jobs/{job_id}", headers=BOB), 404, "JobNotFound")
    problem(service.get(f"/thumbnails/{job_id}", headers=BOB), 404, "ThumbnailNotFound")
    problem(service.get(f"/images/{job_id}", headers=BOB), 404, "ImageNotFound")
    problem(service.get("/jobs", headers=BOB), 404, "NoJobs")
    problem(service.request("DELETE", f"/jobs/{job_id}", headers=BOB), 404, "JobNotFound")
    assert ids(service.get("/jobs", headers=ALICE)) == [job_id]


# ---- deleting ------------------------------------------------------------------------------


def test_deleting_a_job_of_history_writes_a_tombstone_first(service: Any, problem: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    output = service.finish(job_id)
    job = service.archive(job_id)
    assert service.request("DELETE", f"/jobs/{job_id}").status_code == 204
    assert service.objects.calls[-2:] == ["put", "delete"]
    _, content = service.objects.objects[f"tombstones/thumbnails/{job_id}"]
    tombstone = Tombstone.parse(content)
    assert tombstone.uid == job.uid
    left = [key for key in service.objects.objects if key.startswith(history_prefix("thumbnails", "default"))]
    assert left
    assert {job.spec.object_key, output.object_key, *left} <= set(tombstone.keys)
    problem(service.get(f"/jobs/{job_id}"), 404, "JobNotFound")
    problem(service.get(f"/thumbnails/{job_id}"), 404, "ThumbnailNotFound")
    problem(service.get("/jobs"), 404, "NoJobs")
    problem(service.request("DELETE", f"/jobs/{job_id}"), 404, "JobNotFound")


def test_a_job_that_becomes_history_while_it_is_deleted_is_gone(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id)
    put = service.objects.put

    def put_and_archive(key: str, *args: Any, **options: Any) -> str:
        etag: str = put(key, *args, **options)
        if key.startswith("tombstones/") and ("thumbnails", job_id) in service.store.documents:
            service.archive(job_id)
        return etag

    service.objects.put = put_and_archive
    assert service.request("DELETE", f"/jobs/{job_id}").status_code == 204
    problem(service.get(f"/jobs/{job_id}"), 404, "JobNotFound")


# ---- where history begins ------------------------------------------------------------------


class Asked:
    """History as somebody is told of it."""

    def __init__(self, *answers: Position | None) -> None:
        self.answers = list(answers)
        self.heads = HistoryHeads(lambda _caller: self.answers.pop(0))


CALLER = Caller("thumbnails", "default")


def gone(asked: Asked, service: Any, jpeg: bytes) -> ThumbnailJob:
    job_id = service.upload(jpeg).json["id"]
    job = ThumbnailJob.parse(service.store.get("thumbnails", job_id))
    asked.heads.gone(job)
    return job


def test_the_beginning_is_asked_for_once(service: Any, jpeg: bytes) -> None:
    asked = Asked(None)
    gone(asked, service, jpeg)  # before anybody asked: the answer will have it
    assert asked.heads.newest(CALLER) is None
    job = gone(asked, service, jpeg)
    newest = asked.heads.newest(CALLER)
    assert newest == Position(int(job.created.timestamp()), job.key.name)


def test_what_goes_while_somebody_asks_is_not_forgotten(service: Any, jpeg: bytes) -> None:
    asked = Asked()
    jobs: list[ThumbnailJob] = []

    def ask(_caller: Caller) -> None:
        jobs.append(gone(asked, service, jpeg))

    asked.heads = HistoryHeads(ask)
    newest = asked.heads.newest(CALLER)
    assert newest is not None
    assert newest.name == jobs[0].key.name


def test_after_a_relist_it_is_asked_for_again() -> None:
    asked = Asked(Position(1, "a"), Position(2, "b"), None)
    assert asked.heads.newest(CALLER) == Position(1, "a")
    asked.heads.forget()
    assert asked.heads.newest(CALLER) == Position(2, "b")
    asked.heads.forget(CALLER)
    assert asked.heads.newest(CALLER) is None


def test_an_older_job_does_not_move_the_beginning_back(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    created = ThumbnailJob.parse(service.store.get("thumbnails", job_id)).created
    later = Position(int((created + timedelta(days=1)).timestamp()), "later")
    asked = Asked(later)
    assert asked.heads.newest(CALLER) == later
    gone(asked, service, jpeg)
    assert asked.heads.newest(CALLER) == later
