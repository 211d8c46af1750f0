"""The REST contract on a cluster: what clients of the single-process service know, and more."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("installation")]
MISSING = "01890000-0000-7000-8000-000000000000"
Photo = Callable[..., bytes]


def opened(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def assert_problem(answer: Any, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["reason"] == reason


def test_nothing_is_answered_without_a_key(installation: Any) -> None:
    assert_problem(installation.request("GET", "/jobs", key="tn_wrong"), 401, "Unauthorized")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
def test_an_upload_becomes_a_thumbnail_in_its_own_format(
    installation: Any, photo: Photo, format_: str
) -> None:
    answer = installation.post(photo(format_=format_))
    assert answer.status_code == 201, answer.text
    job = installation.wait_job(answer.json()["id"])
    assert job["status"] == "complete", job
    with opened(installation.request("GET", job["thumbnailPath"])) as thumbnail:
        assert (thumbnail.size, thumbnail.format) == ((100, 100), format_)


def test_a_tiff_becomes_what_browsers_show(installation: Any, photo: Photo) -> None:
    job = installation.wait_job(installation.post(photo(format_="TIFF")).json()["id"])
    with opened(installation.request("GET", job["thumbnailPath"])) as thumbnail:
        assert thumbnail.format == "JPEG"


def test_what_is_no_picture_is_refused(installation: Any) -> None:
    assert_problem(installation.post(b"not a picture", name="a.jpg"), 415, "UnsupportedFormat")
    assert_problem(installation.request("POST", "/images", data={"width": "10"}), 400, "MissingImage")
    assert_problem(installation.request("POST", "/images", files={"image": ("", b"")}), 400, "MissingImage")


def test_what_is_not_there_is_404(installation: Any) -> None:
    assert_problem(installation.request("GET", f"/jobs/{MISSING}"), 404, "JobNotFound")
    assert_problem(installation.request("GET", "/jobs/Not%20an%20id"), 404, "JobNotFound")
    assert_problem(installation.request("GET", f"/thumbnails/{MISSING}"), 404, "ThumbnailNotFound")


def test_a_damaged_picture_fails_for_a_reason(installation: Any, photo: Photo) -> None:
    whole = photo(1200, 900, "PNG")
    job = installation.wait_job(installation.post(whole[: len(whole) // 2]).json()["id"])
    assert job["status"] == "failed"
    assert job["error"]["reason"] == "CorruptSource" and job["error"]["message"]
    assert_problem(installation.request("GET", f"/thumbnails/{job['id']}"), 404, "ThumbnailNotFound")


def test_options_and_the_answer_that_waits(installation: Any, photo: Photo) -> None:
    answer = installation.request(
        "POST",
        "/images?width=80&fit=contain&height=80&background=%23ff0000&format=png",
        data=photo(200, 100),
        headers={"Content-Type": "image/jpeg", "Prefer": "wait=30"},
    )
    assert answer.status_code == 201 and answer.headers["Preference-Applied"] == "wait=30"
    assert answer.json()["status"] == "complete"
    with opened(installation.request("GET", answer.json()["thumbnailPath"])) as thumbnail:
        assert (thumbnail.size, thumbnail.format) == ((80, 80), "PNG")
        assert thumbnail.convert("RGB").getpixel((40, 2)) == (255, 0, 0)


def test_a_batch_with_a_bad_one(installation: Any, photo: Photo) -> None:
    files = [("image", (f"{number}.jpg", photo())) for number in range(2)]
    files.insert(1, ("image", ("notes.txt", b"text")))
    answer = installation.request("POST", "/images", files=files)
    assert answer.status_code == 207
    first, bad, last = answer.json()["items"]
    assert bad["reason"] == "UnsupportedFormat"
    for job in (first, last):
        assert installation.wait_job(job["id"])["status"] == "complete"


def test_conditions_and_ranges(installation: Any, photo: Photo) -> None:
    path = installation.wait_job(installation.post(photo()).json()["id"])["thumbnailPath"]
    whole = installation.request("GET", path)
    etag = whole.headers["ETag"]
    assert installation.request("GET", path, headers={"If-None-Match": etag}).status_code == 304
    part = installation.request("GET", path, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])


def test_jobs_are_listed_newest_first_and_can_be_deleted(
    installation: Any, photo: Photo, eventually: Callable[..., Any]
) -> None:
    older, newer = (installation.wait_job(installation.post(photo()).json()["id"]) for _ in range(2))
    listed = [job["id"] for job in installation.request("GET", "/jobs?status=complete").json()]
    assert listed.index(newer["id"]) < listed.index(older["id"])
    (output,) = installation.job_resource(older["id"])["status"]["outputs"]
    assert output["objectKey"] in {facts.key for facts in installation.objects.list("thumbnails/")}
    assert installation.request("DELETE", f"/jobs/{older['id']}").status_code == 204
    assert_problem(installation.request("GET", f"/jobs/{older['id']}"), 404, "JobNotFound")
    assert_problem(installation.request("GET", older["thumbnailPath"]), 404, "ThumbnailNotFound")
    eventually(
        lambda: output["objectKey"] not in {facts.key for facts in installation.objects.list("thumbnails/")},
        f"{output['objectKey']} is removed",
    )


def test_equal_uploads_are_rendered_once(installation: Any, photo: Photo) -> None:
    picture = photo()
    first, second = (installation.wait_job(installation.post(picture).json()["id"]) for _ in range(2))
    conditions = installation.job_resource(second["id"])["status"]["conditions"]
    assert {each["type"]: each["reason"] for each in conditions}["Complete"] == "Cached"
    assert first["outputs"][0]["etag"] == second["outputs"][0]["etag"]


def test_an_account_sees_its_own_jobs_only(installation: Any, photo: Photo, eventually: Any) -> None:
    key = installation.new_key("rival")
    job = installation.post(photo()).json()["id"]
    installation.wait_job(job)

    def known() -> bool:
        return bool(installation.request("GET", "/jobs", key=key).status_code != 401)

    eventually(known, "the replica knows the key")
    for path in (f"/jobs/{job}", f"/thumbnails/{job}", f"/images/{job}"):
        assert installation.request("GET", path, key=key).status_code == 404
    assert installation.request("DELETE", f"/jobs/{job}", key=key).status_code == 404
    assert_problem(installation.request("GET", "/jobs", key=key), 404, "NoJobs")
    assert installation.request("GET", f"/jobs/{job}").status_code == 200
