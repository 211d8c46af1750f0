"""The worker's side of the exchange, with an operator that is alive, slow, or silent."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from thumbnails_contract.wire import Poll, WorkAnswer, WorkRequest
from thumbnails_worker.exchange import Exchange, ExchangeUnavailable

REQUEST = WorkRequest(1, (), Poll(1, (), 20.0))
ANSWER = json.dumps(WorkAnswer(7).to_wire()).encode()
SILENCE_SECONDS = 0.5
TIMEOUT_SECONDS = 60.0


class QuietServer(ThreadingHTTPServer):
    """Workers hang up in these tests: that is no news."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], ending: threading.Event) -> Iterator[str]:
    """A server at this URL; handlers end at the event."""
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def operator(play: Callable[[Callable[[bytes], None], threading.Event], None]) -> Iterator[str]:
    """Each answer has a status and headers at once; `play` sends the rest, and ends at the event."""
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            play(self._send, ending)
            self.close_connection = True

        def _send(self, data: bytes) -> None:
            self.wfile.write(data)
            self.wfile.flush()

    with serving(Handler, ending) as url:
        yield url


def test_spaces_keep_a_worker_waiting_for_longer_than_silence_would() -> None:
    def play(send: Callable[[bytes], None], ending: threading.Event) -> None:
        for _ in range(15):
            send(b" ")
            ending.wait(SILENCE_SECONDS / 10)
        send(ANSWER)

    with operator(play) as url:
        exchange = Exchange(url, None, silence_seconds=SILENCE_SECONDS)
        assert exchange.send(REQUEST, TIMEOUT_SECONDS) == WorkAnswer(7)


@pytest.mark.parametrize("begins", [b"", b"  ", ANSWER[:-1]], ids=["at once", "later", "in its answer"])
def test_a_worker_hangs_up_on_an_operator_that_falls_silent(begins: bytes) -> None:
    def play(send: Callable[[bytes], None], ending: threading.Event) -> None:
        send(begins)
        ending.wait(TIMEOUT_SECONDS)

    with operator(play) as url:
        exchange = Exchange(url, None, silence_seconds=SILENCE_SECONDS)
        with pytest.raises(ExchangeUnavailable, match="TimeoutError"):
            exchange.send(REQUEST, TIMEOUT_SECONDS)


def test_after_silence_no_connection_to_the_same_operator_is_used_again() -> None:
    """A Service leads new connections to the next leader, and leaves the old ones where they are."""
    ending, both = threading.Event(), threading.Barrier(2, timeout=TIMEOUT_SECONDS)
    frozen: set[object] = set()
    connections: set[object] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.connection in frozen:
                ending.wait(TIMEOUT_SECONDS)
            both.wait()  # so that there are two connections
            connections.add(self.connection)
            self.send_response(200)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

    with serving(Handler, ending) as url, ExitStack() as stack:
        exchange = Exchange(url, None, silence_seconds=SILENCE_SECONDS)
        stack.callback(exchange.close)

        def send_two() -> list[WorkAnswer]:
            with ThreadPoolExecutor(2) as threads:
                return list(threads.map(lambda _: exchange.send(REQUEST, TIMEOUT_SECONDS), range(2)))

        assert send_two() == [WorkAnswer(7)] * 2
        frozen |= connections
        with pytest.raises(ExchangeUnavailable, match="TimeoutError"):
            exchange.send(REQUEST, TIMEOUT_SECONDS)
        assert send_two() == [WorkAnswer(7)] * 2
