"""The jobs of a batch, as the API lists them on each job store."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_api.accounts import Caller
from thumbnails_api.job_cache import JobCache
from thumbnails_common.jobstore import JobStore
from thumbnails_contract.job import JobKey, new_manifest
from thumbnails_contract.spec import Batch, Spec
from thumbnails_contract.status import Condition, ConditionType, Phase, Status

EVERY = frozenset(Phase)


@pytest.fixture
def cache(job_store: JobStore) -> Iterator[JobCache]:
    cache = JobCache(job_store)
    cache.start()
    assert cache.wait_synced(60)
    yield cache
    job_store.close()  # which ends the watch
    cache.stop(60)


def create(store: JobStore, namespace: str, name: str, batch: Batch | None, account: str = "shop") -> None:
    spec = Spec(object_key=f"sources/{namespace}/{name}", account=account, batch=batch)
    store.create(new_manifest(JobKey(namespace, name), spec))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_jobs_of_a_batch_are_listed_by_status_and_in_pages(
    job_store: JobStore, cache: JobCache, backend: Any
) -> None:
    shop = Caller(backend.namespace, "shop")

    def names(batch: str, phases: frozenset[Phase] = EVERY) -> set[str]:
        page = cache.page(shop, phases=phases, limit=1000, before=None, batch=batch)
        return {job.key.name for job in page.jobs} if page else set()

    for number in range(5):
        create(job_store, backend.namespace, f"of-a-{number}", Batch("a", number, 5))
    create(job_store, backend.namespace, "of-b", Batch("b", 0, 1))
    create(job_store, backend.namespace, "alone", None)
    create(job_store, backend.namespace, "of-another-account", Batch("a", 0, 1), account="rival")
    create(job_store, backend.other_namespace, "of-another-namespace", Batch("a", 0, 1))
    everything = {f"of-a-{number}" for number in range(5)}
    eventually(lambda: names("a") == everything and names("b") == {"of-b"})
    assert names("there-is-none") == set()

    document = job_store.get(backend.namespace, "of-a-3")
    ended = Condition(ConditionType.COMPLETE, True, "Rendered", "", datetime.now(UTC))
    patch = Status(conditions=(ended,)).to_manifest()
    version = document["metadata"]["resourceVersion"]
    job_store.patch_status(backend.namespace, "of-a-3", patch, resource_version=version)
    eventually(lambda: names("a", frozenset({Phase.SUCCEEDED})) == {"of-a-3"})
    assert names("a", frozenset({Phase.PENDING})) == everything - {"of-a-3"}

    pages, before = [], None
    while True:
        page = cache.page(shop, phases=EVERY, limit=2, before=before, batch="a")
        assert page is not None
        pages.append([job.key.name for job in page.jobs])
        before = page.next
        if before is None:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {name for page in pages for name in page} == everything

    job_store.delete(backend.namespace, "of-a-0")
    eventually(lambda: names("a") == everything - {"of-a-0"})
