"""Many writers: no update is lost, no name given twice, and every watcher sees every change once."""

import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from thumbnails_common.jobstore import AlreadyExists, Conflict, JobStore, WatchEventType

Manifest = Callable[..., dict[str, Any]]
INCREMENTS = 50


def increment(store: JobStore, namespace: str, name: str) -> int:
    """Add one to `status.attempts`, starting over at each conflict; the number of conflicts."""
    conflicts = 0
    while True:
        job = store.get(namespace, name)
        patch = {"attempts": job["status"].get("attempts", 0) + 1}
        try:
            store.patch_status(namespace, name, patch, resource_version=job["metadata"]["resourceVersion"])
        except Conflict:
            conflicts += 1
        else:
            return conflicts


def test_threads_lose_no_update(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("counter"))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4 * INCREMENTS):
            pool.submit(increment, job_store, backend.namespace, "counter")
    assert job_store.get(backend.namespace, "counter")["status"]["attempts"] == 4 * INCREMENTS


def test_processes_lose_no_update(job_store: JobStore, manifest: Manifest, backend: Any, python: str) -> None:
    job_store.create(manifest("counter"))
    code = f"""
from thumbnails_common.jobstore import Conflict
{backend.connect_code()}
for _ in range({INCREMENTS}):
    while True:
        job = store.get({backend.namespace!r}, "counter")
        patch = {{"attempts": job["status"].get("attempts", 0) + 1}}
        version = job["metadata"]["resourceVersion"]
        try:
            store.patch_status({backend.namespace!r}, "counter", patch, resource_version=version)
            break
        except Conflict:
            pass
"""
    processes = [subprocess.Popen([python, "-c", code]) for _ in range(2)]
    for _ in range(INCREMENTS):
        increment(job_store, backend.namespace, "counter")
    assert [process.wait(60) for process in processes] == [0, 0]
    assert job_store.get(backend.namespace, "counter")["status"]["attempts"] == 3 * INCREMENTS


def test_spec_patches_without_a_resource_version_all_take_effect(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    job_store.create(manifest("one"))

    def toggle(other: str) -> None:
        store = backend.connect()
        for _ in range(20):
            store.patch_spec(backend.namespace, "one", {"suspend": True})
            job = store.create(manifest(other))
            store.delete(backend.namespace, job["metadata"]["name"])

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(toggle, name) for name in ("a", "b", "c")]
    for future in done:
        future.result()
    job_store.patch_spec(backend.namespace, "one", {"cancel": True})
    job = job_store.get(backend.namespace, "one")
    assert (job["spec"]["suspend"], job["spec"]["cancel"], job["metadata"]["generation"]) == (True, True, 3)


def test_one_of_many_creates_of_a_name_succeeds(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    stores = [backend.connect() for _ in range(4)]
    barrier = threading.Barrier(len(stores))

    def create(store: JobStore) -> str:
        barrier.wait()
        try:
            return str(store.create(manifest("wanted"))["metadata"]["uid"])
        except AlreadyExists:
            return ""

    with ThreadPoolExecutor(len(stores)) as pool:
        (winner,) = filter(None, pool.map(create, stores))
    assert job_store.get(backend.namespace, "wanted")["metadata"]["uid"] == winner


def test_every_watcher_sees_every_change_once_and_in_order(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    writers, each = 3, 30
    start = job_store.list(backend.namespace).resource_version
    last = f"job-{writers - 1}-{each - 1}"

    def write(number: int) -> None:
        store = backend.connect()
        for i in range(each):
            name = f"job-{number}-{i}"
            job = store.create(manifest(name))
            version = job["metadata"]["resourceVersion"]
            store.patch_status(backend.namespace, name, {"attempts": 1}, resource_version=version)

    def watch() -> list[tuple[str, str, str]]:
        seen = []
        store = backend.connect()
        with closing(store.watch(start, backend.namespace, timeout_seconds=60)) as events:
            for event in events:
                if event.type is not WatchEventType.BOOKMARK:
                    seen.append((event.resource_version, event.type, json.dumps(event.document)))
                if len(seen) == 2 * writers * each:
                    return seen
        raise AssertionError(f"saw {len(seen)} events only; {last} should be the last")

    with ThreadPoolExecutor(writers + 2) as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        for future in [pool.submit(write, number) for number in range(writers)]:
            future.result()
        first, second = (watcher.result() for watcher in watchers)
    assert first == second
    versions = [int(version) for version, _, _ in first]
    assert versions == sorted(set(versions))
