"""Signed links: who has one sees that thumbnail until it expires, and nothing else."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.links import Grant, LinkSigner
from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.errors import InvalidLink, Unauthorized

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SECRET, OTHER = "s" * 32, "o" * 32
SIGNER = LinkSigner.from_text(SECRET)
CALLER = Caller("thumbnails", "default")
EPOCH = int(NOW.timestamp())


def verify(link: str, signer: LinkSigner = SIGNER, now: float = EPOCH) -> Grant:
    parts = urlsplit(link)
    return signer.verify(parts.path, parse_qsl(parts.query, keep_blank_values=True), now)


def changed(link: str, **changes: str | None) -> str:
    """The link with other parameters; None takes one away."""
    parts = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    return f"{parts.path}?{urlencode({name: text for name, text in query.items() if text is not None})}"


LINK = SIGNER.sign("/thumbnails/abc/large", "webp", CALLER, EPOCH + 60)


def test_a_link_is_good_for_its_account_until_it_expires() -> None:
    assert verify(LINK) == Grant(CALLER, 60)
    assert verify(LINK, now=EPOCH + 59.9) == Grant(CALLER, 1)
    with pytest.raises(InvalidLink):
        verify(LINK, now=EPOCH + 60)


@pytest.mark.parametrize(
    "link",
    [
        LINK.replace("/abc/", "/abd/"),
        LINK.replace("/abc/large", "/abc"),
        LINK.replace("/large", "/small"),
        LINK.replace("/thumbnails/", "/images/"),
        changed(LINK, format="jpeg"),
        changed(LINK, format=None),
        changed(LINK, expires=str(EPOCH + 61)),
        changed(LINK, expires=f"0{EPOCH + 60}"),
        changed(LINK, expires=f"+{EPOCH + 60}"),
        changed(LINK, expires="9" * 50),
        changed(LINK, expires=None),
        changed(LINK, owner="thumbnails.rival"),
        changed(LINK, owner="elsewhere.default"),
        changed(LINK, owner="thumbnails"),
        changed(LINK, owner=None),
        changed(LINK, signature="A" * 43),
        changed(LINK, signature=""),
        changed(LINK, signature="é"),
        changed(LINK, more="1"),
        LINK + "&format=jpeg",
        LINK + "=",
        LINK[:-1],
    ],
)
def test_a_link_that_was_changed_in_any_way_is_none(link: str) -> None:
    with pytest.raises(InvalidLink):
        verify(link)


def test_parts_cannot_be_moved_from_one_to_another() -> None:
    link = SIGNER.sign("/thumbnails/abc", "a&owner=thumbnails.rival", CALLER, EPOCH + 60)
    signature = parse_qs(urlsplit(link).query)["signature"][0]
    forged = f"/thumbnails/abc?format=a&owner=thumbnails.rival&expires={EPOCH + 60}&signature={signature}"
    with pytest.raises(InvalidLink):
        verify(forged)


def test_a_secret_is_replaced_by_putting_a_new_one_before_it() -> None:
    both = LinkSigner.from_text(f"{OTHER}\n{SECRET}\n")
    assert verify(LINK, both) == verify(LINK)
    new = both.sign("/thumbnails/abc", None, CALLER, EPOCH + 60)
    assert verify(new, LinkSigner.from_text(OTHER)) == Grant(CALLER, 60)
    with pytest.raises(InvalidLink):
        verify(new)
    with pytest.raises(InvalidLink):
        verify(LINK, LinkSigner())


def test_secrets_are_long_and_not_shown() -> None:
    assert LinkSigner.from_environment({}).secrets == ()
    signer = LinkSigner.from_environment({"THUMBNAILS_LINK_SECRET": f"{SECRET} {OTHER}"})
    assert signer.secrets == (SECRET.encode(), OTHER.encode())
    assert SECRET not in repr(signer)
    with pytest.raises(InvalidSetting, match=r"^THUMBNAILS_LINK_SECRET: must hold secrets of 32") as caught:
        LinkSigner.from_environment({"THUMBNAILS_LINK_SECRET": f"{SECRET} short-one"})
    assert "short-one" not in str(caught.value)


# ---- over HTTP ----


class Login:
    """Whoever says an account's name has its key."""

    requires_login = True

    def authenticate(self, authorization: str | None) -> Access:
        if not authorization:
            raise Unauthorized
        return Access(Caller("thumbnails", authorization))

    glance = authenticate

    def check(self) -> None:
        pass


@pytest.fixture
def service(make_service: Any) -> Any:
    return make_service(authenticator=Login(), signer=SIGNER, clock=lambda: NOW)


AUTHORIZED = {"Authorization": "default"}


@pytest.fixture
def job_id(service: Any, jpeg: bytes) -> str:
    headers = AUTHORIZED | {"Content-Type": "image/jpeg"}
    answer = service.request("POST", "/images?width=50", body=jpeg, headers=headers)
    return str(answer.json["id"])


def links(service: Any, job_id: str, query: str = "", **headers: str) -> Any:
    return service.get(f"/jobs/{job_id}/links{query}", headers=AUTHORIZED | headers)


