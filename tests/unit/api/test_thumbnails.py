"""GET /thumbnails/{id}: the contract, conditional and range requests, headers, broken stores."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Status

COMPLETE = Condition(ConditionType.COMPLETE, True, "Rendered", "", datetime(2026, 11, 24, tzinfo=UTC))
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def done(service: Any, jpeg: bytes) -> Any:
    """A finished job: its id and output."""
    job_id = service.upload(jpeg, name="holiday.jpg").json["id"]
    return job_id, service.finish(job_id, thumbnail=CONTENT)


def test_the_thumbnail_is_served(service: Any, done: Any) -> None:
    job_id, output = done
    result = service.get(f"/thumbnails/{job_id}")
    assert result.status_code == 200
    assert result.content == CONTENT
    headers = result.headers
    assert headers["content-type"] == "image/jpeg"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["etag"] == f'"{output.etag}"'
    assert headers["cache-control"] == "private, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["content-disposition"] == 'inline; filename="holiday-100x100.jpeg"'
    assert headers["accept-ranges"] == "bytes"
    assert all(body.closed for body in service.objects.bodies)


def test_head_says_the_same_without_the_bytes(service: Any, done: Any) -> None:
    job_id, _ = done
    get, head = service.get(f"/thumbnails/{job_id}"), service.request("HEAD", f"/thumbnails/{job_id}")
    assert head.status_code == 200
    assert head.content == b""
    same = {"etag", "content-length", "content-type", "cache-control", "content-disposition"}
    assert {name: head.headers[name] for name in same} == {name: get.headers[name] for name in same}
    assert service.objects.calls.count("get") == 1


def test_head_asks_nothing_of_the_store(service: Any, done: Any) -> None:
    job_id, output = done
    service.objects.calls.clear()
    head = service.request("HEAD", f"/thumbnails/{job_id}")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    assert head.headers["etag"] == f'"{output.etag}"'
    conditional = service.request("HEAD", f"/thumbnails/{job_id}", headers={"If-None-Match": "*"})
    assert conditional.status_code == 304
    assert service.objects.calls == []


@pytest.mark.parametrize("path", ["/thumbnails/123", "/thumbnails/NOT-A-NAME", "/thumbnails/123/default"])
def test_an_invalid_or_unknown_id_is_404(service: Any, problem: Any, path: Any) -> None:
    problem(service.get(path), 404, "ThumbnailNotFound")


def test_a_thumbnail_that_is_not_there_yet_is_404_and_not_cached(
    service: Any, problem: Any, jpeg: bytes
) -> None:
    job_id = service.upload(jpeg).json["id"]
    problem(service.get(f"/thumbnails/{job_id}"), 404, "ThumbnailNotFound")


def test_a_thumbnail_whose_object_is_gone_is_404(service: Any, problem: Any, done: Any) -> None:
    job_id, output = done
    del service.objects.objects[output.object_key]
    result = service.get(f"/thumbnails/{job_id}")
    problem(result, 404, "ThumbnailNotFound")
    problem_headers = {"etag", "content-disposition"} & set(result.headers)
    assert not problem_headers


@pytest.mark.parametrize("tags", ['"{etag}"', 'W/"{etag}"', '"other", "{etag}"', "*"])
def test_if_none_match_is_304_without_the_store(service: Any, done: Any, tags: Any) -> None:
    job_id, output = done
    service.objects.calls.clear()
    tag = tags.format(etag=output.etag)
    result = service.get(f"/thumbnails/{job_id}", headers={"If-None-Match": tag})
    assert (result.status_code, result.content) == (304, b"")
    assert result.headers["etag"] == f'"{output.etag}"'
    assert "immutable" in result.headers["cache-control"]
    assert service.objects.calls == []


def test_another_tag_gets_the_whole(service: Any, done: Any) -> None:
    job_id, _ = done
    assert service.get(f"/thumbnails/{job_id}", headers={"If-None-Match": '"x"'}).status_code == 200


def test_if_match(service: Any, problem: Any, done: Any) -> None:
    job_id, output = done
    path = f"/thumbnails/{job_id}"
    assert service.get(path, headers={"If-Match": f'"{output.etag}"'}).status_code == 200
    problem(service.get(path, headers={"If-Match": '"x"'}), 412, "PreconditionFailed")
    problem(service.get(path, headers={"If-Match": f'W/"{output.etag}"'}), 412, "PreconditionFailed")


@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, 1023),
        ("bytes=-5", 1019, 1023),
        ("bytes=-5000", 0, 1023),
        ("bytes=1000-99999", 1000, 1023),
        ("bytes=5-5", 5, 5),
    ],
)
def test_a_range(service: Any, done: Any, range_: Any, first: Any, last: Any) -> None:
    job_id, _ = done
    result = service.get(f"/thumbnails/{job_id}", headers={"Range": range_})
    assert result.status_code == 206
    assert result.content == CONTENT[first : last + 1]
    assert result.headers["content-range"] == f"bytes {first}-{last}/1024"
    assert result.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize("range_", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_past_the_end_is_416(service: Any, problem: Any, done: Any, range_: Any) -> None:
    job_id, _ = done
    result = service.get(f"/thumbnails/{job_id}", headers={"Range": range_})
    problem(result, 416, "RangeNotSatisfiable")
    assert result.headers["content-range"] == "bytes */1024"


@pytest.mark.parametrize(
    "range_", ["bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b"]
)
def test_what_is_no_single_range_gets_the_whole(service: Any, done: Any, range_: Any) -> None:
    job_id, _ = done
    result = service.get(f"/thumbnails/{job_id}", headers={"Range": range_})
    assert (result.status_code, result.content) == (200, CONTENT)


def test_if_range(service: Any, done: Any) -> None:
    job_id, output = done
    path, range_ = f"/thumbnails/{job_id}", {"Range": "bytes=0-9"}
    assert service.get(path, headers=range_ | {"If-Range": f'"{output.etag}"'}).status_code == 206
    assert service.get(path, headers=range_ | {"If-Range": '"x"'}).status_code == 200
    assert service.get(path, headers=range_ | {"If-Range": f'W/"{output.etag}"'}).status_code == 200
    assert (
        service.get(path, headers=range_ | {"If-Range": "Tue, 24 Nov 2026 06:00:00 GMT"}).status_code == 200
    )


def test_a_range_of_an_object_that_was_written_anew_is_the_whole_new_one(service: Any, done: Any) -> None:
    job_id, output = done
    facts, _ = service.objects.objects[output.object_key]
    fresh = b"other bytes"
    changed = type(facts)(facts.key, "new-etag", len(fresh), facts.last_modified, facts.content_type)
    service.objects.objects[output.object_key] = (changed, fresh)
    result = service.get(f"/thumbnails/{job_id}", headers={"Range": "bytes=0-3"})
    assert (result.status_code, result.content) == (200, fresh)
    assert result.headers["etag"] == '"new-etag"'


def test_each_output_and_format_has_an_address(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    outputs = []
    for name, format_ in (("small", "webp"), ("small", "jpeg"), ("large", "auto")):
        content = f"{name} {format_}".encode()
        kind = "png" if format_ == "auto" else format_
        key = f"thumbnails/thumbnails/default/x/{name}-{format_}"
        import io

        etag = service.objects.put(key, io.BytesIO(content), len(content), content_type=f"image/{kind}")
        outputs.append(OutputFacts(name, format_, key, 1, 1, len(content), f"image/{kind}", etag))
    from thumbnails_contract.status import Condition, ConditionType, Status

    condition = Condition(ConditionType.COMPLETE, True, "Rendered", "", service.store.now)
    service.set_status(
        service.store.get("thumbnails", job_id), Status(conditions=(condition,), outputs=tuple(outputs))
    )
    path = f"/thumbnails/{job_id}"
    assert service.get(path).content == b"small webp"
    assert service.get(f"{path}?format=jpeg").content == b"small jpeg"
    assert service.get(f"{path}/large").content == b"large auto"
    assert service.get(f"{path}/large?format=png").content == b"large auto"
    assert service.get(f"{path}/none").status_code == 404
    assert service.get(f"{path}/large?format=gif").status_code == 404
    assert service.get(f"{path}/large?format=").status_code == 404
    described = service.get(f"/jobs/{job_id}").json["outputs"]
    assert [service.get(output["path"]).content for output in described] == [
        b"small webp",
        b"small jpeg",
        b"large auto",
    ]


def test_a_content_type_that_is_not_ours_is_never_served(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id, content_type="text/html")
    assert service.get(f"/thumbnails/{job_id}").headers["content-type"] == "application/octet-stream"


def test_a_file_name_cannot_break_the_header(service: Any, jpeg: bytes) -> None:
    job_id = service.upload(jpeg, name="ä\u00e9 %22;x=y.jpg").json["id"]
    service.finish(job_id)
    disposition = service.get(f"/thumbnails/{job_id}").headers["content-disposition"]
    assert disposition.startswith("inline; filename=")
    assert "\n" not in disposition
    assert disposition.isascii()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a"; filename="evil.exe', "a'; filename='evil-100x100.jpeg"),
        ("a\"; filename*=UTF-8''evil.bat; x=\"", "a'; filename*=UTF-8''evil-100x100.jpeg"),
        ("a\r\nSet-Cookie: x=1.jpg", "aSet-Cookie: x=1-100x100.jpeg"),
        ("..\\..\\a.jpg", "a-100x100.jpeg"),
        ("\r\n.jpg", "-100x100.jpeg"),
    ],
)
def test_a_file_name_says_nothing_but_a_name_whoever_wrote_it(
    service: Any, jpeg: bytes, name: str, shown: str
) -> None:
    job_id = service.upload(jpeg).json["id"]
    # As with kubectl, where nobody cleans it.
    metadata = service.store.documents["thumbnails", job_id]["metadata"]
    metadata["annotations"] = {"thumbnails.dev/file-name": name}
    service.finish(job_id)
    disposition = service.get(f"/thumbnails/{job_id}").headers["content-disposition"]
    assert disposition == f'inline; filename="{shown}"'


def test_a_store_that_is_away_is_503(service: Any, problem: Any, done: Any) -> None:
    job_id, _ = done
    service.objects.failures["get"] = [ObjectStoreUnavailable()]
    problem(service.get(f"/thumbnails/{job_id}"), 503, "ObjectStoreUnavailable")


def test_a_store_that_breaks_before_the_first_byte_is_503(service: Any, problem: Any, done: Any) -> None:
    job_id, _ = done
    service.objects.breaks_after = 0
    problem(service.get(f"/thumbnails/{job_id}"), 503, "ObjectStoreUnavailable")
    assert all(body.closed for body in service.objects.bodies)


def test_a_store_that_breaks_later_ends_the_connection_and_gives_the_body_back(
    service: Any, jpeg: bytes
) -> None:
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id, thumbnail=bytes(1_000_000))
    service.objects.breaks_after = 300_000
    with pytest.raises(ConnectionAbortedError):
        service.get(f"/thumbnails/{job_id}")
    assert all(body.closed for body in service.objects.bodies)


# ---- which of several formats ----------------------------------------------------------------------

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
SAFARI = "image/webp,image/avif,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"


@pytest.fixture
def many(service: Any, jpeg: bytes) -> Any:
    """A job with one output in three formats, and another one; JPEG is the first, WebP the smallest."""
    job_id = service.upload(jpeg).json["id"]
    job = service.store.get("thumbnails", job_id)
    outputs = []
    for name, format_, size in (
        ("default", "jpeg", 30),
        ("default", "avif", 20),
        ("default", "webp", 10),
        ("x", "png", 5),
    ):
        key = f"thumbnails/thumbnails/default/identity/{name}-{format_}"
        etag = service.objects.put(key, io.BytesIO(bytes(size)), size, content_type=f"image/{format_}")
        outputs.append(OutputFacts(name, format_, key, 1, 1, size, f"image/{format_}", etag))
    service.set_status(job, Status(conditions=(COMPLETE,), outputs=tuple(outputs)))
    return job_id


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        (None, "jpeg"),
        ("*/*", "jpeg"),
        ("image/*", "jpeg"),
        (CHROME, "webp"),
        (SAFARI, "webp"),
        ("image/avif,*/*;q=0.8", "avif"),
        ("image/webp;q=0.3, image/avif;q=0.7", "avif"),
        ("image/webp;q=0, */*", "jpeg"),
        ("text/html", "jpeg"),
        ("nonsense", "jpeg"),
        ("image/png", "jpeg"),
    ],
)
def test_accept_picks_among_the_formats_of_the_output(
    service: Any, many: Any, accept: str | None, format_: str
) -> None:
    result = service.get(f"/thumbnails/{many}", headers={"Accept": accept} if accept else {})
    assert result.headers["content-type"] == f"image/{format_}"
    assert result.headers["vary"] == "Accept"
    again = service.get(
        f"/thumbnails/{many}", headers={"Accept": accept or "", "If-None-Match": result.headers["etag"]}
    )
    assert (again.status_code, again.headers["vary"]) == (304, "Accept")


def test_a_format_that_is_asked_for_by_name_is_not_negotiated(service: Any, many: Any) -> None:
    result = service.get(f"/thumbnails/{many}?format=avif", headers={"Accept": "image/webp"})
    assert result.headers["content-type"] == "image/avif"
    assert "vary" not in result.headers
    assert (
        service.get(f"/thumbnails/{many}/x", headers={"Accept": CHROME}).headers["content-type"]
        == "image/png"
    )
