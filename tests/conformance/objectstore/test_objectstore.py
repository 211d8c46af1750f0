"""What the object store promises, on every S3 server: the port of `thumbnails_common.objectstore`."""

import hashlib
import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests

from thumbnails_common.objectstore import NoSuchObject, ObjectBody, ObjectExists
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.errors import InvalidRequest, ObjectStoreUnavailable, ThumbnailsError
from thumbnails_contract.keys import META_NAMES
from thumbnails_contract.wire import Upload

Connect = Callable[..., S3ObjectStore]


def put(store: S3ObjectStore, key: str, content: bytes, **options: object) -> str:
    return store.put(key, io.BytesIO(content), len(content), **options)  # type: ignore[arg-type]


def read(body: ObjectBody) -> bytes:
    try:
        return body.read()
    finally:
        body.close()


# ---- objects -------------------------------------------------------------------------------


def test_what_was_put_is_read_again(object_store: S3ObjectStore, prefix: str) -> None:
    content = os.urandom(700_001)
    before = datetime.now(UTC) - timedelta(seconds=5)
    etag = put(
        object_store, prefix + "a", content, content_type="image/webp", metadata={"thumbnails-width": "100"}
    )
    assert etag == hashlib.md5(content).hexdigest()
    facts = object_store.head(prefix + "a")
    assert (facts.key, facts.etag, facts.bytes) == (prefix + "a", etag, len(content))
    assert (facts.content_type, facts.metadata) == ("image/webp", {"thumbnails-width": "100"})
    assert before < facts.last_modified < datetime.now(UTC) + timedelta(seconds=5)
    body = object_store.get(prefix + "a")
    assert body.facts == facts
    assert read(body) == content


def test_bodies_are_read_in_pieces(object_store: S3ObjectStore, prefix: str) -> None:
    content = os.urandom(300_000)
    put(object_store, prefix + "a", content)
    body = object_store.get(prefix + "a")
    pieces = []
    while piece := body.read(65_536):
        assert len(piece) <= 65_536
        pieces.append(piece)
    body.close()
    assert b"".join(pieces) == content


def test_a_body_may_be_closed_early_and_twice(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", os.urandom(3_000_000))
    body = object_store.get(prefix + "a")
    body.read(10)
    body.close()
    body.close()
    assert object_store.head(prefix + "a").bytes == 3_000_000


def test_an_empty_object(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"")
    assert object_store.head(prefix + "a").bytes == 0
    assert read(object_store.get(prefix + "a")) == b""


def test_an_object_over_several_parts_of_the_server(object_store: S3ObjectStore, prefix: str) -> None:
    content = os.urandom(20_000_003)
    put(object_store, prefix + "a", content)
    assert read(object_store.get(prefix + "a")) == content


def test_put_takes_length_bytes_from_where_the_file_stands(object_store: S3ObjectStore, prefix: str) -> None:
    file = io.BytesIO(b"0123456789")
    file.seek(2)
    object_store.put(prefix + "a", file, 5)
    assert read(object_store.get(prefix + "a")) == b"23456"


def test_a_file_that_ends_early_is_an_error_and_stores_nothing(
    object_store: S3ObjectStore, prefix: str
) -> None:
    with pytest.raises(InvalidRequest):
        object_store.put(prefix + "a", io.BytesIO(b"x" * 400_000), 500_000)
    with pytest.raises(NoSuchObject):
        object_store.head(prefix + "a")


def test_put_replaces(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"old", metadata={"thumbnails-width": "1"})
    put(object_store, prefix + "a", b"newer")
    assert read(object_store.get(prefix + "a")) == b"newer"
    assert object_store.head(prefix + "a").metadata == {}


def test_only_if_absent_replaces_nothing(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"first", only_if_absent=True)
    with pytest.raises(ObjectExists):
        put(object_store, prefix + "a", b"second", only_if_absent=True)
    assert read(object_store.get(prefix + "a")) == b"first"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"012"), (4, 2, b"45"), (7, None, b"789"), (8, 50, b"89"), (0, None, b"0123456789")],
)
def test_ranges(
    object_store: S3ObjectStore, prefix: str, offset: int, length: int | None, expected: bytes
) -> None:
    put(object_store, prefix + "a", b"0123456789")
    body = object_store.get(prefix + "a", offset=offset, length=length)
    assert body.facts.bytes == 10, "the size of the whole object"
    assert read(body) == expected


def test_a_range_past_the_end_is_refused(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"0123456789")
    with pytest.raises(InvalidRequest):
        object_store.get(prefix + "a", offset=10)


