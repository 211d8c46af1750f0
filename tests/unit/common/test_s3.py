"""What the S3 adapter does when a server answers badly: which failures are tried again, and how they end."""

import contextlib
import hashlib
import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from thumbnails_common.objectstore import NoSuchObject, ObjectExists
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.errors import InvalidRequest, ObjectStoreUnavailable

Answer = Callable[..., bytes]
LAST_MODIFIED = "Tue, 24 Nov 2026 06:00:00 GMT"


def put(store: S3ObjectStore, content: bytes = b"content", **options: Any) -> str:
    return store.put("sources/a", io.BytesIO(content), len(content), **options)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(store: S3ObjectStore, server: Any, answer: Answer, status: int) -> None:
    server.answers = [answer(status), answer(status, b"<html>proxy</html>"), answer(200, ETag='"e"')]
    assert put(store) == "e"
    assert [body for _, _, body in server.requests] == [b"content"] * 3, (
        "from the start of the file each time"
    )


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "OperationAborted"])
def test_codes_that_may_pass_are_tried_again(
    store: S3ObjectStore, server: Any, answer: Answer, refusal: Answer, code: str
) -> None:
    server.answers = [refusal(400, code), answer(200, ETag='"e"')]
    assert put(store) == "e"


def test_a_connection_that_was_closed_meanwhile_costs_no_wait(
    store: S3ObjectStore, server: Any, answer: Answer, time_: Any
) -> None:
    server.answers = [None, answer(200, ETag='"e"')]
    assert put(store) == "e"
    assert time_.slept == [0]


def test_tries_are_spaced_out_and_end(store: S3ObjectStore, server: Any, answer: Answer, time_: Any) -> None:
    server.answers = [answer(503)] * 100
    with pytest.raises(ObjectStoreUnavailable):
        put(store)
    assert time_.slept == sorted(time_.slept)
    assert time_.slept[:4] == [0, 0.05, 0.1, 0.2]
    assert 5 < sum(time_.slept) <= 10, "no try begins after retry_seconds"


def test_check_tries_once(store: S3ObjectStore, server: Any, answer: Answer, time_: Any) -> None:
    server.answers = [answer(503), answer(200)]
    with pytest.raises(ObjectStoreUnavailable):
        store.check()
    assert (len(server.requests), time_.slept) == (1, [])
    store.check()


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AccessDenied", "the keys may not do this"),
        (403, "SignatureDoesNotMatch", "check the secret key and the region"),
        (403, "RequestTimeTooSkewed", "the clocks"),
        (404, "NoSuchBucket", "the bucket does not exist"),
        (507, "XMinioStorageFull", "its disk is full"),
        (301, "PermanentRedirect", ""),
        (400, "SomethingElse", ""),
    ],
)
def test_a_refusal_is_told_to_the_admin_and_not_tried_again(
    store: S3ObjectStore,
    server: Any,
    refusal: Answer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
    hint: str,
) -> None:
    for call in (lambda: put(store), lambda: store.get("a"), lambda: list(store.list("a"))):
        caplog.clear()
        server.answers, server.requests = [refusal(status, code)], []
        with pytest.raises(ObjectStoreUnavailable) as caught:
            call()
        assert len(server.requests) == 1
        assert f"refused with {status} {code}" in caplog.text
        assert hint in caplog.text
        assert code not in caught.value.message


def test_missing_is_known_from_the_code(store: S3ObjectStore, server: Any, refusal: Answer) -> None:
    server.answers = [refusal(404, "NoSuchKey")]
    with pytest.raises(NoSuchObject):
        store.get("a")


def test_a_missing_bucket_is_no_missing_object(
    store: S3ObjectStore, server: Any, answer: Answer, time_: Any
) -> None:
    head = [answer(404, Connection="close")]
    server.answers = [*head, answer(200, Connection="close"), *head]
    for _ in range(2):  # the second within the time that the bucket is trusted to be there
        with pytest.raises(NoSuchObject):
            store.head("a")
    assert len(server.requests) == 3
    time_.now += 60
    server.answers = [*head, *head]
    with pytest.raises(ObjectStoreUnavailable):
        store.head("a")


def test_an_answer_that_got_lost_is_no_conflict(
    store: S3ObjectStore, server: Any, answer: Answer, refusal: Answer
) -> None:
    ours = answer(
        200, ETag=f'"{hashlib.md5(b"content").hexdigest()}"', Last_Modified=LAST_MODIFIED, Connection="close"
    )
    server.answers = [None, refusal(412, "PreconditionFailed"), ours]
    assert put(store, only_if_absent=True) == hashlib.md5(b"content").hexdigest()
    theirs = ours.replace(hashlib.md5(b"content").hexdigest().encode(), b"0" * 32)
    server.answers = [None, refusal(412, "PreconditionFailed"), theirs]
    with pytest.raises(ObjectExists):
        put(store, only_if_absent=True)


def test_a_conflict_at_once_is_a_conflict(store: S3ObjectStore, server: Any, refusal: Answer) -> None:
    server.answers = [refusal(412, "PreconditionFailed")]
    with pytest.raises(ObjectExists):
        put(store, only_if_absent=True)


