"""The S3 servers that the object store has to work on, each with an empty bucket of its own.

SeaweedFS always; MinIO when THUMBNAILS_TEST_MINIO names its executable; any other when
THUMBNAILS_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY say where it is (its keys may make buckets).
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from thumbnails_common.s3 import S3ObjectStore
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


def _server(kind: str, folder: Path) -> Server:
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


@pytest.fixture(scope="session", params=SERVERS)
def shared_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Settings]:
    """A server that many tests share: each uses keys of its own."""
    server = _server(request.param, tmp_path_factory.mktemp("s3"))
    settings = server.start()
    with contextlib.closing(S3ObjectStore(settings)) as store:
        store.ensure_bucket()
    yield settings
    server.stop()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server for one test, to be stopped and killed."""
    server = _server(request.param, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., S3ObjectStore]]:
    """Makes object stores from settings, with some of them changed."""
    with contextlib.ExitStack() as stack:

        def connect(settings: S3Settings, **changes: object) -> S3ObjectStore:
            changed = dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
            return stack.enter_context(contextlib.closing(S3ObjectStore(changed)))

        yield connect


@pytest.fixture
def object_store(shared_settings: S3Settings, connect: Callable[..., S3ObjectStore]) -> S3ObjectStore:
    """The store under test."""
    return connect(shared_settings)


@pytest.fixture
def prefix() -> str:
    """A part of the bucket that no other test uses."""
    return f"sources/{secrets.token_hex(6)}/"


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is logged, at whatever level and by whatever library: no signature, no key."""
    caplog.set_level(logging.DEBUG)
    yield
    text = caplog.text
    for secret in ("X-Amz-Signature", "X-Amz-Credential", "Signature=", "AWS4-HMAC", "policy="):
        assert secret not in text