def test_what_is_not_there(object_store: S3ObjectStore, prefix: str) -> None:
    with pytest.raises(NoSuchObject):
        object_store.head(prefix + "a")
    with pytest.raises(NoSuchObject):
        object_store.get(prefix + "a")
    object_store.delete([prefix + "a"])


@pytest.mark.parametrize("name", ["a b", "a+b", "a%2Fb", "ä€😀", "a~b_c-d.e", "a=b&c?d#e", "(a)'*!,;:@$"])
def test_any_character_may_stand_in_a_key(object_store: S3ObjectStore, prefix: str, name: str) -> None:
    key = prefix + name
    put(object_store, key, b"content")
    assert object_store.head(key).bytes == 7
    assert [facts.key for facts in object_store.list(prefix)] == [key]
    assert requests.get(object_store.presign_get(key, expires_seconds=60), timeout=20).content == b"content"
    object_store.delete([key])
    with pytest.raises(NoSuchObject):
        object_store.head(key)


# ---- many objects --------------------------------------------------------------------------


def test_list_and_delete_many(object_store: S3ObjectStore, prefix: str) -> None:
    folders = ("a-b", "a", "a0", "a/deep")
    keys = [f"{prefix}{folders[number % 4]}/{number:04}" for number in range(1_105)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put(object_store, key, b"x"), keys))
    listed = list(object_store.list(prefix))
    assert sorted(facts.key for facts in listed) == sorted(keys)
    assert {(facts.bytes, facts.etag) for facts in listed} == {(1, hashlib.md5(b"x").hexdigest())}
    assert all(facts.last_modified.tzinfo is not None for facts in listed)
    object_store.delete(iter([*keys[5:], prefix + "never-there"]))
    assert sorted(facts.key for facts in object_store.list(prefix)) == sorted(keys[:5])


def test_a_prefix_is_a_beginning_not_a_folder(object_store: S3ObjectStore, prefix: str) -> None:
    for name in ("ab/1", "abc", "ac"):
        put(object_store, prefix + name, b"x")
    assert {facts.key for facts in object_store.list(prefix + "ab")} == {prefix + "ab/1", prefix + "abc"}
    assert list(object_store.list(prefix + "nothing")) == []


def test_a_folder_is_listed_by_key(object_store: S3ObjectStore, prefix: str) -> None:
    keys = [prefix + name for name in ("b", "a", "c-d", "c", "0", "Z", "c.d")]
    for key in keys:
        put(object_store, key, b"x")
    assert [facts.key for facts in object_store.list(prefix)] == sorted(keys)


def test_a_listing_may_begin_after_a_key_and_end_early(object_store: S3ObjectStore, prefix: str) -> None:
    keys = [f"{prefix}{number:04}~{'x' * 240}/{number}" for number in range(30)]
    keys += [f"{prefix}{number:04}~" for number in range(30, 60)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put(object_store, key, b""), keys))

    def listed(after: str | None, limit: int | None) -> list[str]:
        return [facts.key for facts in object_store.list(prefix, after=after, limit=limit)]

    assert listed(None, None) == keys
    assert listed(None, 7) == keys[:7]
    assert listed(keys[10], None) == keys[11:]
    assert listed(keys[44], 3) == keys[45:48]
    assert listed(f"{prefix}0012", 2) == keys[12:14]  # there need be no such key
    assert listed(keys[-1], 5) == []
    assert listed(None, 0) == []


def test_more_than_a_page_may_be_asked_for(object_store: S3ObjectStore, prefix: str) -> None:
    keys = [f"{prefix}{number:05}" for number in range(1_205)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put(object_store, key, b""), keys))
    assert [facts.key for facts in object_store.list(prefix, limit=1_105)] == keys[:1_105]
    assert [facts.key for facts in object_store.list(prefix, after=keys[99])] == keys[100:]


def test_folders(object_store: S3ObjectStore, prefix: str) -> None:
    for name in ("a/1", "a/2", "a-b/1", "a.b/deep/1", "file"):
        put(object_store, prefix + name, b"x")
    assert sorted(object_store.folders(prefix)) == [f"{prefix}a-b/", f"{prefix}a.b/", f"{prefix}a/"]
    assert list(object_store.folders(f"{prefix}a.b/")) == [f"{prefix}a.b/deep/"]
    assert list(object_store.folders(f"{prefix}nothing/")) == []


def test_many_at_once(object_store: S3ObjectStore, prefix: str) -> None:
    contents = {f"{prefix}{number}": os.urandom(50_000 + number) for number in range(60)}

    def round_trip(key: str) -> bool:
        put(object_store, key, contents[key])
        return read(object_store.get(key)) == contents[key]

    with ThreadPoolExecutor(24) as threads:
        assert all(threads.map(round_trip, contents))


