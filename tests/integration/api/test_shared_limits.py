"""Rate limits in a storage that replicas share: a real Redis (or Valkey), and two processes of the API.

The server is `redis-server` or `valkey-server` of the PATH, or the one that THUMBNAILS_TEST_REDIS names.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

PATIENCE_SECONDS = 60.0
PASSWORD = "a-password-of-the-storage"
REPLICA = Path(__file__).with_name("discarding_server.py")
METRIC = "thumbnails_api_rate_limits_counted_alone_total"


class Redis:
    """A server on one port, as often as it is started."""

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._command = [
            *(binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--requirepass", PASSWORD),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    named = os.environ.get("THUMBNAILS_TEST_REDIS")
    binary = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.skip("needs redis-server or valkey-server on the PATH, or THUMBNAILS_TEST_REDIS")
    redis = Redis(binary, tmp_path)
    yield redis
    redis.stop()


class Replica:
    """One process of the API."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder.with_suffix(".log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(REPLICA)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **settings},
            )
        assert self._process.stdout is not None
        self.url = f"http://localhost:{int(self._process.stdout.readline())}"

    def get(self, path: str = "/presets") -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=PATIENCE_SECONDS)

    def counted_alone(self) -> float:
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(METRIC))

    def end(self) -> None:
        assert self._process.stdout is not None
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        self._process.stdout.close()


@pytest.fixture
def replica(tmp_path: Path, redis: Redis) -> Iterator[Callable[..., Replica]]:
    started: list[Replica] = []

    def start(quota: int) -> Replica:
        settings = {
            "THUMBNAILS_RATE_LIMIT_STORAGE": redis.uri,
            "THUMBNAILS_RATE_LIMIT_REQUESTS": str(quota),
            "THUMBNAILS_RATE_LIMIT_SECONDS": "86400",
        }
        started.append(Replica(tmp_path / f"replica-{len(started)}", **settings))
        return started[-1]

    yield start
    for each in started:
        each.end()


def remaining(answer: Any) -> int:
    return int(answer.headers["RateLimit"].partition("r=")[2].partition(";")[0])


def test_two_processes_have_one_budget_that_outlives_them(
    redis: Redis, replica: Callable[..., Replica]
) -> None:
    redis.start()
    one, two = replica(6), replica(6)
    answers = [each.get() for _ in range(3) for each in (one, two)]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [remaining(answer) for answer in answers] == [5, 4, 3, 2, 1, 0]
    for each in (one, two, replica(6)):
        refused = each.get()
        assert (refused.status_code, refused.json()["reason"]) == (429, "RateLimited")
        assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert "away" not in one.log.read_text()


def test_while_the_storage_is_away_requests_are_answered(
    redis: Redis, replica: Callable[..., Replica], eventually: Any
) -> None:
    """A limit must not take the service down: each replica counts for itself, and says so."""
    one = replica(1000)  # it is away from the start
    assert one.get().status_code == 200
    assert one.counted_alone() >= 1
    redis.start()
    # To ask for the count is a request, too.
    eventually(lambda: one.counted_alone() == one.counted_alone(), "it counts together again")
    alone = one.counted_alone()
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)  # it is there, and does not answer
    assert one.get().status_code == 200
    assert one.counted_alone() > alone
    redis.stop()
    assert one.get().status_code == 200
    text = one.log.read_text()
    assert text.count("this replica counts alone") == 2
    assert PASSWORD not in text
    assert "Traceback" not in text
