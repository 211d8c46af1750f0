"""`get` and `list`: one job, and pages of one state of the store."""

from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_common.jobstore import Document, Expired, JobStore, ObjectMissing

Manifest = Callable[..., dict[str, Any]]


def names(items: tuple[Document, ...]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


def test_get_of_what_is_not_there(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("one", namespace=backend.other_namespace))
    for name in ("one", "", "No such name", "a/b"):
        with pytest.raises(ObjectMissing):
            job_store.get(backend.namespace, name)


def test_the_list_of_an_empty_namespace(job_store: JobStore, backend: Any) -> None:
    page = job_store.list(backend.namespace)
    assert page.items == ()
    assert page.continue_token is None
    assert int(page.resource_version) > 0


def test_a_list_is_ordered_by_name(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    created = {name: job_store.create(manifest(name)) for name in ("b", "c", "a", "a-1", "a.1")}
    page = job_store.list(backend.namespace)
    assert names(page.items) == sorted(created)
    assert all(item == created[item["metadata"]["name"]] for item in page.items)
    assert page.continue_token is None


def test_a_list_is_of_one_namespace_or_of_all(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("mine"))
    job_store.create(manifest("theirs", namespace=backend.other_namespace))
    assert names(job_store.list(backend.namespace).items) == ["mine"]
    assert {"mine", "theirs"} <= set(read_pages(job_store, None, 500, lambda: None))


def test_a_list_has_jobs_as_they_are_now(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    job_store.create(manifest("gone"))
    job_store.create(manifest("patched"))
    job_store.delete(backend.namespace, "gone")
    patched = job_store.patch_spec(backend.namespace, "patched", {"suspend": True})
    assert job_store.list(backend.namespace).items == (patched,)


def test_lists_select_by_labels(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    for name, labels in {
        "plain": None,
        "red": {"thumbnails.dev/colour": "red"},
        "red-big": {"thumbnails.dev/colour": "red", "size": "big"},
        "blue": {"thumbnails.dev/colour": "blue"},
    }.items():
        sent = manifest(name)
        if labels:
            sent["metadata"]["labels"] = labels
        job_store.create(sent)

    def selected(**labels: str) -> list[str]:
        renamed = {key.replace("colour", "thumbnails.dev/colour"): value for key, value in labels.items()}
        return names(job_store.list(backend.namespace, labels=renamed).items)

    assert selected(colour="red") == ["red", "red-big"]
    assert selected(colour="red", size="big") == ["red-big"]
    assert selected(colour="green") == []
    assert len(selected()) == 4


def read_pages(store: JobStore, namespace: str | None, limit: int, between: Callable[[], None]) -> list[str]:
    found: list[str] = []
    token, versions = None, set()
    while True:
        page = store.list(namespace, limit=limit, continue_token=token)
        assert len(page.items) <= limit
        versions.add(page.resource_version)
        found += names(page.items)
        token = page.continue_token
        if token is None:
            assert len(versions) == 1
            return found
        between()


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
def test_pages_are_complete(job_store: JobStore, manifest: Manifest, backend: Any, limit: int) -> None:
    wanted = [job_store.create(manifest(f"job-{i}"))["metadata"]["name"] for i in range(5)]
    assert read_pages(job_store, backend.namespace, limit, lambda: None) == wanted


def test_pages_are_of_one_state_whatever_is_written_meanwhile(
    job_store: JobStore, manifest: Manifest, backend: Any
) -> None:
    before = {name: job_store.create(manifest(name)) for name in ("b", "d", "f", "h")}
    first = job_store.list(backend.namespace, limit=1)
    job_store.create(manifest("c"))
    job_store.delete(backend.namespace, "d")
    job_store.patch_spec(backend.namespace, "f", {"suspend": True})
    job_store.delete(backend.namespace, "h")
    job_store.create(manifest("h"))

    rest = job_store.list(backend.namespace, continue_token=first.continue_token)
    assert [*first.items, *rest.items] == list(before.values())
    assert rest.resource_version == first.resource_version
    assert names(job_store.list(backend.namespace).items) == ["b", "c", "f", "h"]


def test_pages_keep_the_selection_by_labels(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    for i in range(6):
        sent = manifest(f"job-{i}")
        sent["metadata"]["labels"] = {"parity": "odd" if i % 2 else "even"}
        job_store.create(sent)
    odd = {"parity": "odd"}
    first = job_store.list(backend.namespace, labels=odd, limit=2)
    rest = job_store.list(backend.namespace, labels=odd, limit=2, continue_token=first.continue_token)
    assert names(first.items + rest.items) == ["job-1", "job-3", "job-5"]


def test_an_old_continue_token_is_expired(job_store: JobStore, manifest: Manifest, backend: Any) -> None:
    for name in ("a", "b"):
        job_store.create(manifest(name))
    token = backend.expire_token(job_store.list(backend.namespace, limit=1).continue_token)
    with pytest.raises(Expired):
        job_store.list(backend.namespace, limit=1, continue_token=token)
    assert names(job_store.list(backend.namespace).items) == ["a", "b"]
