"""A server of bytes: answers each connection's requests with what the test wrote down, to the byte."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings

SECRET = "the-secret-key-that-nobody-may-see"


@dataclass
class ScriptedServer:
    """Answers requests, one after the other, with `answers`; None closes the connection unanswered."""

    url: str
    answers: list[bytes | None] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with (
            contextlib.suppress(ConnectionError, ValueError),
            connection,
            connection.makefile("rb") as stream,
        ):
            while line := stream.readline():
                headers: dict[str, str] = {}
                while (header := stream.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                self.targets.append(line.decode().split()[1])
                self.requests.append((line.decode().split()[0], headers, body))
                answer = self.answers.pop(0) if self.answers else None
                if answer is None:
                    return
                connection.sendall(answer)
                if b"\r\nConnection: close\r\n" in answer:
                    return


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    scripted = ScriptedServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    thread = threading.Thread(target=scripted.serve, args=(listener,), daemon=True)
    thread.start()
    yield scripted
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@dataclass
class FakeTime:
    """A clock that only `sleep` moves."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time_() -> FakeTime:
    return FakeTime()


@pytest.fixture
def store(server: ScriptedServer, time_: FakeTime) -> Iterator[S3ObjectStore]:
    settings = S3Settings(server.url, "key", SECRET, connect_timeout_seconds=10, read_timeout_seconds=10)
    with contextlib.closing(
        S3ObjectStore(settings, clock=time_.clock, sleep=time_.sleep, jitter=lambda: 1.0)
    ) as store:
        yield store


@pytest.fixture
def answer() -> Callable[..., bytes]:
    """Builds an HTTP/1.1 answer."""

    def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
        given = {"Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"HTTP/1.1 {status} Text\r\n{head}\r\n".encode() + body

    return answer


@pytest.fixture
def refusal(answer: Callable[..., bytes]) -> Callable[[int, str], bytes]:
    """Builds an answer with S3's error document."""

    def refusal(status: int, code: str) -> bytes:
        text = f"<Error><Code>{code}</Code><Message>m</Message><Resource>/r</Resource></Error>"
        return answer(status, text.encode(), Content_Type="application/xml")

    return refusal
