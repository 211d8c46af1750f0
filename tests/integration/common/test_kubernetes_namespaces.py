"""One job store over several namespaces of a real API server: lists of one state, and one watch."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from thumbnails_common.jobstore import Expired, WatchEventType
from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_contract.job import JobKey, new_manifest
from thumbnails_contract.spec import Spec


@pytest.fixture
def namespaces(make_namespace: Callable[[], str]) -> tuple[str, ...]:
    return tuple(sorted(make_namespace() for _ in range(3)))


@pytest.fixture
def store(cluster: Any, namespaces: tuple[str, ...]) -> Iterator[KubernetesJobStore]:
    client = load_client(8, component="tests", env={"KUBECONFIG": cluster.kubeconfig})
    store = KubernetesJobStore(client, namespaces=namespaces[:2])
    yield store
    store.close()


def create(store: KubernetesJobStore, namespace: str, name: str) -> None:
    store.create(new_manifest(JobKey(namespace, name), Spec(object_key=f"sources/{namespace}/x")))


def pages(store: KubernetesJobStore, limit: int, between: Callable[[], None]) -> tuple[list[str], set[str]]:
    found, versions, token = [], set(), None
    while True:
        page = store.list(limit=limit, continue_token=token)
        found += [f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in page.items]
        versions.add(page.resource_version)
        token = page.continue_token
        if token is None:
            return found, versions
        between()


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_a_list_is_of_one_state_of_all(
    store: KubernetesJobStore, namespaces: tuple[str, ...], limit: int
) -> None:
    first, second, unwatched = namespaces
    for namespace in namespaces:
        for name in ("a", "b"):
            create(store, namespace, name)
    numbers = itertools.count()
    found, versions = pages(store, limit, lambda: create(store, second, f"late-{next(numbers)}"))
    assert found == [f"{namespace}/{name}" for namespace in (first, second) for name in ("a", "b")]
    assert len(versions) == 1
    assert len(store.list(unwatched).items) == 2


def test_a_watch_goes_on_where_the_list_was(store: KubernetesJobStore, namespaces: tuple[str, ...]) -> None:
    version = store.list().resource_version
    for namespace in namespaces:
        create(store, namespace, "one")
    with closing(store.watch(version, timeout_seconds=60)) as watch:
        changes = (event for event in watch if event.type is not WatchEventType.BOOKMARK)
        seen = {event.document["metadata"]["namespace"] for event in itertools.islice(changes, 2)}
    assert seen == set(namespaces[:2])


@pytest.mark.parametrize("token", ["nonsense", "WzAsIDEsIG51bGxd", "WzksICIxIiwgbnVsbF0=", "e30="])
def test_a_token_of_another_store_is_expired(store: KubernetesJobStore, token: str) -> None:
    with pytest.raises(Expired):
        store.list(continue_token=token)
