"""The worker's side of the exchange, with an operator that is alive, slow, or silent."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from thumbnails_contract.wire import Poll, WorkAnswer, WorkRequest
from thumbnails_worker.exchange import Exchange, ExchangeUnavailable

REQUEST = WorkRequest(1, (), Poll(1, (), 20.0))
ANSWER = json.dumps(WorkAnswer(7).to_wire()).encode()
SILENCE_SECONDS = 0.5
TIMEOUT_SECONDS = 60.0


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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ending.set()
        server.shutdown()
        serving.join()
        server.server_close()


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
        with pytest.raises(ExchangeUnavailable, match="ReadTimeoutError"):
            exchange.send(REQUEST, TIMEOUT_SECONDS)
