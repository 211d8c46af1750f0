"""Whom pods reach, tried from inside them: the NetworkPolicies of the chart, as the cluster enforces them.

A pod that no policy is about reaches everything that is refused to others here, so that nothing is refused
for another reason.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hack.cluster import network
from hack.cluster.faults import RunningNode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Prints, for each "host port", whether a connection can be made.
CONNECT = """
import json, socket, sys
reached = {}
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        reached[place] = True
    except OSError:
        reached[place] = False
print(json.dumps(reached))
"""
Reaches = Callable[[str, list[str]], dict[str, bool]]


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """A server beyond the cluster, as one on the internet is: its address and port."""
    with socket.create_server((network.HOST_ADDRESS, 0)) as server:

        def accept() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:  # closed
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        host, port = server.getsockname()
        yield f"{host}:{port}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def places(installation: Any, node: RunningNode, outside: str) -> dict[str, str]:
    """Names of what could be reached, and their addresses."""
    namespace = installation.namespace
    pods = {name: installation.pods(name)[0]["status"]["podIP"] for name in ("api", "operator", "minio")}
    return {
        "exchange": f"thumbnails-exchange.{namespace}:8081",
        "object store": f"thumbnails-minio.{namespace}:9000",
        "API server": f"{network.API_SERVICE_ADDRESS}:443",
        "API server's node": f"{network.NODE_ADDRESS}:{network.API_PORT}",
        "kubelet": f"{network.NODE_ADDRESS}:10250",
        "REST API": f"thumbnails-api.{namespace}:3000",
        "API's metrics": f"{pods['api']}:8080",
        "operator's metrics": f"{pods['operator']}:8080",
        "MinIO's access container": f"{pods['minio']}:9002",
        "another pod": f"receiver.{namespace}:8080",
        "internet": outside,
    }


@pytest.fixture
def reached_from(installation: Any, places: dict[str, str]) -> Callable[[str], set[str]]:
    """A function that tries all places from a pod, and gives the names of those that it reaches."""

    def run(pod: str) -> set[str]:
        answer = installation.kubectl("exec", pod, "--", "python", "-c", CONNECT, *places.values())
        reached = json.loads(answer)
        return {name for name, place in places.items() if reached[place]}

    return run


@pytest.fixture
def worker(installation: Any, eventually: Callable[..., Any]) -> str:
    """The name of a worker's pod that runs and will for a while."""

    def running() -> str | None:
        for pod in installation.pods("worker"):
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        return None

    installation.upgrade(settings={"minWorkers": 1, "lingerSeconds": 120})
    return str(eventually(running, "a worker waits for work"))


def test_a_pod_without_a_policy_reaches_what_is_open(reached_from: Any) -> None:
    """The object store, the exchange and metrics are open to those alone that need them."""
    assert reached_from("receiver") == {
        "API server", "API server's node", "kubelet", "REST API", "another pod", "internet",
    }  # fmt: skip


def test_workers_reach_the_exchange_and_the_object_store_alone(reached_from: Any, worker: str) -> None:
    assert reached_from(worker) == {"exchange", "object store"}


def test_the_object_store_reaches_nobody(installation: Any, places: dict[str, str]) -> None:
    (pod,) = installation.pods("minio")
    own = {"object store", "MinIO's access container"}
    answer = installation.kubectl(
        *("exec", pod["metadata"]["name"], "--container=access", "--", "python", "-c", CONNECT),
        *(place for name, place in places.items() if name not in own),
    )
    assert not any(json.loads(answer).values()), answer


def test_the_api_does_not_reach_workers_and_others(installation: Any, reached_from: Any) -> None:
    pod = installation.pods("api")[0]["metadata"]["name"]
    reached = reached_from(pod)
    assert {"object store", "API server"} <= reached
    assert not reached & {"exchange", "kubelet", "another pod", "internet", "operator's metrics"}
