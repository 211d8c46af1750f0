"""`/accounts/{account}`: an erasure that is asked for, what it keeps out meanwhile, and who may ask."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_api.accounts import Caller
from thumbnails_api.erasures import KNOWN_SECONDS, Erasures
from thumbnails_api.intake import Intake
from thumbnails_api.options import parse_options
from thumbnails_api.pictures import Picture
from thumbnails_common.erasure import Erasure, InvalidErasure, read_erasure
from thumbnails_common.objectstore import NoSuchObject
from thumbnails_contract.errors import AccountBeingErased, ObjectStoreUnavailable
from thumbnails_contract.keys import erasure_key
from thumbnails_contract.spec import Format

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
CALLER = Caller("thumbnails", "default")
RUNNING = "erasures/running/thumbnails/default"
DONE = "erasures/done/thumbnails/default"


def finish(service: Any) -> None:
    """What the operator does at the end."""
    erasure = Erasure.parse(service.objects.objects[RUNNING][1])
    data = replace(erasure, finished_at=NOW, jobs=3, objects=7).to_bytes()
    service.objects.put(DONE, io.BytesIO(data), len(data))
    service.objects.delete([RUNNING])


def test_it_is_written_down_before_it_is_answered_and_told_until_it_is_done(service: Any) -> None:
    answer = service.request("DELETE", "/accounts/default")
    assert (answer.status_code, answer.headers["location"]) == (202, "/accounts/default/erasure")
    assert answer.json == {
        "id": answer.json["id"],
        "account": "default",
        "status": "running",
        "requestedAt": "2026-11-24T06:00:00Z",
        "finishedAt": None,
        "jobs": None,
        "objects": None,
    }
    assert RUNNING in service.objects.objects
    assert service.slept == [KNOWN_SECONDS]  # for the other replicas
    assert service.get("/accounts/default/erasure").json == answer.json
    finish(service)
    done = service.get("/accounts/default/erasure").json
    assert (done["id"], done["status"], done["jobs"], done["objects"]) == (answer.json["id"], "done", 3, 7)


def test_asked_for_again_it_is_the_same_one_until_it_is_done(service: Any) -> None:
    first = service.request("DELETE", "/accounts/default").json
    assert service.request("DELETE", "/accounts/default").json == first
    finish(service)
    assert service.request("DELETE", "/accounts/default").json["id"] != first["id"]


def test_uploads_are_refused_until_it_is_done(service: Any, jpeg: bytes, problem: Callable[..., Any]) -> None:
    service.request("DELETE", "/accounts/default")
    problem(service.upload(jpeg), 409, "AccountBeingErased")
    assert service.upload(jpeg).headers["retry-after"] == "5"
    assert set(service.objects.objects) == {RUNNING}
    finish(service)
    assert service.upload(jpeg).status_code == 201


def test_one_that_begins_while_an_original_is_on_its_way_is_seen(service: Any, jpeg: bytes) -> None:
    now = 0.0

    class SlowStore(type(service.objects)):  # type: ignore[misc]  # the fake of conftest.py
        """Somebody asks another replica for the erasure while the first original is being written."""

        def put(self, key: str, *arguments: Any, **options: Any) -> str:
            nonlocal now
            etag: str = super().put(key, *arguments, **options)
            if key.startswith("sources/"):
                data = Erasure("thumbnails", "default", "e", NOW).to_bytes()
                super().put(RUNNING, io.BytesIO(data), len(data))
                now += KNOWN_SECONDS
            return etag

    objects = SlowStore()
    erasures = Erasures(objects, lambda: NOW, lambda: "e", lambda _s: None, lambda: now)
    erasures.check(CALLER)
    intake = Intake(service.store, objects, service.jobs, erasures, lambda: "a", 0)
    picture = Picture("a.jpg", io.BytesIO(jpeg), len(jpeg), "0" * 64, Format.JPEG)
    with pytest.raises(AccountBeingErased):
        intake.accept(picture, parse_options({}, max_side_pixels=100), CALLER, None)
    assert service.store.documents == {}
    assert set(objects.objects) == {RUNNING}  # the original is gone again


def test_only_the_own_account_is_there(service: Any, problem: Callable[..., Any]) -> None:
    for method, path in (("DELETE", "/accounts/shop"), ("GET", "/accounts/shop/erasure")):
        problem(service.request(method, path), 404, "AccountNotFound")
    assert service.objects.objects == {}
    problem(service.get("/accounts/default/erasure"), 404, "NotFound")


def test_without_the_object_store_nothing_begins(service: Any, problem: Callable[..., Any]) -> None:
    service.objects.failures["put"] = [ObjectStoreUnavailable()]
    problem(service.request("DELETE", "/accounts/default"), 503, "ObjectStoreUnavailable")
    service.objects.failures["head"] = [ObjectStoreUnavailable()]
    problem(service.upload(b"x"), 503, "ObjectStoreUnavailable")


def test_that_there_is_none_is_believed_for_a_moment_and_that_there_is_one_is_not() -> None:
    class Heads:
        """An object store that knows no more than whether there is an erasure."""

        running, asked = False, 0

        def head(self, key: str) -> None:
            assert key == RUNNING
            self.asked += 1
            if not self.running:
                raise NoSuchObject

    now = 0.0
    objects: Any = Heads()
    erasures = Erasures(objects, lambda: NOW, lambda: "e", lambda _s: None, lambda: now)
    for _ in range(3):
        erasures.check(CALLER)
    assert objects.asked == 1
    objects.running, now = True, KNOWN_SECONDS
    for _ in range(2):
        with pytest.raises(AccountBeingErased):
            erasures.check(CALLER)
    objects.running = False
    erasures.check(CALLER)
    assert objects.asked == 4


def test_what_is_kept_is_read_as_it_was_written() -> None:
    running = Erasure("team-a", "shop", "e-1", NOW)
    done = replace(running, finished_at=NOW, jobs=1, objects=2)
    for erasure in (running, done):
        assert Erasure.parse(erasure.to_bytes()) == erasure
    assert (running.key, done.key) == ("erasures/running/team-a/shop", "erasures/done/team-a/shop")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 5000,
        Erasure("team-a", "shop", "e", NOW).to_bytes().replace(b'"version":1', b'"version":2'),
        Erasure("team-a", "..", "e", NOW).to_bytes(),
        Erasure("team-a", "", "e", NOW).to_bytes(),
        Erasure("team-a/x", "shop", "e", NOW).to_bytes(),
    ],
)
def test_what_is_none_is_not_taken_for_one(data: bytes) -> None:
    with pytest.raises(InvalidErasure):
        Erasure.parse(data)


def test_one_under_the_key_of_another_account_is_none(service: Any) -> None:
    data = Erasure("thumbnails", "shop", "e", NOW).to_bytes()
    service.objects.put(RUNNING, io.BytesIO(data), len(data))
    with pytest.raises(InvalidErasure):
        read_erasure(service.objects, erasure_key("thumbnails", "default"))
