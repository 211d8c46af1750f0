"""`check` and `close`, and what another client sees."""

from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_common.jobstore import JobStore
from thumbnails_contract.errors import JobStoreUnavailable

Manifest = Callable[..., dict[str, Any]]


def test_check_returns_when_the_store_answers(job_store: JobStore) -> None:
    job_store.check()


def test_after_close_every_call_says_that_the_store_is_unavailable(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    sent = manifest("one")
    namespace = backend.namespace
    version = job_store.create(sent)["metadata"]["resourceVersion"]
    job_store.close()
    job_store.close()
    calls: list[Callable[[], object]] = [
        job_store.check,
        lambda: job_store.create(sent),
        lambda: job_store.get(namespace, "one"),
        lambda: job_store.list(namespace),
        lambda: job_store.patch_spec(namespace, "one", {"suspend": True}),
        lambda: job_store.patch_status(namespace, "one", {"attempts": 1}, resource_version=version),
        lambda: job_store.delete(namespace, "one"),
        lambda: next(job_store.watch(version, namespace)),
    ]
    for call in calls:
        with pytest.raises(JobStoreUnavailable):
            call()


def test_closing_one_client_leaves_the_others_alone(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    other = backend.connect()
    created = other.create(manifest("one"))
    other.close()
    assert job_store.get(backend.namespace, "one") == created
