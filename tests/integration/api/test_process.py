"""`python -m thumbnails_api` as a cluster runs it: on a real API server, and without an object store."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

PATIENCE_SECONDS = 60.0
UNAVAILABLE = 503


class Process:
    """One replica."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / "api.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBNAILS_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "thumbnails_api"],
                stdout=log,
                stderr=log,
                cwd="/",
                env={
                    **kept,
                    "PORT": "0",
                    "THUMBNAILS_PROBE_PORT": "0",
                    "THUMBNAILS_S3_ENDPOINT": "http://127.0.0.1:1",
                    "THUMBNAILS_S3_ACCESS_KEY": "nobody",
                    "THUMBNAILS_S3_SECRET_KEY": "nothing",
                    "THUMBNAILS_S3_RETRY_SECONDS": "0",
                    **environment,
                },
            )

    def log(self) -> str:
        return self._log.read_text()

    def ports(self) -> tuple[int, int]:
        """Of the API, and of the probes, once it listens."""
        found = eventually(lambda: re.search(r"port (\d+), probes on port (\d+)", self.log()))
        return int(found[1]), int(found[2])


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def get(port: int, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://127.0.0.1:{port}{path}", timeout=30)


@pytest.fixture
def namespace(make_namespace: Callable[[], str]) -> str:
    return make_namespace()


@pytest.fixture
def start(cluster: Any, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(**environment: str) -> Process:
        mine = {"KUBECONFIG": cluster.kubeconfig, "THUMBNAILS_NAMESPACE": namespace}
        started.append(Process(tmp_path, {**mine, **environment}))
        return started[-1]

    yield start
    for replica in started:
        replica.process.kill()
        replica.process.wait()


def test_jobs_that_kubectl_made_are_served(
    start: Callable[..., Process], cluster: Any, namespace: str
) -> None:
    port, probes = start().ports()
    eventually(lambda: "jobs" not in get(probes, "/readyz").json()["checks"])
    # There is no object store here, and only that knows of jobs that are history.
    assert get(port, "/jobs").status_code == UNAVAILABLE
    manifest = {
        "apiVersion": "thumbnails.dev/v1alpha1",
        "kind": "ThumbnailJob",
        "metadata": {"name": "by-hand"},
        "spec": {"source": {"objectKey": f"sources/{namespace}/a.jpg"}},
    }
    cluster.objects.create_namespaced_custom_object(
        "thumbnails.dev", "v1alpha1", namespace, "thumbnailjobs", manifest
    )
    assert get(port, "/jobs/by-hand").json()["status"] == "pending"
    assert [job["id"] for job in eventually(lambda: get(port, "/jobs?status=pending").json())] == ["by-hand"]


def test_probes_have_a_port_of_their_own_that_serves_nothing_else(start: Callable[..., Process]) -> None:
    port, probes = start().ports()
    eventually(lambda: get(probes, "/readyz").json()["checks"].keys() == {"objectStore"})
    assert get(probes, "/healthz").status_code == 200
    assert get(probes, "/readyz").status_code == UNAVAILABLE
    assert get(probes, "/jobs").status_code == 404
    assert get(port, "/healthz").status_code == 200


def test_sigterm_makes_it_unready_first_and_ends_it_later(start: Callable[..., Process]) -> None:
    replica = start(THUMBNAILS_DRAIN_SECONDS="300")
    port, probes = replica.ports()
    replica.process.send_signal(signal.SIGTERM)
    eventually(lambda: "process" in get(probes, "/readyz").json()["checks"])
    # Requests still come, and are answered.
    assert "process" in get(port, "/readyz").json()["checks"]
    assert get(port, "/").status_code == 200
    assert replica.process.poll() is None
    replica.process.send_signal(signal.SIGTERM)  # whoever is in a hurry says so twice
    assert replica.process.wait(PATIENCE_SECONDS) == 0
    assert "Traceback" not in replica.log()


def test_it_ends_by_itself_after_draining(start: Callable[..., Process]) -> None:
    replica = start(THUMBNAILS_DRAIN_SECONDS="0")
    replica.ports()
    replica.process.send_signal(signal.SIGTERM)
    assert replica.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"THUMBNAILS_HOST": "0.0.0.0"}, "THUMBNAILS_HOST: must be a loopback address"),
        ({"KUBECONFIG": "/nowhere"}, "KUBECONFIG: there is no usable configuration of a cluster"),
        ({"THUMBNAILS_S3_ENDPOINT": ""}, "THUMBNAILS_S3_ENDPOINT: must be set"),
        ({"PORT": "http"}, "PORT: must be a whole number"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    replica = Process(tmp_path, environment)
    assert replica.process.wait(PATIENCE_SECONDS) == 1
    (line,) = replica.log().splitlines()
    assert line.startswith(says)


def test_with_a_login_it_listens_everywhere_and_asks_for_it(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    port, probes = start(THUMBNAILS_HOST="::", THUMBNAILS_API_KEYS_DIR=str(keys)).ports()
    assert get(port, "/jobs").status_code == 401
    assert get(probes, "/healthz").status_code == 200
