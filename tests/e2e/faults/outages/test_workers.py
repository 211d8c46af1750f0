"""Workers that cannot start, and a node that is drained: jobs wait, say why, and go on by themselves."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

WORKERS = "--selector=thumbnails.dev/worker"
LARGEST_MIB = 1_000_000  # more than any node has


@pytest.fixture
def with_values(faulty: Any) -> Callable[..., Any]:
    """A context manager: the release has these values, and no worker of before is left."""

    @contextmanager
    def changed(**values: Any) -> Iterator[None]:
        faulty.upgrade(**values)
        try:
            faulty.kubectl("delete", "jobs", WORKERS, "--cascade=foreground")
            yield
        finally:
            faulty.roll_back()

    return changed


def test_the_workers_image_cannot_be_pulled(outages: Any, with_values: Any) -> None:
    outages.run(
        "worker's image cannot be pulled",
        with_values(worker={"image": {"tag": "no-such-tag"}}),
        told=frozenset({"ErrImagePull", "ImagePullBackOff"}),
    )


def test_no_node_has_room_for_a_worker(outages: Any, with_values: Any) -> None:
    outages.run(
        "worker cannot be scheduled",
        with_values(settings={"workerMemoryMib": LARGEST_MIB}),
        told=frozenset({"Unschedulable"}),
    )


def test_a_node_is_drained(outages: Any, faulty: Any) -> None:
    """What `kubectl drain` does, for the pods of one namespace: nothing may be scheduled, all is evicted.

    A PodDisruptionBudget keeps one of each component where it is, since there is no other node.
    """

    def evict(pod: str) -> bool:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": faulty.namespace},
        }
        path = f"/api/v1/namespaces/{faulty.namespace}/pods/{pod}/eviction"
        with suppress(AssertionError):  # refused by the PodDisruptionBudget
            faulty.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(body))
            return True
        return False

    @contextmanager
    def drained() -> Iterator[None]:
        (node,) = faulty.get("nodes")["items"]
        name = node["metadata"]["name"]
        faulty.kubectl("cordon", name)
        try:
            for component in ("worker", "operator", "api"):
                gone = [evict(pod["metadata"]["name"]) for pod in faulty.pods(component)]
                assert gone.count(True) == (len(gone) if component == "worker" else 1), component
            yield
        finally:
            faulty.kubectl("uncordon", name)

    outages.run("node drained for 30 s", drained(), seconds=30, told=frozenset({"Unschedulable"}))
