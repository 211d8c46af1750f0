"""What is deleted is gone: a job with its objects, an account with all it has; and it is said."""

from typing import Any

from thumbnails_common.jobstore import list_all


def objects_of(service: Any, account: Any) -> list[str]:
    mark = f"/{service.shelf.namespace}/{account.name}/"
    return [facts.key for facts in service.objects.list("") if mark in facts.key]


def test_a_deleted_job_leaves_nothing_that_nobody_else_needs(
    service: Any, account: Any, picture: Any
) -> None:
    original = picture()
    first, second = (account.rendered(original) for _ in range(2))  # they share a thumbnail
    wait = {"Prefer": "wait=60"}
    assert account.request("DELETE", f"/jobs/{first['id']}", headers=wait).status_code == 204
    account.is_without(first["id"])
    assert account.get(second["thumbnailPath"]).status_code == 200
    assert account.get(second["imagePath"]).content == original
    assert account.request("DELETE", f"/jobs/{second['id']}", headers=wait).status_code == 204
    account.is_without(second["id"])
    assert objects_of(service, account) == []
    assert account.get("/jobs").json()["reason"] == "NoJobs"


def test_an_account_goes_with_all_it_has(service: Any, account: Any, picture: Any, eventually: Any) -> None:
    rival = service.new_account()
    theirs = rival.rendered(picture())
    kept = account.rendered(picture())["id"]
    history = account.rendered(picture(), "ttlSecondsAfterFinished=0")["id"]
    account.has_left_the_store(history)
    batch = account.upload_batch([picture() for _ in range(3)], **{"Idempotency-Key": '"of-all"'}).json()
    path = f"/accounts/{account.name}"
    assert rival.request("DELETE", path).status_code == 404
    assert account.request("DELETE", path).status_code == 202
    assert account.upload(picture()).json()["reason"] == "AccountBeingErased"
    eventually(lambda: account.get(f"{path}/erasure").json()["status"] == "done", "it is said to be done")
    for job_id in (kept, history, *(item["id"] for item in batch["items"])):
        account.is_without(job_id)
        assert account.get(f"/thumbnails/{job_id}").status_code == 404
    assert account.get("/jobs").json()["reason"] == "NoJobs"
    assert [key for key in objects_of(service, account) if not key.startswith("erasures/done/")] == []
    left = list_all(service.store, service.shelf.namespace).items
    assert account.name not in {document["spec"].get("account") for document in left}
    assert rival.get(theirs["thumbnailPath"]).status_code == 200
    account.rendered(picture())  # the name is free again