def test_a_body_that_breaks_off_says_so(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    head = {"Last_Modified": LAST_MODIFIED, "ETag": '"e"', "Connection": "close"}
    server.answers = [answer(200, b"12345", **head).replace(b"Content-Length: 5", b"Content-Length: 10")]
    body = store.get("a")
    assert body.facts.bytes == 10
    with pytest.raises(ObjectStoreUnavailable):
        list(iter(lambda: body.read(3), b""))
    body.close()


def test_a_body_is_not_decoded(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    head = {"Last_Modified": LAST_MODIFIED, "Content_Encoding": "gzip"}
    server.answers = [answer(200, b"not gzip at all", **head)]
    assert store.get("a").read() == b"not gzip at all"


def test_a_listing_goes_on_where_it_broke_off(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    def page(key: str, more: str) -> bytes:
        return answer(
            200,
            f"<ListBucketResult><Name>thumbnails</Name><IsTruncated>{more}</IsTruncated>"
            f"<NextContinuationToken>t</NextContinuationToken><Contents><Key>{key}</Key>"
            f'<LastModified>2026-11-24T06:00:00.000Z</LastModified><ETag>"e"</ETag><Size>1</Size>'
            "</Contents></ListBucketResult>".encode(),
            Content_Type="application/xml",
        )

    server.answers = [page("a", "true"), answer(503), None, page("b", "false")]
    assert [facts.key for facts in store.list("")] == ["a", "b"]
    assert ["continuation-token=t" in target for target in server.targets] == [False, True, True, True]


def test_an_object_that_is_not_deleted_is_an_error(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    def result(code: str) -> bytes:
        text = f"<DeleteResult><Error><Key>a</Key><Code>{code}</Code></Error></DeleteResult>"
        return answer(200, text.encode(), Content_Type="application/xml")

    server.answers = [result("AccessDenied")]
    with pytest.raises(ObjectStoreUnavailable):
        store.delete(["a"])
    server.answers = [result("InternalError"), answer(200, b"<DeleteResult></DeleteResult>")]
    store.delete(["a"])
    server.answers = [result("NoSuchKey")]
    store.delete(["a"])


def test_deletions_go_in_batches(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    server.answers = [answer(200, b"<DeleteResult></DeleteResult>")] * 3
    store.delete(str(number) for number in range(2_500))
    assert [body.count(b"<Key>") for _, _, body in server.requests] == [1_000, 1_000, 500]
    store.delete([])
    assert len(server.requests) == 3


def test_a_file_that_ends_early_is_not_tried_again(store: S3ObjectStore, server: Any) -> None:
    with pytest.raises(InvalidRequest):
        store.put("a", io.BytesIO(b"x" * 10), 11)


def test_a_body_goes_out_as_it_is_read(store: S3ObjectStore, server: Any, answer: Answer) -> None:
    class Counting(io.BytesIO):
        sizes: list[int] = []  # noqa: RUF012 - one test, one instance

        def read(self, size: int | None = -1, /) -> bytes:
            self.sizes.append(-1 if size is None else size)
            return super().read(size)

    data = Counting(bytes(3_000_000))
    server.answers = [answer(200, ETag='"e"')]
    store.put("a", data, 3_000_000)
    assert max(data.sizes) <= 262_144
    assert min(data.sizes) >= 0
    headers = server.requests[0][1]
    assert headers["content-length"] == "3000000"
    assert "transfer-encoding" not in headers


def test_presigning_asks_nobody(store: S3ObjectStore, server: Any) -> None:
    assert "X-Amz-Signature=" in store.presign_get("a b", expires_seconds=60)
    upload = store.presign_upload("a b", content_type_prefix="image/", max_bytes=10, expires_seconds=60)
    assert upload.url == f"{server.url}/thumbnails"
    assert upload.fields["key"] == "a b"
    assert server.requests == []


def test_no_failure_tells_a_url_or_a_key(
    store: S3ObjectStore, server: Any, refusal: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for answers in ([None] * 20, [refusal(403, "AccessDenied")], [b"no HTTP at all\r\n\r\n"] * 20):
        server.answers = list(answers)
        with pytest.raises(ObjectStoreUnavailable) as caught:
            put(store)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert server.url not in caught.value.message
    assert "the-secret-key" not in caplog.text
    assert "Signature" not in caplog.text
    assert "the-secret-key" not in repr(store)


def test_large_bodies_take_turns_and_small_ones_pass_by(server: Any, answer: Answer) -> None:
    large = 8_388_609
    reading, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reading.set()
            assert go_on.wait(60)
            return super().read(size)

    class Watched(io.BytesIO):
        read_while_waiting = False

        def read(self, size: int | None = -1, /) -> bytes:
            self.read_while_waiting |= not go_on.is_set()
            return super().read(size)

    server.answers = [answer(200, ETag='"e"')] * 3
    settings = S3Settings(server.url, "key", "secret", large_puts=1)
    second = Watched(bytes(large))
    with contextlib.closing(S3ObjectStore(settings)) as store, ThreadPoolExecutor(2) as threads:
        first_done = threads.submit(store.put, "first", Slow(bytes(large)), large)
        assert reading.wait(60)
        second_done = threads.submit(store.put, "second", second, large)
        assert put(store) == "e", "a small one has its answer while the large ones wait"
        go_on.set()
        assert (first_done.result(60), second_done.result(60)) == ("e", "e")
    assert not second.read_while_waiting