def test_an_img_needs_no_key(service: Any, job_id: str) -> None:
    answer = links(service, job_id, "?seconds=600")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["expiresAt"] == "2026-11-24T06:10:00Z"
    path = answer.json["thumbnailPath"]
    assert [each["name"] for each in answer.json["outputs"]] == ["default"]

    early = service.get(path)
    assert (early.status_code, early.headers["cache-control"]) == (404, "no-store")
    service.finish(job_id)
    for each in (path, answer.json["outputs"][0]["path"]):
        shown = service.get(each)
        assert (shown.status_code, shown.content) == (200, b"thumbnail")
        assert shown.headers["cache-control"] == "public, max-age=600, immutable"
        assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
    unchanged = service.get(path, headers={"If-None-Match": shown.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["cache-control"]) == (
        304,
        "public, max-age=600, immutable",
    )
    part = service.get(path, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"thum")
    assert service.request("HEAD", path).status_code == 200


def test_with_a_key_a_thumbnail_stays_private(service: Any, job_id: str) -> None:
    service.finish(job_id)
    shown = service.get(f"/thumbnails/{job_id}", headers=AUTHORIZED)
    assert shown.headers["cache-control"].startswith("private")
    assert shown.headers["cross-origin-resource-policy"] == "same-site"


def test_each_format_of_an_output_has_a_link(service: Any, jpeg: bytes) -> None:
    headers = AUTHORIZED | {"Content-Type": "image/jpeg"}
    job = service.request("POST", "/images?format=jpeg,webp", body=jpeg, headers=headers)
    outputs = links(service, job.json["id"]).json["outputs"]
    assert [(each["name"], each["format"]) for each in outputs] == [
        ("default", None),
        ("default", "jpeg"),
        ("default", "webp"),
    ]


def test_a_link_to_nothing_else_and_for_nothing_else(service: Any, job_id: str, problem: Any) -> None:
    service.finish(job_id)
    path = links(service, job_id).json["thumbnailPath"]
    query = urlsplit(path).query
    for other in (f"/thumbnails/{job_id}/default", "/thumbnails/00000000-0000-7000-8000-0000000000ff"):
        problem(service.get(f"{other}?{query}"), 403, "InvalidLink")
    for other in (f"/jobs/{job_id}", f"/images/{job_id}", f"/jobs/{job_id}/links", "/jobs", "/events"):
        problem(service.get(f"{other}?{query}"), 401, "Unauthorized")
    assert service.request("DELETE", path).status_code == 401
    assert service.request("DELETE", f"/jobs/{job_id}?{query}").status_code == 401
    # With a key of somebody else it is a link still, and a broken one is no key.
    assert service.get(path, headers={"Authorization": "rival"}).status_code == 200
    assert service.get(changed(path, expires="1"), headers=AUTHORIZED).status_code == 403


def test_an_expired_link_is_403_whether_there_is_a_job_or_not(make_service: Any, jpeg: bytes) -> None:
    now = [NOW]
    service = make_service(authenticator=Login(), signer=SIGNER, clock=lambda: now[0])
    headers = AUTHORIZED | {"Content-Type": "image/jpeg"}
    job_id = service.request("POST", "/images", body=jpeg, headers=headers).json["id"]
    service.finish(job_id)
    path = links(service, job_id, "?seconds=60").json["thumbnailPath"]
    assert service.get(path).status_code == 200
    now[0] += timedelta(seconds=60)
    calls = len(service.store.calls)
    assert service.get(path).json["reason"] == "InvalidLink"
    assert (
        service.get(re.sub("/thumbnails/[^?]*", "/thumbnails/nobody-s", path)).json["reason"] == "InvalidLink"
    )
    assert len(service.store.calls) == calls


def test_a_deleted_job_s_link_shows_nothing(service: Any, job_id: str) -> None:
    service.finish(job_id)
    path = links(service, job_id).json["thumbnailPath"]
    assert service.request("DELETE", f"/jobs/{job_id}", headers=AUTHORIZED).status_code == 204
    assert service.get(path).status_code == 404


def test_others_get_no_links(service: Any, job_id: str, problem: Any) -> None:
    problem(service.get(f"/jobs/{job_id}/links", headers={"Authorization": "rival"}), 404, "JobNotFound")
    problem(service.get(f"/jobs/{job_id}/links"), 401, "Unauthorized")


@pytest.mark.parametrize(
    "query", ["?seconds=0", "?seconds=604801", "?seconds=x", "?seconds=1&seconds=2", "?days=1"]
)
def test_links_do_not_live_longer_than_is_set(service: Any, job_id: str, problem: Any, query: str) -> None:
    problem(links(service, job_id, query), 400, "InvalidOption")


def test_a_service_may_give_out_no_links(make_service: Any, jpeg: bytes, problem: Any) -> None:
    service = make_service(signer=SIGNER, link_max_seconds=0)
    job_id = service.upload(jpeg).json["id"]
    problem(service.get(f"/jobs/{job_id}/links"), 404, "NotFound")
    link = SIGNER.sign(f"/thumbnails/{job_id}", None, CALLER, EPOCH + 60)
    problem(service.get(link), 403, "InvalidLink")