def test_of_many_that_create_one_object_one_wins(object_store: S3ObjectStore, prefix: str) -> None:
    def create(number: int) -> int | None:
        try:
            put(object_store, prefix + "a", b"%d" % number, only_if_absent=True)
        except ObjectExists:
            return None
        return number

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(create, range(8)) if number is not None]
    assert winners
    assert read(object_store.get(prefix + "a")) in {b"%d" % number for number in winners}


# ---- presigned URLs ------------------------------------------------------------------------


def test_a_presigned_url_reads_one_object(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"0123456789", content_type="image/png")
    url = object_store.presign_get(prefix + "a", expires_seconds=60)
    answer = requests.get(url, timeout=20)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["Content-Type"] == "image/png"
    answer = requests.get(url, headers={"Range": "bytes=2-3"}, timeout=20)
    assert (answer.status_code, answer.content) == (206, b"23")


def test_a_presigned_url_does_nothing_else(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"mine")
    put(object_store, prefix + "b", b"other")
    url = object_store.presign_get(prefix + "a", expires_seconds=60)
    last = "0" if url[-1] != "0" else "1"
    assert requests.get(url[:-1] + last, timeout=20).status_code == 403
    assert requests.get(url.replace(prefix + "a", prefix + "b"), timeout=20).status_code == 403
    assert requests.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=9999"), timeout=20).status_code == 403
    assert requests.put(url, data=b"x", timeout=20).status_code == 403
    assert requests.delete(url, timeout=20).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=20).status_code == 403
    assert read(object_store.get(prefix + "a")) == b"mine"


def test_a_presigned_url_expires(object_store: S3ObjectStore, prefix: str) -> None:
    put(object_store, prefix + "a", b"content")
    url = object_store.presign_get(prefix + "a", expires_seconds=1)
    deadline = time.monotonic() + 30
    while (status := requests.get(url, timeout=20).status_code) == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert status == 403


def test_a_client_s_url_names_the_public_endpoint_and_brings_its_headers(
    object_store: S3ObjectStore, shared_settings: S3Settings, prefix: str
) -> None:
    put(object_store, prefix + "a", b"0123456789", content_type="application/x-other")
    public = shared_settings.endpoint.replace("127.0.0.1", "localhost")
    store = S3ObjectStore(replace(shared_settings, public_endpoint=public))
    url = store.presign_download(
        prefix + "a",
        expires_seconds=60,
        content_type="image/png",
        content_disposition='inline; filename="holiday 1.png"',
        cache_control="private, max-age=31536000, immutable",
    )
    store.close()
    assert url.startswith(f"{public}/{shared_settings.bucket}/{prefix}a?")
    answer = requests.get(url, headers={"Range": "bytes=2-3"}, timeout=20)
    assert (answer.status_code, answer.content) == (206, b"23")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == 'inline; filename="holiday 1.png"'
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert requests.get(url.replace("image%2Fpng", "text%2Fhtml"), timeout=20).status_code == 403


def test_nothing_is_open_to_strangers(
    object_store: S3ObjectStore, shared_settings: S3Settings, prefix: str
) -> None:
    put(object_store, prefix + "a", b"content")
    bucket = f"{shared_settings.endpoint}/{shared_settings.bucket}"
    for url in (f"{bucket}/{prefix}a", bucket, f"{bucket}?list-type=2", shared_settings.endpoint):
        assert requests.get(url, timeout=20).status_code == 403
    assert requests.put(f"{bucket}/{prefix}b", data=b"x", timeout=20).status_code == 403
    assert requests.delete(f"{bucket}/{prefix}a", timeout=20).status_code == 403
    form = {"key": f"{prefix}b", "Content-Type": "image/png"}
    assert requests.post(bucket, data=form, files={"file": b"x"}, timeout=20).status_code in {400, 403}
    assert [facts.key for facts in object_store.list(prefix)] == [prefix + "a"]


# ---- upload forms --------------------------------------------------------------------------


def form(store: S3ObjectStore, key: str, **changes: object) -> Upload:
    options = {"content_type_prefix": "image/", "max_bytes": 1_000, "expires_seconds": 60, **changes}
    return store.presign_upload(key, **options)  # type: ignore[arg-type]


def post(upload: Upload, content: bytes = b"x" * 100, **changes: str) -> int:
    fields = {
        **upload.fields,
        "Content-Type": "image/webp",
        **{f"x-amz-meta-thumbnails-{name}": "1" for name in META_NAMES},
        **changes,
    }
    return requests.post(upload.url, data=fields, files={"file": content}, timeout=20).status_code


