"""The REST contract to the letter, on the running service: every sentence that a client relies on."""

import io
import time
from typing import Any

import pytest
import requests
from PIL import Image

FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
}


def problem(answer: requests.Response) -> str:
    """The reason in a problem document, which every error must be."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"]
    assert body["title"]
    assert body["detail"]
    reason: str = body["reason"]
    return reason


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_becomes_a_thumbnail(client: Any, photo: Any, format_: str) -> None:
    picture = client.render(photo(320, 200, format_), FORMATS[format_])
    assert picture.size == (100, 100)
    assert picture.format == ("JPEG" if format_ == "TIFF" else format_)


def test_a_job_from_post_to_thumbnail(client: Any, photo: Any) -> None:
    answer = client.request("POST", "/images", files={"image": ("a.jpg", photo(), "image/jpeg")})
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["Location"].endswith(f"/jobs/{job['id']}")
    assert job["status"] in {"pending", "processing", "complete"}
    assert job["imagePath"] == f"/images/{job['id']}"
    deadline = time.monotonic() + 30
    while job["status"] != "complete" and time.monotonic() < deadline:
        assert job["thumbnailPath"] is None
        time.sleep(0.02)
        job = client.get(f"/jobs/{job['id']}").json()
    assert job["thumbnailPath"] == f"/thumbnails/{job['id']}"
    assert job["createdAt"].endswith("Z")
    (output,) = job["outputs"]
    assert (output["width"], output["height"], output["contentType"]) == (100, 100, "image/jpeg")
    thumbnail = client.get(job["thumbnailPath"])
    assert thumbnail.status_code == 200
    assert len(thumbnail.content) == output["bytes"]
    assert Image.open(io.BytesIO(thumbnail.content)).size == (100, 100)


def test_the_list_has_the_newest_first(client: Any, photo: Any) -> None:
    first = client.post_image(photo()).json()["id"]
    second = client.post_image(photo()).json()["id"]
    listed = client.get("/jobs")
    assert listed.status_code == 200
    ids = [job["id"] for job in listed.json()]
    assert ids.index(second) < ids.index(first)


def test_what_is_no_picture_is_a_415(client: Any) -> None:
    answer = client.post_image(b"these are notes, not a picture\n" * 50, "text/plain", name="notes.txt")
    assert (answer.status_code, problem(answer)) == (415, "UnsupportedFormat")
    disguised = client.post_image(b"%PDF-1.7\n" + b"x" * 2000, "image/jpeg", name="photo.jpg")
    assert (disguised.status_code, problem(disguised)) == (415, "UnsupportedFormat")


def test_a_picture_under_a_wrong_type_is_taken_for_what_it_is(client: Any, photo: Any) -> None:
    answer = client.post_image(photo(format_="PNG"), "image/jpeg", name="photo.jpg")
    assert answer.status_code == 201
    assert answer.json()["outputs"][0]["contentType"] == "image/png"


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {"width": "10"}},
        {"files": {"picture": ("a.jpg", b"x", "image/jpeg")}},
        {"files": {"image": ("a.jpg", b"", "image/jpeg")}},
        {"data": b"", "headers": {"Content-Type": "image/jpeg"}},
        {},
    ],
    ids=["a form without files", "another part", "an empty part", "an empty body", "nothing"],
)
def test_no_image_is_a_400(client: Any, request_: dict[str, Any]) -> None:
    answer = client.request("POST", "/images", **request_)
    assert answer.status_code == 400
    assert problem(answer) in {"MissingImage", "InvalidOption", "InvalidRequest"}


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/123",
        "/jobs/0199a3f0-0000-7000-8000-000000000000",
        "/jobs/..%2f..",
        "/thumbnails/123",
        "/thumbnails/UPPER",
        "/images/123",
        "/nowhere",
    ],
)
def test_what_is_not_there_is_a_404(client: Any, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert problem(answer)


def test_a_thumbnail_that_failed_is_a_404_and_its_job_says_why(client: Any, photo: Any) -> None:
    job = client.post_image(photo()[:5000]).json()
    assert job["status"] == "failed"
    assert job["error"]["reason"] == "CorruptSource"
    assert job["error"]["message"]
    assert job["thumbnailPath"] is None
    answer = client.get(f"/thumbnails/{job['id']}")
    assert (answer.status_code, problem(answer)) == (404, "ThumbnailNotFound")
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_body_itself_may_be_the_picture(client: Any, photo: Any) -> None:
    answer = client.request(
        "POST",
        "/images?width=40&height=30&format=webp",
        data=photo(),
        headers={"Content-Type": "image/jpeg", "Prefer": "wait=30"},
    )
    assert answer.status_code == 201
    (output,) = answer.json()["outputs"]
    assert (output["width"], output["height"], output["contentType"]) == (40, 30, "image/webp")


def test_several_pictures_in_one_request(client: Any, photo: Any) -> None:
    answer = client.request(
        "POST",
        "/images",
        files=[
            ("image", ("a.jpg", photo(), "image/jpeg")),
            ("image", ("notes.txt", b"notes" * 100, "text/plain")),
            ("image", ("b.png", photo(format_="PNG"), "image/png")),
        ],
    )
    assert answer.status_code == 207
    body = answer.json()
    assert body["batchId"]
    first, second, third = body["items"]
    assert second["reason"] == "UnsupportedFormat"
    for item in (first, third):
        assert client.get(f"/jobs/{item['id']}").status_code == 200


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"width": "abc"}, "width"),
        ({"width": "0"}, "width"),
        ({"width": "5000"}, "width"),
        ({"fit": "squeeze"}, "fit"),
        ({"format": "bmp"}, "format"),
        ({"quality": "101"}, "quality"),
        ({"background": "red"}, "background"),
        ({"webhookUrl": "ftp://example.com"}, "webhookUrl"),
        ({"widht": "10"}, "width"),
    ],
)
def test_a_wrong_option_is_named(client: Any, photo: Any, fields: dict[str, str], name: str) -> None:
    answer = client.post_image(photo(), **fields)
    assert (answer.status_code, problem(answer)) == (400, "InvalidOption")
    assert name in answer.json()["detail"]


def test_a_picture_over_the_pixel_limit_is_a_422_before_anything_is_stored(client: Any, photo: Any) -> None:
    before = len(client.get("/jobs?limit=1000").json())
    bomb = bytearray(photo(16, 16, "PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    answer = client.post_image(bytes(bomb), "image/png")
    assert (answer.status_code, problem(answer)) == (422, "SourceTooLarge")
    assert len(client.get("/jobs?limit=1000").json()) == before


def test_conditional_and_range_requests(client: Any, photo: Any) -> None:
    path = client.post_image(photo()).json()["thumbnailPath"]
    whole = client.get(path)
    etag = whole.headers["ETag"]
    assert etag.startswith('"')
    assert "immutable" in whole.headers["Cache-Control"]
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    unchanged = client.get(path, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    beyond = client.get(path, headers={"Range": "bytes=999999-"})
    assert beyond.status_code == 416
    head = client.request("HEAD", path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole.content)))


def test_a_deleted_job_is_gone(client: Any, photo: Any) -> None:
    job = client.post_image(photo()).json()
    assert client.request("DELETE", f"/jobs/{job['id']}").status_code == 204
    for path in (f"/jobs/{job['id']}", job["thumbnailPath"], job["imagePath"]):
        assert client.get(path).status_code == 404
    assert client.request("DELETE", f"/jobs/{job['id']}").status_code == 404


def test_the_original_comes_back_as_it_was(client: Any, photo: Any) -> None:
    data = photo()
    job = client.post_image(data).json()
    answer = client.get(job["imagePath"])
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Type"] == "image/jpeg"


def test_equal_pictures_are_rendered_once(client: Any, photo: Any) -> None:
    data = photo()
    first, second = client.post_image(data).json(), client.post_image(data).json()
    assert first["id"] != second["id"]
    assert first["outputs"][0]["etag"] == second["outputs"][0]["etag"]
    # The thumbnail is shared: deleting one job leaves the other's.
    client.request("DELETE", f"/jobs/{first['id']}")
    assert client.get(second["thumbnailPath"]).status_code == 200


def test_pages_of_other_origins_are_refused(client: Any, photo: Any) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        answer = client.request(
            "POST", "/images", files={"image": ("a.jpg", photo(), "image/jpeg")}, headers=headers
        )
        assert (answer.status_code, problem(answer)) == (403, "ForbiddenOrigin"), headers


def test_health(client: Any) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_wrong_method_is_a_405(client: Any) -> None:
    answer = client.request("PUT", "/images")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert problem(answer)
