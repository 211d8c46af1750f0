"""`delete`: at once, and only what was meant."""

from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_common.jobstore import Conflict, JobStore, ObjectMissing

Manifest = Callable[..., dict[str, Any]]


def test_deletion_takes_effect_at_once(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("one"))
    job_store.delete(backend.namespace, "one")
    with pytest.raises(ObjectMissing):
        job_store.get(backend.namespace, "one")
    assert job_store.list(backend.namespace).items == ()


def test_what_is_not_there_cannot_be_deleted(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("one", namespace=backend.other_namespace))
    with pytest.raises(ObjectMissing):
        job_store.delete(backend.namespace, "one")
    job_store.delete(backend.other_namespace, "one")
    with pytest.raises(ObjectMissing):
        job_store.delete(backend.other_namespace, "one")


def test_the_uid_protects_the_next_owner_of_a_name(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    old = job_store.create(manifest("one"))
    job_store.delete(backend.namespace, "one", uid=old["metadata"]["uid"])
    new = job_store.create(manifest("one"))
    with pytest.raises(Conflict):
        job_store.delete(backend.namespace, "one", uid=old["metadata"]["uid"])
    assert job_store.get(backend.namespace, "one") == new


def test_the_resource_version_protects_what_has_changed(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    old = job_store.create(manifest("one"))["metadata"]
    new = job_store.patch_spec(backend.namespace, "one", {"suspend": True})["metadata"]
    with pytest.raises(Conflict):
        job_store.delete(backend.namespace, "one", resource_version=old["resourceVersion"])
    job_store.delete(backend.namespace, "one", uid=new["uid"], resource_version=new["resourceVersion"])
