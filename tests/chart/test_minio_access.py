"""The program beside the bundled MinIO, run against a real one: it gives access to one bucket, no more."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from minio.error import S3Error

from minio import Minio

PROGRAM = Path(__file__).parents[2] / "charts" / "thumbnails" / "files" / "minio_access.py"
PATIENCE_SECONDS = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True)
class Server:
    address: str
    environment: dict[str, str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    cache = os.environ.get("THUMBNAILS_CACHE") or Path.home() / ".cache" / "thumbnails"
    built = sorted(Path(cache).glob("cluster/minio-*/minio"))
    if not built:
        pytest.skip("there is no MinIO: `make images` builds one")
    for folder, entries in {
        "root": {"root-user": "root", "root-password": "the-password-of-root\n"},
        "user": {"access-key": "thumbnails", "secret-key": "the-key-of-the-service\n"},
    }.items():
        (tmp_path / folder).mkdir()
        for name, text in entries.items():
            (tmp_path / folder / name).write_text(text)
    address = f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MINIO_ROOT_USER_FILE": str(tmp_path / "root" / "root-user"),
        "MINIO_ROOT_PASSWORD_FILE": str(tmp_path / "root" / "root-password"),
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    process = subprocess.Popen(
        [built[-1], "server", str(tmp_path / "data"), "--address", address, "--quiet"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Whoever is given access need not wait for the server: the program does.
        yield Server(
            address,
            {
                "PATH": os.environ["PATH"],
                "MINIO_ADDRESS": address,
                "MINIO_BUCKET": "pictures",
                "MINIO_ROOT_KEYS": str(tmp_path / "root"),
                "MINIO_USER_KEYS": str(tmp_path / "user"),
                "MINIO_ACCESS_PORT": str(free_port()),
            },
        )
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_the_service_gets_one_bucket_and_no_more(server: Server) -> None:
    command = [sys.executable, str(PROGRAM), "once"]
    for _ in range(2):  # a pod that starts again finds what the last one made
        subprocess.run(command, env=server.environment, check=True, timeout=PATIENCE_SECONDS)
    user = Minio(server.address, "thumbnails", "the-key-of-the-service", secure=False)
    user.put_object("pictures", "a/b", BytesIO(b"12345"), 5)
    assert [found.object_name for found in user.list_objects("pictures", recursive=True)] == ["a/b"]
    with user.get_object("pictures", "a/b") as body:
        assert body.read() == b"12345"
    user.remove_object("pictures", "a/b")
    root = Minio(server.address, "root", "the-password-of-root", secure=False)
    root.make_bucket("others")
    for forbidden in (
        lambda: user.make_bucket("mine"),
        lambda: user.remove_bucket("pictures"),
        lambda: user.put_object("others", "a", BytesIO(b"1"), 1),
        lambda: user.stat_object("others", "a"),
    ):
        with pytest.raises(S3Error, match=r"AccessDenied"):
            forbidden()


def test_its_port_opens_when_all_is_done_and_it_ends_when_told(server: Server) -> None:
    port = int(server.environment["MINIO_ACCESS_PORT"])
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM)], env=server.environment, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        user = Minio(server.address, "thumbnails", "the-key-of-the-service", secure=False)
        assert user.bucket_exists("pictures")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
