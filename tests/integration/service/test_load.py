"""Many clients at once, good and bad ones: what they must never do to each other. Nothing is timed."""

import asyncio
import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

SLOW, HALF, IDLE = 200, 100, 1_000
FOLLOWERS, UPLOADS = 200, 20
DRIP_SECONDS = 0.2


@pytest.fixture(autouse=True)
def _many_files() -> None:
    """Each connection of a test is a file of its process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SLOW + HALF + IDLE + 500
    if hard not in (-1, resource.RLIM_INFINITY) and hard < needed:
        pytest.skip(f"this machine lets a process open {hard} files; {needed} are needed")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@contextlib.contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many open connections."""
    parts = urlsplit(url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port or 80), timeout=60))
            for _ in range(count)
        ]


@contextlib.contextmanager
def dripping(slow: list[socket.socket]) -> Iterator[None]:
    """Send a byte of a header that never ends on each connection, again and again."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(DRIP_SECONDS):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slow_loris_and_idle_connections_stop_no_upload(start_service: Any, photo: Any) -> None:
    service = start_service()
    with (
        connections(service.url, IDLE) as idle,
        connections(service.url, SLOW) as slow,
        connections(service.url, HALF) as half,
    ):
        for connection in slow:
            connection.sendall(b"POST /images HTTP/1.1\r\nHost: localhost\r\nX-Header: ")
        for connection in half:
            head = b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            connection.sendall(head + b"Content-Length: 1000000\r\n\r\n" + bytes(100_000))
        with dripping(slow):
            for _ in range(3):
                assert service.render(photo())
        # Who was idle is still welcome.
        for connection in idle[:: IDLE // 10]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    assert "Traceback" not in service.log()


# ---- followers -------------------------------------------------------------------------------------


class Follower:
    """An EventSource on `/events`, as browsers have it (WHATWG HTML 9.2)."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._last_id, self._retry_seconds = "", 1.0
        self.began = asyncio.Event()
        self.ended: set[str] = set()

    async def follow(self, jobs: int) -> None:
        """Come again and again until so many jobs were seen to end."""
        while len(self.ended) < jobs:
            headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
            async with self._session.get(self._url, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                self._take(await answer.text())
            self.began.set()
            await asyncio.sleep(self._retry_seconds)

    def _take(self, text: str) -> None:
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self._last_id = fields.get("id", self._last_id)
            if "retry" in fields:
                self._retry_seconds = int(fields["retry"]) / 1000
            if fields.get("event") == "job":
                job = json.loads(fields["data"])
                if job["status"] == "complete":
                    self.ended.add(job["id"])


async def follow_uploads(service: Any, pictures: list[bytes]) -> tuple[list[Follower], list[str]]:
    """Upload while many follow; the followers, once each has seen all jobs end, and the jobs."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        followers = [Follower(session, f"{service.url}/events") for _ in range(FOLLOWERS)]
        for follower in followers:
            group.create_task(follower.follow(len(pictures)))
        await asyncio.gather(*(follower.began.wait() for follower in followers))
        jobs = [await asyncio.to_thread(service.upload, picture) for picture in pictures]
    return followers, [job["id"] for job in jobs]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_followers_see_every_job_and_stop_no_upload(start_service: Any, photo: Any) -> None:
    service = start_service()
    followers, jobs = asyncio.run(follow_uploads(service, [photo() for _ in range(UPLOADS)]))
    assert {frozenset(follower.ended) for follower in followers} == {frozenset(jobs)}
    assert "Traceback" not in service.log()


# ---- the end ---------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_requests_in_flight_are_finished_when_the_api_ends(
    start_service: Any, photo: Any, eventually: Any
) -> None:
    """An upload whose body is still coming, and one that waits for its thumbnail."""
    service = start_service(THUMBNAILS_API_SHUTDOWN_SECONDS="120")
    picture = photo(2000, 1500)
    head = b"POST /images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(picture)
    (api,) = service.pids("api")
    with connections(service.url, 2) as (coming, waiting):
        coming.sendall(head + b"Expect: 100-continue\r\n" + length)
        assert coming.recv(1000).startswith(b"HTTP/1.1 100 ")
        coming.sendall(picture[: len(picture) // 2])
        waiting.sendall(head + b"Prefer: wait=30\r\n" + length + picture)
        eventually(lambda: service.request("GET", "/jobs").status_code == 200, "the second one is a job")
        os.kill(api, signal.SIGTERM)
        eventually(lambda: "those under way have 120 s" in service.log(), "the API ends")
        coming.sendall(picture[len(picture) // 2 :])
        answers = [read_answer(connection) for connection in (coming, waiting)]
    eventually(lambda: service.pids("api") not in ([], [api]), "there is another one")
    for status, job in answers:
        assert status == 201
        assert service.finished(job["id"])["status"] == "complete"


def read_answer(connection: socket.socket) -> tuple[int, Any]:
    """Status and JSON of the next answer."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())
