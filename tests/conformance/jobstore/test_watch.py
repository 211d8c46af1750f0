"""`watch`: every change after a resourceVersion, in order, once, from whichever process it comes."""

import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from typing import Any

import pytest

from thumbnails_common.jobstore import Expired, JobStore, WatchEvent, WatchEventType
from thumbnails_contract.errors import JobStoreUnavailable

Manifest = Callable[..., dict[str, Any]]
ADDED, MODIFIED, DELETED, BOOKMARK = WatchEventType

# Long enough for any machine; tests end as soon as they have seen what they wait for.
PATIENCE_SECONDS = 60.0


def watching(
    store: JobStore, version: str, namespace: str | None = None
) -> AbstractContextManager[Iterator[WatchEvent]]:
    """A watch that is closed at the end of the block."""
    watch: Any = store.watch(version, namespace, timeout_seconds=PATIENCE_SECONDS)
    return closing(watch)


def take(events: Iterator[WatchEvent], count: int) -> list[WatchEvent]:
    return list(itertools.islice((event for event in events if event.type is not BOOKMARK), count))


def test_a_watch_tells_every_change_in_order(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    start = job_store.list(backend.namespace).resource_version
    created = job_store.create(manifest("one"))
    version = created["metadata"]["resourceVersion"]
    patched = job_store.patch_status(backend.namespace, "one", {"attempts": 1}, resource_version=version)
    suspended = job_store.patch_spec(backend.namespace, "one", {"suspend": True})
    job_store.delete(backend.namespace, "one")

    with watching(job_store, start, backend.namespace) as watch:
        events = take(watch, 4)
    assert [event.type for event in events] == [ADDED, MODIFIED, MODIFIED, DELETED]
    assert [event.document for event in events[:3]] == [created, patched, suspended]
    assert [event.resource_version for event in events] == [
        event.document["metadata"]["resourceVersion"] for event in events
    ]
    versions = [int(event.resource_version) for event in events]
    assert versions == sorted(set(versions))


def test_a_deletion_shows_the_job_as_it_was_last_with_a_new_resource_version(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    job = job_store.create(manifest("one"))
    job_store.delete(backend.namespace, "one")
    version = job["metadata"]["resourceVersion"]
    with watching(job_store, version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.type is DELETED
    assert event.document["spec"] == job["spec"]
    assert event.document["metadata"]["uid"] == job["metadata"]["uid"]
    assert int(event.resource_version) > int(version)
    assert event.document["metadata"]["resourceVersion"] == event.resource_version


def test_a_watch_goes_on_where_a_list_was(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("before"))
    page = job_store.list(backend.namespace)
    job_store.create(manifest("after"))
    with watching(job_store, page.resource_version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.document["metadata"]["name"] == "after"


def test_a_watch_goes_on_where_another_ended(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    for i in range(6):
        job_store.create(manifest(f"job-{i}"))
    seen = []
    for _ in range(3):
        with watching(job_store, version, backend.namespace) as watch:
            seen += take(watch, 2)
        version = seen[-1].resource_version
    assert [event.document["metadata"]["name"] for event in seen] == [f"job-{i}" for i in range(6)]


def test_a_watch_waits_for_what_comes(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    first_seen = threading.Event()

    def write() -> None:
        job_store.create(manifest("first"))
        first_seen.wait(PATIENCE_SECONDS)
        job_store.create(manifest("second"))

    thread = threading.Thread(target=write)
    with watching(job_store, version, backend.namespace) as watch:
        thread.start()
        (first,) = take(watch, 1)
        first_seen.set()
        (second,) = take(watch, 1)
    thread.join()
    assert [event.document["metadata"]["name"] for event in (first, second)] == ["first", "second"]


def test_a_watch_sees_what_other_processes_write(
    job_store: JobStore, manifest: Manifest, backend: Any, python: str
) -> None:
    version = job_store.list(backend.namespace).resource_version
    code = f"{backend.connect_code()}\nfor _ in range(20):\n  job = store.create({manifest('other')!r})\n"
    code += "  store.delete(job['metadata']['namespace'], 'other')\n"
    with watching(job_store, version, backend.namespace) as watch:
        process = subprocess.Popen([python, "-c", code])
        events = take(watch, 40)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert [event.type for event in events] == [ADDED, DELETED] * 20


def test_a_watch_of_one_namespace_does_not_see_others(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    version = job_store.list().resource_version
    job_store.create(manifest("theirs", namespace=backend.other_namespace))
    job_store.create(manifest("mine"))
    with watching(job_store, version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.document["metadata"]["name"] == "mine"
    with watching(job_store, version) as watch:
        ours = {backend.namespace, backend.other_namespace}  # others may use the same store
        changes = (event for event in watch if event.type is not BOOKMARK)
        both = take((event for event in changes if event.document["metadata"]["namespace"] in ours), 2)
    assert [event.document["metadata"]["name"] for event in both] == ["theirs", "mine"]


def test_a_patch_that_changes_nothing_is_no_event(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    job_store.create(manifest("one"))
    version = job_store.patch_spec(backend.namespace, "one", {"suspend": True})["metadata"]["resourceVersion"]
    job_store.patch_spec(backend.namespace, "one", {"suspend": True})
    job_store.create(manifest("two"))
    with watching(job_store, version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.document["metadata"]["name"] == "two"


def test_a_watch_ends_without_an_error_at_its_timeout(job_store: JobStore, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    before = time.monotonic()
    assert take(job_store.watch(version, backend.namespace, timeout_seconds=1), 1) == []
    assert time.monotonic() - before > 0.5


def test_bookmarks_carry_the_watch_over_what_it_does_not_show(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    version = job_store.list(backend.namespace).resource_version
    theirs = job_store.create(manifest("theirs", namespace=backend.other_namespace))
    watch: Any = job_store.watch(version, backend.namespace, timeout_seconds=backend.bookmark_timeout_seconds)
    past = int(theirs["metadata"]["resourceVersion"])
    with closing(watch):
        bookmark = next(event for event in watch if int(event.resource_version) >= past)
    assert (bookmark.type, bookmark.document) == (BOOKMARK, {})
    job_store.create(manifest("mine"))
    with watching(job_store, bookmark.resource_version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.document["metadata"]["name"] == "mine"


def test_a_watch_from_too_long_ago_is_expired(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    job_store.create(manifest("one"))
    version = backend.expire_version(version)
    with pytest.raises(Expired):
        take(job_store.watch(version, backend.namespace, timeout_seconds=PATIENCE_SECONDS), 1)

    # A list is not affected, and a watch from it works.
    page = job_store.list(backend.namespace)
    assert len(page.items) == 1
    job_store.delete(backend.namespace, "one")
    with watching(job_store, page.resource_version, backend.namespace) as watch:
        (event,) = take(watch, 1)
    assert event.type is DELETED


def test_closing_a_watch_ends_it(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    job_store.create(manifest("one"))
    job_store.create(manifest("two"))
    watch = job_store.watch(version, backend.namespace, timeout_seconds=PATIENCE_SECONDS)
    next(watch)
    watch.close()  # type: ignore[attr-defined] # a generator, says the port
    assert list(watch) == []


def test_closing_the_store_ends_its_watches(job_store: JobStore, backend: Any) -> None:
    version = job_store.list(backend.namespace).resource_version
    ended = threading.Event()

    def watch() -> None:
        with suppress(JobStoreUnavailable):  # as good: the caller is told why
            take(job_store.watch(version, backend.namespace, timeout_seconds=600), 1)
        ended.set()

    thread = threading.Thread(target=watch)
    thread.start()
    job_store.close()
    assert ended.wait(PATIENCE_SECONDS)
    thread.join()
