"""An object store that is away, silent, slow, or full."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hack.cluster.faults import RunningNode, frozen

UNAVAILABLE = frozenset({"ObjectStoreUnavailable"})
DISK_MIB = 640  # room for all that the test uploads


def server(faulty: Any, node: RunningNode) -> list[int]:
    """MinIO's processes."""
    (pod,) = faulty.pods("minio")
    (container,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == "minio")
    return node.container_pids(container["containerID"])


def test_it_is_away(outages: Any, faulty: Any) -> None:
    @contextmanager
    def away() -> Iterator[None]:
        faulty.kubectl("scale", "deployment/thumbnails-minio", "--replicas=0")
        try:
            yield
        finally:
            faulty.kubectl("scale", "deployment/thumbnails-minio", "--replicas=1")

    outages.run("MinIO away for 30 s", away(), seconds=30)


def test_it_does_not_answer(outages: Any, faulty: Any, node: RunningNode) -> None:
    outages.run("MinIO silent for 30 s", frozen(server(faulty, node)), seconds=30)


def test_it_is_slow(outages: Any, faulty: Any, node: RunningNode) -> None:
    """It runs for a tenth of the time."""

    @contextmanager
    def slow() -> Iterator[None]:
        done = threading.Event()
        pids = server(faulty, node)

        def brake() -> None:
            while not done.wait(0.1):
                with frozen(pids):
                    done.wait(0.9)

        thread = threading.Thread(target=brake)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    outages.run("MinIO runs a tenth of the time, for 30 s", slow(), seconds=30)


@pytest.fixture
def small_disk(faulty: Any) -> Iterator[None]:
    """MinIO's volume is a small one, in memory."""
    deployment = "deployment/thumbnails-minio"
    before = faulty.get(deployment)["spec"]["template"]["spec"]["volumes"]
    (place,) = (index for index, volume in enumerate(before) if volume["name"] == "data")

    def use(volume: dict[str, Any]) -> None:
        patch = f'[{{"op": "replace", "path": "/spec/template/spec/volumes/{place}", "value": {volume}}}]'
        faulty.kubectl("patch", deployment, "--type=json", f"--patch={patch.replace(chr(39), chr(34))}")
        faulty.kubectl("rollout", "status", deployment, "--timeout=180s")

    use({"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": f"{DISK_MIB}Mi"}})
    yield
    use(before[place])


@pytest.mark.usefixtures("small_disk")
def test_its_disk_is_full(outages: Any, faulty: Any, node: RunningNode) -> None:
    @contextmanager
    def full() -> Iterator[None]:
        ballast = Path(f"/proc/{min(server(faulty, node))}/root/data/ballast")
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:  # until no space is left
                while True:
                    file.write(bytes(1 << 16))
            yield
        finally:
            ballast.unlink()

    # No large thumbnails: MinIO takes them only with a GiB to spare, which this disk never has.
    outages.run("MinIO's disk full for 30 s", full(), seconds=30, backlog=0)
