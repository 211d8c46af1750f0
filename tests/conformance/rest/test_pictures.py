"""From an upload to its thumbnails: outputs, formats, presets, and jobs that were made by hand."""

import io
from typing import Any

import pytest
from PIL import Image


def size(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


def test_a_picture_becomes_a_thumbnail(account: Any, picture: Any) -> None:
    original = picture()
    job = account.rendered(original, "width=40&height=30")
    assert size(account.get(job["thumbnailPath"]).content) == (40, 30)
    assert account.get(job["imagePath"]).content == original
    assert account.listed() == [job]


def test_what_is_no_picture_leaves_no_job(account: Any) -> None:
    answer = account.upload(b"Holidays.", **{"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedFormat")
    assert account.get("/jobs").status_code == 404


def test_a_damaged_picture_fails_in_words(account: Any, picture: Any) -> None:
    job_id = account.upload(picture()[:200]).json()["id"]
    job = account.finished(job_id, "failed")
    assert job["error"]["reason"] == "CorruptSource"
    assert job["error"]["message"]
    assert account.get(f"/thumbnails/{job_id}").status_code == 404


def test_a_thumbnail_that_is_not_there_yet_is_not_cached(service: Any, account: Any, picture: Any) -> None:
    job_id = suspended_job(service, account, picture())
    answer = account.get(f"/thumbnails/{job_id}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    service.store.patch_spec(service.shelf.namespace, job_id, {"suspend": False})
    account.finished(job_id)
    assert account.get(f"/thumbnails/{job_id}").status_code == 200


def test_a_preset_gives_outputs_by_name_and_formats_by_what_a_client_accepts(
    account: Any, picture: Any
) -> None:
    job = account.rendered(picture(), "preset=card")
    made = {(output["name"], output["format"]) for output in job["outputs"]}
    assert made == {("small", "png"), ("large", "webp"), ("large", "jpeg")}
    assert all(output["thumbhash"] for output in job["outputs"])
    large = f"/thumbnails/{job['id']}/large"
    for accept, type_ in (("image/webp,*/*", "image/webp"), ("image/jpeg", "image/jpeg")):
        answer = account.get(large, Accept=accept)
        assert answer.headers["Content-Type"] == type_
        assert answer.headers["Vary"] == "Accept"
    assert account.get(f"{large}?format=jpeg").headers["Content-Type"] == "image/jpeg"
    assert size(account.get(f"/thumbnails/{job['id']}/small").content)[0] == 48
    assert account.get(f"/thumbnails/{job['id']}/medium").status_code == 404


def test_equal_jobs_are_rendered_once(service: Any, account: Any, picture: Any) -> None:
    original = picture()
    first, second = (account.rendered(original) for _ in range(2))
    assert first["outputs"][0]["etag"] == second["outputs"][0]["etag"]
    (condition,) = [
        each for each in service.document(second["id"])["status"]["conditions"] if each["type"] == "Complete"
    ]
    assert condition["reason"] == "Cached"


def test_a_job_made_by_hand_is_seen_through_rest(service: Any, account: Any, picture: Any) -> None:
    """As somebody with kubectl makes one: any name, any object of the namespace."""
    name = f"by.hand-{account.name}"
    key = f"sources/{service.shelf.namespace}/elsewhere/{account.name}.png"
    original = picture()
    service.objects.put(key, io.BytesIO(original), len(original), content_type="image/png")
    make_job(service, name, account=account.name, source={"objectKey": key})
    job = account.finished(name)
    assert account.get(job["thumbnailPath"]).status_code == 200
    assert account.get(f"/images/{name}").content == original
    assert account.request("DELETE", f"/jobs/{name}", headers={"Prefer": "wait=60"}).status_code == 204
    assert service.objects.head(key).bytes == len(original)  # it was never this job's


@pytest.mark.parametrize("after_its_end", [False, True])
def test_a_job_can_be_cancelled_until_it_has_ended(
    service: Any, account: Any, picture: Any, after_its_end: bool
) -> None:
    job_id = suspended_job(service, account, picture())
    if after_its_end:
        service.store.patch_spec(service.shelf.namespace, job_id, {"suspend": False})
        account.finished(job_id)
    service.store.patch_spec(service.shelf.namespace, job_id, {"cancel": True})
    account.finished(job_id, "complete" if after_its_end else "cancelled")


def make_job(service: Any, name: str, **spec: Any) -> None:
    service.store.create(
        {
            "apiVersion": "thumbnails.dev/v1alpha1",
            "kind": "ThumbnailJob",
            "metadata": {"name": name, "namespace": service.shelf.namespace},
            "spec": spec,
        }
    )


def suspended_job(service: Any, account: Any, original: bytes) -> str:
    """A job of this account that waits until it is told to go on."""
    name = f"suspended-{account.name}"
    key = f"sources/{service.shelf.namespace}/elsewhere/{name}.png"
    service.objects.put(key, io.BytesIO(original), len(original), content_type="image/png")
    make_job(service, name, account=account.name, source={"objectKey": key}, suspend=True)
    return name
