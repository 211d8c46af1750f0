"""What the client does when a server fails: a small server that fails as it is told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from thumbnails_client import Client, NotAnswered, Problem

JOB = b'{"id": "a-job", "status": "pending"}'
PROBLEM = b'{"reason": "Unavailable", "title": "Unavailable", "detail": "Try again later."}'
LOSE_THE_ANSWER = 0


class FailingServer:
    """Answers uploads with the given statuses in turn, and keeps what was sent."""

    def __init__(self, *statuses: int) -> None:
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
                self._answer(200, b"half of it", length=100)
                self.close_connection = True

            def _answer(self, status: int, body: bytes, length: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(length or len(body)))
                self.send_header("Retry-After", "0")
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

    def start(*statuses: int) -> FailingServer:
        started.append(FailingServer(*statuses))
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


def test_half_a_thumbnail_is_no_file(failing_server: Any, tmp_path: Path) -> None:
    with Client(failing_server().url, tries=1) as client, pytest.raises(NotAnswered):
        client.get("a-job", tmp_path / "thumb")
    assert list(tmp_path.iterdir()) == []