def test_a_form_writes_one_object_with_its_facts(
    object_store: S3ObjectStore, shared_settings: S3Settings, prefix: str
) -> None:
    upload = form(object_store, prefix + "a")
    assert urlsplit(upload.url).path == f"/{shared_settings.bucket}"
    meta = {"x-amz-meta-thumbnails-width": "640", "x-amz-meta-thumbnails-thumbhash": ""}
    assert post(upload, b"picture", **meta) == 204
    facts = object_store.head(prefix + "a")
    assert (facts.bytes, facts.content_type) == (7, "image/webp")
    assert facts.metadata["thumbnails-width"] == "640"
    assert facts.metadata["thumbnails-height"] == "1"
    assert read(object_store.get(prefix + "a")) == b"picture"


def test_a_form_may_be_used_again(object_store: S3ObjectStore, prefix: str) -> None:
    upload = form(object_store, prefix + "a")
    assert [post(upload, b"one"), post(upload, b"two")] == [204, 204]
    assert read(object_store.get(prefix + "a")) == b"two"


@pytest.mark.parametrize(
    ("what", "content", "changes"),
    [
        ("too long", b"x" * 1_001, {}),
        ("empty", b"", {}),
        ("another type", b"x", {"Content-Type": "text/html"}),
        ("another key", b"x", {"key": "sources/other"}),
        ("metadata that is not ours", b"x", {"x-amz-meta-other": "1"}),
        ("another signature", b"x", {"x-amz-signature": "0" * 64}),
        ("another policy", b"x", {"policy": "e30="}),
    ],
)
def test_a_form_refuses(
    object_store: S3ObjectStore, prefix: str, what: str, content: bytes, changes: dict[str, str]
) -> None:
    assert 400 <= post(form(object_store, prefix + "a"), content, **changes) < 500, what
    assert list(object_store.list(prefix)) == []


def test_a_form_takes_the_longest_that_it_says(object_store: S3ObjectStore, prefix: str) -> None:
    assert post(form(object_store, prefix + "a"), b"x" * 1_000) == 204


def test_a_form_expires(object_store: S3ObjectStore, prefix: str) -> None:
    upload = form(object_store, prefix + "a", expires_seconds=1)
    deadline = time.monotonic() + 30
    while (status := post(upload)) == 204 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert 400 <= status < 500


# ---- what is wrong with the server ---------------------------------------------------------


def every_call(store: S3ObjectStore, key: str) -> list[Callable[[], object]]:
    return [
        lambda: put(store, key, b"content"),
        lambda: put(store, key, b"content", only_if_absent=True),
        lambda: store.head(key),
        lambda: store.get(key),
        lambda: list(store.list(key)),
        lambda: store.delete([key]),
        store.check,
    ]


def assert_unavailable(calls: list[Callable[[], object]], secret: str) -> None:
    for call in calls:
        with pytest.raises(ObjectStoreUnavailable) as caught:
            call()
        error: BaseException | None = caught.value
        while error is not None:
            assert "://" not in str(error)
            assert "127.0.0.1" not in str(error)
            assert secret not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_wrong_keys(
    shared_settings: S3Settings, connect: Connect, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = connect(shared_settings, secret_key="not-the-secret-key-at-all", retry_seconds=1)
    assert_unavailable(every_call(store, prefix + "a"), "not-the-secret-key-at-all")
    assert "check the secret key" in caplog.text
    assert "not-the-secret-key-at-all" not in caplog.text


def test_a_bucket_that_is_not_there_is_no_missing_object(
    shared_settings: S3Settings, connect: Connect, prefix: str
) -> None:
    store = connect(shared_settings, bucket="thumbnails-nowhere", retry_seconds=1)
    calls = every_call(store, prefix + "a")
    for call in calls[2:5] + calls[6:]:  # a server may make the bucket for a put
        with pytest.raises(ObjectStoreUnavailable):
            call()


def test_the_bucket_can_be_ensured_again_and_at_once(object_store: S3ObjectStore) -> None:
    with ThreadPoolExecutor(4) as threads:
        for result in [threads.submit(object_store.ensure_bucket) for _ in range(8)]:
            result.result()
    object_store.check()


def test_errors_are_public(object_store: S3ObjectStore, prefix: str) -> None:
    for call in (lambda: object_store.head(prefix + "a"), lambda: object_store.get(prefix + "a")):
        with pytest.raises(ThumbnailsError) as caught:
            call()
        assert prefix not in caught.value.message
