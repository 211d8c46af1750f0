"""Thumbnails from the object store itself: who is sent there, with which address, for how long."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from thumbnails_api.links import LinkSigner

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@pytest.fixture
def service(make_service: Callable[..., Any]) -> Any:
    return make_service(redirect_seconds=300, signer=LinkSigner.from_text("s" * 32), clock=lambda: NOW)


@pytest.fixture
def done(service: Any, jpeg: bytes) -> str:
    job_id: str = service.upload(jpeg, name="holiday.jpg").json["id"]
    service.finish(job_id)
    service.objects.calls.clear()
    return job_id


def query_of(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def test_a_client_is_sent_to_the_object_store(service: Any, done: str) -> None:
    result = service.get(f"/thumbnails/{done}")
    assert (result.status_code, result.content) == (307, b"")
    location = result.headers["location"]
    assert location.startswith(f"https://pictures.example.com/thumbnails/thumbnails/default/identity/{done}?")
    assert query_of(location) == {
        "expires": "300",
        "content_type": "image/jpeg",
        "content_disposition": 'inline; filename="holiday-100x100.jpeg"',
        "cache_control": "private, max-age=31536000, immutable",
    }
    assert service.objects.calls == ["presign_download"]


def test_the_answer_may_be_kept_for_less_than_the_address_is_valid(service: Any, done: str) -> None:
    headers = service.get(f"/thumbnails/{done}").headers
    assert headers["cache-control"] == "private, max-age=150"
    assert "etag" not in headers
    assert "content-disposition" not in headers
    assert headers["vary"] == "Sec-Fetch-Site, Prefer"


@pytest.mark.parametrize(("seconds", "valid", "kept"), [(10, "10", 5), (4000, "300", 150), (1, "1", 0)])
def test_a_signed_link_does_not_live_on_in_the_address(
    service: Any, done: str, seconds: int, valid: str, kept: int
) -> None:
    link = service.get(f"/jobs/{done}/links?seconds={seconds}").json["thumbnailPath"]
    result = service.get(link)
    assert query_of(result.headers["location"])["expires"] == valid
    assert result.headers["cache-control"] == f"public, max-age={kept}"


def test_a_copy_that_is_still_good_is_a_304(service: Any, done: str) -> None:
    result = service.get(f"/thumbnails/{done}", headers={"If-None-Match": "*"})
    assert (result.status_code, result.headers["vary"]) == (304, "Sec-Fetch-Site, Prefer")
    assert service.get(f"/thumbnails/{done}", headers={"If-Match": '"x"'}).status_code == 412
    assert service.objects.calls == []


def test_head_and_the_page_are_answered_here(service: Any, done: str) -> None:
    assert service.request("HEAD", f"/thumbnails/{done}").status_code == 200
    result = service.get(f"/thumbnails/{done}", headers={"Sec-Fetch-Site": "same-origin"})
    assert (result.status_code, result.content) == (200, b"thumbnail")
    for prefer in ("no-redirect", "wait=1, No-Redirect"):
        assert service.get(f"/thumbnails/{done}", headers={"Prefer": prefer}).status_code == 200
    elsewhere = service.get(f"/thumbnails/{done}", headers={"Sec-Fetch-Site": "same-site"})
    assert elsewhere.status_code == 307


def test_who_may_not_see_it_is_sent_nowhere(service: Any, done: str, problem: Any) -> None:
    problem(service.get("/thumbnails/unknown"), 404, "ThumbnailNotFound")
    assert service.request("DELETE", f"/jobs/{done}").status_code == 204
    problem(service.get(f"/thumbnails/{done}"), 404, "ThumbnailNotFound")


def test_a_type_that_is_not_ours_is_no_page_there_either(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id, content_type="text/html")
    location = service.get(f"/thumbnails/{job_id}").headers["location"]
    assert query_of(location)["content_type"] == "application/octet-stream"


def test_the_description_says_so_only_where_it_happens(
    service: Any, make_service: Callable[..., Any]
) -> None:
    def statuses(each: Any) -> set[str]:
        return set(each.get("/openapi.json").json["paths"]["/thumbnails/{job_id}"]["get"]["responses"])

    assert statuses(service) - statuses(make_service()) == {"307"}
