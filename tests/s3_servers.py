"""The S3 servers that tests run on: SeaweedFS always, others where the environment says so.

MinIO when THUMBNAILS_TEST_MINIO names its executable; any other when THUMBNAILS_TEST_S3_ENDPOINT, _ACCESS_KEY
and _SECRET_KEY say where it is (its keys may make buckets).
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import urllib3

from thumbnails_common.s3_settings import S3Settings
from thumbnails_local.weed import WeedServer

MINIO = os.environ.get("THUMBNAILS_TEST_MINIO")
EXTERNAL = os.environ.get("THUMBNAILS_TEST_S3_ENDPOINT")
SERVERS = ("seaweedfs", *(["minio"] if MINIO else []), *(["external"] if EXTERNAL else []))


class SeaweedFS:
    """The server that the local launcher runs."""

    def __init__(self, folder: Path) -> None:
        self._server = WeedServer(folder)

    def start(self) -> S3Settings:
        return self._server.start()

    def stop(self) -> None:
        self._server.stop(grace_seconds=0)

    def signal(self, number: int) -> None:
        assert self._server.pid is not None
        os.kill(self._server.pid, number)
        if number == signal.SIGKILL:
            self._server.wait(30)


class MinIO:
    """A MinIO of one disk."""

    def __init__(self, folder: Path, binary: str) -> None:
        self._folder, self._binary = folder, binary
        self._settings: S3Settings | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> S3Settings:
        if self._settings is None:
            self._folder.mkdir(exist_ok=True)
            self._settings = S3Settings(
                f"http://127.0.0.1:{_free_port()}", secrets.token_hex(8), secrets.token_hex(16)
            )
        settings = self._settings
        environment = {
            "MINIO_ROOT_USER": settings.access_key,
            "MINIO_ROOT_PASSWORD": settings.secret_key,
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
            "HOME": str(self._folder),
        }
        address = settings.endpoint.removeprefix("http://")
        self._process = subprocess.Popen(
            [self._binary, "server", str(self._folder / "data"), "--quiet", "--address", address],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        http = urllib3.PoolManager(retries=False, timeout=2)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if http.request("GET", f"{settings.endpoint}/minio/health/ready").status == 200:
                    return settings
            time.sleep(0.05)
        raise AssertionError("MinIO did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()


class External:
    """A server that somebody else runs."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings

    def start(self) -> S3Settings:
        return self._settings

    def stop(self) -> None:
        """Leave it alone."""

    def signal(self, number: int) -> None:
        pytest.skip("an external server is not ours to stop")


Server = SeaweedFS | MinIO | External


def make_server(kind: str, folder: Path) -> Server:
    """One of `SERVERS`, not started yet, that keeps what it has in a folder."""
    if kind == "seaweedfs":
        return SeaweedFS(folder / "weed")
    if kind == "minio":
        assert MINIO
        return MinIO(folder / "minio", MINIO)
    assert EXTERNAL
    prefix = "THUMBNAILS_TEST_S3_"
    keys = (os.environ[f"{prefix}ACCESS_KEY"], os.environ[f"{prefix}SECRET_KEY"])
    bucket = f"thumbnails-test-{secrets.token_hex(4)}"
    return External(S3Settings(EXTERNAL, *keys, bucket=bucket))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
