"""The watch-fed cache: what it sees, what it never forgets or brings back, pages at scale."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from thumbnails_api.accounts import Caller
from thumbnails_api.job_cache import JobCache
from thumbnails_common.jobstore import Expired, WatchEventType
from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.spec import Spec
from thumbnails_contract.status import Condition, ConditionType, Phase, Status

DEFAULT = Caller("thumbnails", "default")
EVERY = frozenset(Phase)


@pytest.fixture
def store(make_store: Any) -> Any:
    return make_store()


@pytest.fixture
def cache(store: Any) -> Iterator[JobCache]:
    cache = JobCache(store)
    yield cache
    store.close()
    cache.stop()


def create(store: Any, name: Any, account: Any = "default", namespace: Any = "thumbnails") -> Any:
    spec = Spec(object_key=f"sources/{namespace}/x", account=account)
    return store.create(new_manifest(JobKey(namespace, name), spec))


def names(
    cache: Any, caller: Any = DEFAULT, phases: Any = EVERY, limit: Any = 1000, before: Any = None
) -> Any:
    page = cache.page(caller, phases=phases, limit=limit, before=before)
    return None if page is None else [job.key.name for job in page.jobs]


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finished(store: Any, name: Any) -> Any:
    document = store.get("thumbnails", name)
    condition = Condition(ConditionType.COMPLETE, True, "Rendered", "", store.now)
    return store.patch_status(
        "thumbnails",
        name,
        Status(conditions=(condition,)).to_manifest(),
        resource_version=document["metadata"]["resourceVersion"],
    )


def test_it_lists_and_then_follows(store: Any, cache: Any) -> None:
    create(store, "a")
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache) == ["a"]
    create(store, "b")
    eventually(lambda: names(cache) == ["b", "a"])
    store.delete("thumbnails", "a")
    eventually(lambda: names(cache) == ["b"])
    store.delete("thumbnails", "b")
    eventually(lambda: names(cache) is None)


def test_before_the_first_list_there_is_no_answer(cache: Any) -> None:
    with pytest.raises(JobStoreUnavailable):
        names(cache)


def test_all_pages_of_a_list_are_read(store: Any, cache: Any) -> None:
    made = [f"job-{number:04}" for number in range(1200)]
    for name in made:
        create(store, name)
    cache.start()
    assert cache.wait_synced(60)
    assert sorted(names(cache, limit=2000)) == made


def test_a_store_that_is_away_is_tried_again(store: Any, cache: Any) -> None:
    store.failures["list"] = [JobStoreUnavailable(), JobStoreUnavailable()]
    create(store, "a")
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache) == ["a"]


def test_a_watch_that_breaks_goes_on(store: Any, cache: Any) -> None:
    store.failures["watch"] = [JobStoreUnavailable(), RuntimeError("bug")]
    cache.start()
    create(store, "a")
    eventually(lambda: cache.synced and names(cache) == ["a"])


def test_after_an_expired_watch_it_lists_anew(store: Any, cache: Any) -> None:
    create(store, "gone")
    create(store, "a")
    follow = store.watch

    def watch(*arguments: Any, **options: Any) -> Any:
        # The first watch expires, and what happened meanwhile is in no journal any more.
        store.watch = follow
        del store.documents["thumbnails", "gone"]
        raise Expired

    store.watch = watch
    cache.start()
    assert cache.wait_synced(60)
    eventually(lambda: names(cache) == ["a"])
    create(store, "b")
    eventually(lambda: names(cache) == ["b", "a"])


def test_a_job_that_was_put_while_the_list_was_read_stays(store: Any, cache: Any) -> None:
    create(store, "old")
    listed = store.list()
    newer = create(store, "newer")
    store.list = lambda *_, **__: listed
    cache.put(newer)
    store.journal.clear()
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache) == ["old", "newer"]


def test_an_older_state_never_replaces_a_newer_one(store: Any, cache: Any) -> None:
    old = create(store, "a")
    new = finished(store, "a")
    cache.put(new)
    assert cache.put(old).status.phase is Phase.SUCCEEDED
    assert cache.get(DEFAULT, "a").status.phase is Phase.SUCCEEDED


def test_a_deleted_job_never_comes_back_but_its_name_may(store: Any, cache: Any) -> None:
    old = create(store, "a")
    cache.put(old)
    store.delete("thumbnails", "a")
    cache.remove(ThumbnailJob.parse(old))
    assert cache.put(old) is None
    assert cache.get(DEFAULT, "a") is None
    again = create(store, "a")
    assert cache.put(again).uid == again["metadata"]["uid"]
    # The deletion of the first one, seen late, does not touch the second.
    cache.remove(ThumbnailJob.parse(old))
    assert cache.get(DEFAULT, "a").uid == again["metadata"]["uid"]


def test_an_unreadable_job_hides_no_other(store: Any, cache: Any) -> None:
    create(store, "bad")
    store.documents["thumbnails", "bad"]["spec"]["outputs"] = [{"name": "x", "fit": "from the future"}]
    create(store, "good")
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache) == ["good"]
    assert cache.get(DEFAULT, "bad") is None


def test_accounts_and_namespaces_are_apart(store: Any, cache: Any) -> None:
    create(store, "mine")
    create(store, "hers", account="alice")
    create(store, "there", namespace="elsewhere")
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache) == ["mine"]
    assert names(cache, Caller("thumbnails", "alice")) == ["hers"]
    assert names(cache, Caller("elsewhere", "default")) == ["there"]
    assert cache.get(DEFAULT, "hers") is None
    assert cache.get(DEFAULT, "there") is None


def test_a_job_moves_between_filters_with_its_phase(store: Any, cache: Any) -> None:
    cache.put(create(store, "a"))
    cache.start()
    assert cache.wait_synced(60)
    assert names(cache, phases=frozenset({Phase.PENDING})) == ["a"]
    cache.put(finished(store, "a"))
    assert names(cache, phases=frozenset({Phase.PENDING})) == []
    assert names(cache, phases=frozenset({Phase.SUCCEEDED})) == ["a"]


def test_waiting_ends_with_the_job_the_time_or_the_cache(store: Any, cache: Any) -> None:
    job = cache.put(create(store, "a"))
    assert cache.wait_until_finished(job, 0.0).status.phase is Phase.PENDING
    waited = []
    threads = [
        threading.Thread(target=lambda: waited.append(cache.wait_until_finished(job, 100))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    cache.put(finished(store, "a"))
    for thread in threads:
        thread.join(60)
    assert [job.status.phase for job in waited] == [Phase.SUCCEEDED] * 3


def test_stop_lets_waiters_go(store: Any, cache: Any) -> None:
    job = cache.put(create(store, "a"))
    thread = threading.Thread(target=cache.wait_until_finished, args=(job, 100))
    thread.start()
    cache.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_page_of_very_many_jobs_touches_few(store: Any, cache: Any) -> None:
    first = ThumbnailJob.parse(create(store, "a"))
    cache.start()
    assert cache.wait_synced(60)
    for number in range(5_000):
        job = dataclasses.replace(first, key=JobKey("thumbnails", f"n-{number:05}"), uid=str(number))
        cache._index.set(job)
    page = cache.page(DEFAULT, phases=EVERY, limit=100, before=None)
    assert [job.key.name for job in page.jobs] == [f"n-{number:05}" for number in range(4_999, 4_899, -1)]
    following = cache.page(DEFAULT, phases=EVERY, limit=1, before=page.next)
    assert [job.key.name for job in following.jobs] == ["n-04899"]


def test_a_deletion_may_carry_the_last_known_state(store: Any, cache: Any) -> None:
    from thumbnails_common.jobstore import WatchEvent

    document = create(store, "a")
    cache.start()
    assert cache.wait_synced(60)
    with store._changed:
        store.journal.append(WatchEvent(WatchEventType.DELETED, document, "100"))
        store._changed.notify_all()
    eventually(lambda: names(cache) is None)


def test_bookmarks_change_nothing(store: Any, cache: Any) -> None:
    from thumbnails_common.jobstore import WatchEvent

    cache.start()
    assert cache.wait_synced(60)
    with store._changed:
        store.journal.append(WatchEvent(WatchEventType.BOOKMARK, {}, "100"))
        store._changed.notify_all()
    with store._changed:
        store._versions = iter(range(101, 200))
    create(store, "a")
    eventually(lambda: names(cache) == ["a"])
