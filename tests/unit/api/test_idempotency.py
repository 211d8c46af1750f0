"""`Idempotency-Key`: an upload that is sent again is answered as it was the first time, and stored once."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thumbnails_api.idempotency import parse_key
from thumbnails_contract.errors import (
    InvalidIdempotencyKey,
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    QuotaExceeded,
)

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(make_service: Any, clock: Clock) -> Any:
    return make_service(clock=clock)


def upload(service: Any, *pictures: bytes, key: str = KEY, path: str = "/images", **fields: str) -> Any:
    parts: list[tuple[str, str | None, bytes]] = [
        ("image", f"{number}.jpg", picture) for number, picture in enumerate(pictures)
    ]
    parts += [(name, None, text.encode()) for name, text in fields.items()]
    return service.post_form(parts, path, headers={"Idempotency-Key": key})


def records(service: Any) -> list[str]:
    return [key for key in service.objects.objects if key.startswith("idempotency/")]


def record(service: Any) -> dict[str, Any]:
    (key,) = records(service)
    document: dict[str, Any] = json.loads(service.objects.objects[key][1])
    return document


def sources(service: Any) -> list[str]:
    return [key for key in service.objects.objects if key.startswith("sources/")]


def put_back(service: Any, **changes: Any) -> None:
    """Change the record, as a request that died would have left it."""
    (key,) = records(service)
    facts, data = service.objects.objects[key]
    document = json.loads(data) | changes
    document = {name: value for name, value in document.items() if value is not None}
    service.objects.objects[key] = (facts, json.dumps(document).encode())


# ---- the header ----


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        (KEY, KEY[1:-1]),
        (KEY[1:-1], KEY[1:-1]),
        ('"a b"', "a b"),
        (r'"a\"b\\"', 'a"b\\'),
        (' "a" ', "a"),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_a_string_with_or_without_quotes(header: str | None, key: str | None) -> None:
    assert parse_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        '""',
        '"',
        '"a',
        'a"',
        '"a" "b"',
        '"a", "b"',
        "a,b",
        "a b",
        '"a";p=1',
        '"é"',
        "é",
        '"a\x00"',
        r'"\a"',
        "x" * 256,
    ],
)
def test_what_is_no_key_is_a_400_before_anything_is_stored(
    service: Any, jpeg: bytes, problem: Any, header: str
) -> None:
    with pytest.raises(InvalidIdempotencyKey):
        parse_key(header)
    if header.isascii() and header.isprintable():
        problem(upload(service, jpeg, key=header), 400, "InvalidIdempotencyKey")
    assert service.objects.objects == {}


# ---- replay ----


def test_without_the_header_nothing_is_different(service: Any, jpeg: bytes) -> None:
    service.upload(jpeg)
    assert service.objects.calls == ["head", "put"]  # whether the account is being erased
    assert records(service) == []


def test_the_same_request_gets_the_same_answer_and_makes_nothing(service: Any, jpeg: bytes) -> None:
    first = upload(service, jpeg, width="50")
    service.finish(first.json["id"])
    again = upload(service, jpeg, width="50")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(service.store.documents) == 1
    assert len(sources(service)) == 1


def test_a_batch_is_replayed_with_its_problems(service: Any, jpeg: bytes) -> None:
    first = upload(service, jpeg, b"no picture", jpeg)
    assert first.status_code == 207
    again = upload(service, jpeg, b"no picture", jpeg)
    assert (again.status_code, again.content) == (207, first.content)
    assert len(service.store.documents) == 2


def test_the_same_pictures_are_the_same_however_the_body_is_written(service: Any, jpeg: bytes) -> None:
    first = upload(service, jpeg, width="50")
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="0.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": KEY}
    again = service.request("POST", "/images?width=50", body=body, headers=headers)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("changes", [{"width": "51"}, {"height": "50"}, {}, {"width": "50", "title": "x"}])
def test_other_options_are_another_request(
    service: Any, jpeg: bytes, problem: Any, changes: dict[str, str]
) -> None:
    upload(service, jpeg, width="50")
    answer = upload(service, jpeg, **changes)
    if "title" in changes:  # a field that is none of ours
        assert answer.headers["idempotency-replayed"] == "true"
    else:
        problem(answer, 422, "IdempotencyKeyReused")
    assert len(service.store.documents) == 1


def test_other_pictures_are_another_request(service: Any, jpeg: bytes, picture: Any, problem: Any) -> None:
    upload(service, jpeg)
    for others in ((picture("PNG"),), (jpeg, jpeg), (jpeg + b"x",)):
        problem(upload(service, *others), 422, "IdempotencyKeyReused")


def test_another_key_is_another_request(service: Any, jpeg: bytes) -> None:
    assert upload(service, jpeg).json["id"] != upload(service, jpeg, key='"other"').json["id"]


def test_what_was_refused_before_anything_was_stored_is_not_kept(service: Any, jpeg: bytes) -> None:
    assert upload(service, b"no picture").status_code == 415
    assert upload(service, jpeg, width="0").status_code == 400
    assert records(service) == []
    assert upload(service, jpeg).status_code == 201


def test_a_key_is_forgotten_after_its_time(service: Any, jpeg: bytes, clock: Clock) -> None:
    first = upload(service, jpeg)
    clock.now += timedelta(hours=24)
    assert upload(service, jpeg).content == first.content
    clock.now += timedelta(seconds=1)
    assert upload(service, jpeg + b"other").json["id"] != first.json["id"]
    assert len(service.store.documents) == 2


# ---- in flight ----


def test_while_the_first_one_is_under_way_others_hear_409(
    make_service: Any, jpeg: bytes, problem: Any
) -> None:
    service = make_service()
    storing, go_on = threading.Event(), threading.Event()
    create = service.store.create

    def slow_create(manifest: Any) -> Any:
        storing.set()
        assert go_on.wait(60)
        return create(manifest)

    service.store.create = slow_create
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(upload(service, jpeg)))
    first.start()
    assert storing.wait(60)
    refused = upload(service, jpeg)
    problem(refused, 409, "IdempotencyKeyInUse")
    assert refused.headers["retry-after"] == "1"
    problem(upload(service, jpeg, width="50"), 422, "IdempotencyKeyReused")
    go_on.set()
    first.join(60)
    assert upload(service, jpeg).content == answers[0].content
    assert len(service.store.documents) == 1


# ---- requests that died ----


def test_one_that_died_after_its_claim_is_taken_over(
    service: Any, jpeg: bytes, clock: Clock, problem: Any
) -> None:
    upload(service, jpeg)
    name = record(service)["jobs"][0]
    put_back(service, answer=None)  # as if it had died before its answer was kept
    problem(upload(service, jpeg), 409, "IdempotencyKeyInUse")
    clock.now += timedelta(minutes=10)
    again = upload(service, jpeg)
    assert again.status_code == 201
    assert again.json["id"] == name
    assert len(service.store.documents) == 1
    assert len(sources(service)) == 1
    assert "idempotency-replayed" not in again.headers
    assert upload(service, jpeg).headers["idempotency-replayed"] == "true"


def test_one_that_died_before_it_stored_anything_is_done_under_the_names_it_had(
    service: Any, jpeg: bytes, clock: Clock
) -> None:
    upload(service, jpeg, jpeg)
    planned = record(service)
    put_back(service, answer=None)
    service.store.documents.clear()
    clock.now += timedelta(minutes=10)
    again = upload(service, jpeg, jpeg)
    assert again.json["batchId"] == planned["batch"]
    assert [item["id"] for item in again.json["items"]] == planned["jobs"]


def test_half_a_batch_is_completed(service: Any, jpeg: bytes, clock: Clock) -> None:
    upload(service, jpeg, jpeg)
    put_back(service, answer=None)
    lost = record(service)["jobs"][1]
    del service.store.documents["thumbnails", lost]
    clock.now += timedelta(minutes=10)
    again = upload(service, jpeg, jpeg)
    assert again.status_code == 201
    assert {name for _, name in service.store.documents} == set(record(service)["jobs"])


@pytest.mark.parametrize("failure", [JobStoreUnavailable(), QuotaExceeded()])
def test_one_that_failed_for_now_may_be_sent_again_at_once(
    make_service: Any, jpeg: bytes, failure: Exception
) -> None:
    service = make_service(create_deadline_seconds=0)
    service.store.failures["create"] = [failure]
    assert upload(service, jpeg).status_code in (429, 503)
    planned = record(service)["jobs"]
    again = upload(service, jpeg)
    assert again.status_code == 201
    assert again.json["id"] == planned[0]


def test_an_uncertain_create_is_found_by_the_next_try(make_service: Any, jpeg: bytes) -> None:
    service = make_service(create_deadline_seconds=0)
    service.store.after["create"] = [JobStoreUnavailable()]
    assert upload(service, jpeg).status_code == 503
    assert len(service.store.documents) == 1
    again = upload(service, jpeg)
    assert again.status_code == 201
    assert {name for _, name in service.store.documents} == {again.json["id"]}


def test_a_batch_of_which_a_part_failed_for_now_is_completed_by_the_next_try(
    make_service: Any, jpeg: bytes
) -> None:
    service = make_service(create_deadline_seconds=0)
    service.store.failures["create"] = [JobStoreUnavailable()]
    first = upload(service, jpeg, jpeg)
    assert first.status_code == 207
    again = upload(service, jpeg, jpeg)
    assert again.status_code == 201
    assert again.json["items"][1]["id"] == first.json["items"][1]["id"]
    assert len(service.store.documents) == 2


def test_without_a_claim_nothing_is_stored(service: Any, jpeg: bytes, problem: Any) -> None:
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    problem(upload(service, jpeg), 503, "ObjectStoreUnavailable")
    assert service.objects.objects == {}
    assert upload(service, jpeg).status_code == 201


def test_an_answer_that_cannot_be_kept_is_given_still(service: Any, jpeg: bytes, clock: Clock) -> None:
    put = service.objects.put
    done: list[str] = []

    def put_until_answer(key: str, *arguments: Any, **options: Any) -> Any:
        done.append(key)
        if len(done) == 3:
            raise ObjectStoreUnavailable
        return put(key, *arguments, **options)

    service.objects.put = put_until_answer
    first = upload(service, jpeg)
    assert first.status_code == 201
    clock.now += timedelta(minutes=10)
    assert upload(service, jpeg).json["id"] == first.json["id"]
    assert len(service.store.documents) == 1


def test_a_claim_whose_answer_was_lost_is_ours(service: Any, jpeg: bytes) -> None:
    from thumbnails_common.objectstore import ObjectExists

    put = service.objects.put

    def put_twice(key: str, *arguments: Any, **options: Any) -> Any:
        result = put(key, *arguments, **options)
        if options.get("only_if_absent"):
            raise ObjectExists  # what a retry hears when the first try went through
        return result

    service.objects.put = put_twice
    assert upload(service, jpeg).status_code == 201


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"{}", b'{"version": 2}', b"\xff"])
def test_a_record_that_cannot_be_read_is_written_anew(service: Any, jpeg: bytes, garbage: bytes) -> None:
    upload(service, jpeg)
    (key,) = records(service)
    facts, _ = service.objects.objects[key]
    service.objects.objects[key] = (facts, garbage)
    assert upload(service, jpeg).status_code == 201
    assert upload(service, jpeg).headers["idempotency-replayed"] == "true"


def test_the_key_itself_is_stored_nowhere(service: Any, jpeg: bytes) -> None:
    upload(service, jpeg, key='"secret-of-a-client"')
    for key, (_, data) in service.objects.objects.items():
        assert b"secret-of-a-client" not in key.encode() + data
