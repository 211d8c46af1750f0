"""What the client does when a server fails: a small server that fails as it is told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from thumbnails_client import Client, ClientError, NotAnswered, Problem
from thumbnails_client.downloads import open_part

JOB = b'{"id": "a-job", "status": "pending"}'
PROBLEM = b'{"reason": "Unavailable", "title": "Unavailable", "detail": "Try again later."}'
LOSE_THE_ANSWER = 0
CHUNK = 65_536  # what a break of the connection may cost
CONTENT = bytes(range(256)) * (5 * CHUNK // 256)
PIECE = 2 * CHUNK + 10


class FailingServer:
    """Answers uploads with the given statuses in turn, and keeps what was sent; gives files in pieces."""

    def __init__(self, *statuses: int, retry_after: int = 0) -> None:
        self.ranges: list[str | None] = []
        self.etag = '"first"'
        server = self
        self.uploads: list[tuple[str, bytes]] = []
        left = list(statuses)
        uploads = self.uploads

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                uploads.append((self.headers["Idempotency-Key"], body))
                status = left.pop(0)
                if status == LOSE_THE_ANSWER:
                    self.close_connection = True
                    return
                self._answer(status, JOB if status == 201 else PROBLEM)

            def do_GET(self) -> None:
                """A part of the file, as long as PIECE at most, although all of the rest is promised."""
                server.ranges.append(self.headers["Range"])
                is_same = self.headers["If-Range"] == server.etag
                start = int(self.headers["Range"][len("bytes=") : -1]) if is_same else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(CONTENT) - start))
                self.send_header("ETag", server.etag)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                self.wfile.write(CONTENT[start : start + PIECE])
                self.close_connection = True

            def _answer(self, status: int, body: bytes, length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(length or len(body)))
                self.send_header("Retry-After", str(retry_after))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def failing_server() -> Iterator[Any]:
    """A function that starts one."""
    started: list[FailingServer] = []

    def start(*statuses: int, **options: int) -> FailingServer:
        started.append(FailingServer(*statuses, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


def test_an_upload_is_sent_again_whole_and_under_one_key(failing_server: Any, tmp_path: Path) -> None:
    server = failing_server(503, LOSE_THE_ANSWER, 429, 201)
    picture = tmp_path / "picture"
    picture.write_bytes(content := b"x" * 300_000)
    sent: list[int] = []
    with Client(server.url) as client:
        job = client.put(picture, progress=sent.append, width=10)
    assert (job.id, job.status) == ("a-job", "pending")
    keys, bodies = zip(*server.uploads, strict=True)
    assert len(keys) == 4 and len(set(keys)) == 1
    assert all(content in body and b'name="width"' in body for body in bodies)
    assert sum(sent) == len(bodies[-1]), "what was sent in vain is taken back"


def test_it_gives_up(failing_server: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"x")
    with Client(failing_server(503, 503).url, tries=2) as client, pytest.raises(Problem) as refused:
        client.put(picture)
    assert (refused.value.status, refused.value.reason) == (503, "Unavailable")


def test_a_refusal_is_final(failing_server: Any, tmp_path: Path) -> None:
    server = failing_server(415)
    picture = tmp_path / "picture"
    picture.write_bytes(b"x")
    with Client(server.url) as client, pytest.raises(Problem):
        client.put(picture)
    assert len(server.uploads) == 1


def test_it_waits_as_long_as_the_server_says(failing_server: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"x")
    waits: list[tuple[float, str]] = []
    server = failing_server(429, 201, retry_after=1)
    with Client(server.url, on_wait=lambda seconds, why: waits.append((seconds, str(why)))) as client:
        assert client.put(picture).id == "a-job"
    assert waits == [(1.0, "Unavailable: Try again later.")]


def test_a_wait_that_is_too_long_is_a_refusal(failing_server: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"x")
    server = failing_server(429, retry_after=3600)
    with Client(server.url) as client, pytest.raises(Problem):
        client.put(picture)


def test_a_broken_download_goes_on_where_it_was(failing_server: Any, tmp_path: Path) -> None:
    server = failing_server()
    with Client(server.url) as client:
        assert client.get("a-job", tmp_path / "thumb") == "image/png"
    assert server.ranges == [None, f"bytes={2 * CHUNK}-", f"bytes={4 * CHUNK}-"]
    assert (tmp_path / "thumb").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["thumb"], "nothing else is left"


def test_half_a_thumbnail_is_no_file_and_the_next_call_completes_it(
    failing_server: Any, tmp_path: Path
) -> None:
    server = failing_server()
    with Client(server.url, tries=1) as client:
        for _ in range(2):
            with pytest.raises(NotAnswered):
                client.get("a-job", tmp_path / "thumb")
            assert not (tmp_path / "thumb").exists()
        client.get("a-job", tmp_path / "thumb")
    assert (tmp_path / "thumb").read_bytes() == CONTENT


def test_another_version_is_fetched_from_its_beginning(failing_server: Any, tmp_path: Path) -> None:
    server = failing_server()
    with Client(server.url, tries=1) as client:
        with pytest.raises(NotAnswered):
            client.get("a-job", tmp_path / "thumb")
        server.etag = '"second"'
        for _ in range(2):
            with pytest.raises(NotAnswered):
                client.get("a-job", tmp_path / "thumb")
        client.get("a-job", tmp_path / "thumb")
    assert (tmp_path / "thumb").read_bytes() == CONTENT


def test_two_downloads_of_one_file_do_not_mix(failing_server: Any, tmp_path: Path) -> None:
    server = failing_server()
    with (
        open_part(tmp_path / "thumb", f"{server.url}/thumbnails/a-job"),
        Client(server.url) as client,
        pytest.raises(ClientError, match="another process"),
    ):
        client.get("a-job", tmp_path / "thumb")
