"""Hot thumbnails in memory: bounded, thread safe, and never a way around who may see what."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.thumbnail_cache import ThumbnailCache
from thumbnails_contract.errors import ObjectStoreUnavailable, Unauthorized

CONTENT = bytes(range(256)) * 4


def cache(max_bytes: int = 100, max_entries: int = 10, max_entry_bytes: int = 100) -> ThumbnailCache:
    return ThumbnailCache(max_bytes=max_bytes, max_entries=max_entries, max_entry_bytes=max_entry_bytes)


def names(found: ThumbnailCache, keys: str) -> str:
    return "".join(key for key in keys if found.get(key, "tag", 1) is not None)


# ---- the structure ---------------------------------------------------------------------------------


def test_what_was_asked_for_the_longest_ago_makes_room() -> None:
    kept = cache(max_bytes=30)
    for key in "abc":
        kept.put(key, "tag", bytes(10))
    kept.get("a", "tag", 10)
    kept.put("d", "tag", bytes(10))
    assert names(kept, "abcd") == "acd"
    kept.put("e", "tag", bytes(20))
    assert names(kept, "abcde") == "de"
    assert (kept.stats().bytes, kept.stats().entries, kept.stats().evictions) == (30, 2, 3)


def test_there_are_never_more_than_so_many() -> None:
    kept = cache(max_entries=2)
    for key in "abc":
        kept.put(key, "tag", b"x")
    assert names(kept, "abc") == "bc"


@pytest.mark.parametrize(
    ("limits", "size", "takes"),
    [
        ({"max_entry_bytes": 10}, 10, True),
        ({"max_entry_bytes": 10}, 11, False),
        ({"max_bytes": 5, "max_entry_bytes": 10}, 6, False),
        ({"max_bytes": 0}, 1, False),
        ({}, 0, False),
    ],
)
def test_only_small_files_are_kept(limits: dict[str, int], size: int, takes: bool) -> None:
    kept = cache(**limits)
    kept.put("a", "tag", bytes(size))
    assert (kept.get("a", "tag", size) is not None) is takes is kept.takes(size)
    assert kept.stats().misses == 0


def test_a_file_under_another_tag_is_another_file() -> None:
    kept = cache()
    kept.put("a", "old", b"old")
    assert kept.get("a", "new", 3) is None
    kept.put("a", "new", b"newer")
    assert kept.get("a", "old", 3) is None
    assert kept.get("a", "new", 5) == b"newer"
    assert (kept.stats().bytes, kept.stats().entries) == (5, 1)


def test_what_is_erased_is_gone() -> None:
    kept = cache()
    for key in "abc":
        kept.put(key, "tag", b"x")
    kept.erase(["a", "c", "unknown"])
    assert names(kept, "abc") == "b"
    assert (kept.stats().bytes, kept.stats().evictions) == (1, 0)


def test_its_numbers_hold_whatever_threads_do() -> None:
    kept = cache(max_bytes=50, max_entries=7, max_entry_bytes=20)
    most: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        for turn in range(2_000):
            key = str((turn * seed) % 13)
            kept.put(key, "tag", bytes(1 + turn % 20))
            found = kept.get(key, "tag", 1)
            assert found is None or len(found) <= 20
            if turn % 5 == 0:
                kept.erase([key])
            stats = kept.stats()
            most.append((stats.bytes, stats.entries))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(size for size, _ in most) <= 50
    assert max(entries for _, entries in most) <= 7
    kept.erase([str(key) for key in range(13)])
    assert (kept.stats().bytes, kept.stats().entries) == (0, 0)


# ---- in the service --------------------------------------------------------------------------------


@pytest.fixture
def done(service: Any, jpeg: bytes) -> str:
    """A finished job."""
    job_id: str = service.upload(jpeg).json["id"]
    service.finish(job_id, thumbnail=CONTENT)
    service.objects.calls.clear()
    return job_id


def test_the_second_request_asks_nothing_of_the_store(service: Any, done: str) -> None:
    first, second = (service.get(f"/thumbnails/{done}") for _ in range(2))
    assert service.objects.calls == ["get"]
    assert first.content == second.content == CONTENT
    volatile = {"x-request-id"}
    assert {name: value for name, value in first.headers.items() if name not in volatile} == {
        name: value for name, value in second.headers.items() if name not in volatile
    }


def test_ranges_come_from_memory_too(service: Any, done: str) -> None:
    path = f"/thumbnails/{done}"
    service.get(path)
    result = service.get(path, headers={"Range": "bytes=10-19"})
    assert (result.status_code, result.content) == (206, CONTENT[10:20])
    assert result.headers["content-range"] == "bytes 10-19/1024"
    assert result.headers["content-length"] == "10"
    assert service.get(path, headers={"Range": "bytes=2000-"}).status_code == 416
    assert service.objects.calls == ["get"]


def test_a_range_alone_is_read_from_the_store(service: Any, done: str) -> None:
    for _ in range(2):
        assert service.get(f"/thumbnails/{done}", headers={"Range": "bytes=0-3"}).content == CONTENT[:4]
    assert service.objects.calls == ["get", "get"]


def test_great_thumbnails_come_from_the_store_each_time(
    make_service: Callable[..., Any], jpeg: bytes
) -> None:
    service = make_service(cache_entry_bytes=1023)
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id, thumbnail=CONTENT)
    service.objects.calls.clear()
    for _ in range(2):
        assert service.get(f"/thumbnails/{job_id}").content == CONTENT
    assert service.objects.calls == ["get", "get"]


def test_a_thumbnail_that_broke_off_is_not_kept(service: Any, done: str) -> None:
    service.objects.breaks_after = 100
    assert service.get(f"/thumbnails/{done}").json["reason"] == ObjectStoreUnavailable.reason
    assert all(body.closed for body in service.objects.bodies)
    service.objects.breaks_after = None
    assert service.get(f"/thumbnails/{done}").content == CONTENT


def test_an_object_that_was_written_anew_is_not_kept_as_the_old_one(service: Any, done: str) -> None:
    (key,) = (key for key in service.objects.objects if key.startswith("thumbnails/"))
    facts, _ = service.objects.objects[key]
    fresh = b"other bytes"
    changed = type(facts)(facts.key, "new-etag", len(fresh), facts.last_modified, facts.content_type)
    service.objects.objects[key] = (changed, fresh)
    for _ in range(2):
        result = service.get(f"/thumbnails/{done}")
        assert (result.content, result.headers["etag"]) == (fresh, '"new-etag"')


def test_deleting_the_job_erases_them(service: Any, done: str, problem: Any) -> None:
    service.get(f"/thumbnails/{done}")
    assert samples(service)["thumbnails_api_cache_entries", ""] == 1
    assert service.request("DELETE", f"/jobs/{done}").status_code == 204
    problem(service.get(f"/thumbnails/{done}"), 404, "ThumbnailNotFound")
    assert samples(service)["thumbnails_api_cache_entries", ""] == 0


def test_so_does_a_deletion_by_somebody_else(make_service: Callable[..., Any], jpeg: bytes) -> None:
    service = make_service(watching=True)
    job_id = service.upload(jpeg).json["id"]
    service.finish(job_id, thumbnail=CONTENT)
    service.get(f"/thumbnails/{job_id}")
    service.store.delete("thumbnails", job_id)
    deadline = time.monotonic() + 60
    while samples(service)["thumbnails_api_cache_bytes", ""]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_deletion_in_the_midst_of_a_request_leaves_nothing(service: Any, done: str) -> None:
    get = service.objects.get

    def get_and_delete(key: str, **options: Any) -> Any:
        body = get(key, **options)
        assert service.request("DELETE", f"/jobs/{done}").status_code == 204
        return body

    service.objects.get = get_and_delete
    assert service.get(f"/thumbnails/{done}").content == CONTENT
    assert samples(service)["thumbnails_api_cache_entries", ""] == 0


class Accounts:
    """An Authenticator for which the name of an account is its key."""

    requires_login = True

    def glance(self, authorization: str | None) -> Access:
        if authorization is None:
            raise Unauthorized
        return Access(Caller("thumbnails", authorization))

    authenticate = glance


def test_what_is_in_memory_is_nobody_else_s(
    make_service: Callable[..., Any], jpeg: bytes, problem: Any
) -> None:
    service = make_service(authenticator=Accounts())
    mine, other = {"Authorization": "default"}, {"Authorization": "other"}
    job_id = service.post_form([("image", "a.jpg", jpeg)], headers=mine).json["id"]
    service.finish(job_id, thumbnail=CONTENT)
    path = f"/thumbnails/{job_id}"
    assert service.get(path, headers=mine).content == CONTENT
    service.objects.calls.clear()
    assert service.get(path, headers=mine).content == CONTENT
    assert service.objects.calls == []  # it is in memory
    problem(service.get(path, headers=other), 404, "ThumbnailNotFound")
    problem(service.get(path), 401, "Unauthorized")


def test_hits_and_misses_are_counted(service: Any, done: str) -> None:
    for _ in range(3):
        service.get(f"/thumbnails/{done}")
    service.get(f"/thumbnails/{done}", headers={"If-None-Match": "*"})
    service.request("HEAD", f"/thumbnails/{done}")
    found = samples(service)
    assert found["thumbnails_api_cache_requests_total", "hit"] == 2
    assert found["thumbnails_api_cache_requests_total", "miss"] == 1
    assert found["thumbnails_api_cache_bytes", ""] == len(CONTENT)
    assert found["thumbnails_api_cache_evictions_total", ""] == 0


def samples(service: Any) -> dict[tuple[str, str], float]:
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(service.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith("thumbnails_api_cache")
    }
