"""A reverse proxy before the API server, which can be told to answer in its place: for tests of bad answers.

Whoever calls it shows credentials as to the API server itself; they are passed on. Its certificate is the
cluster's own authority's.
"""

import http.client
import json
import socket
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hack.cluster import certs, network
from hack.cluster.layout import Layout

_TIMEOUT_SECONDS = 400.0  # a watch is silent for a minute, and ends after five
_CHUNK_BYTES = 1 << 16
# RFC 9110 section 7.6.1, and what is said anew.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}

# What to answer a request (method, path) with: an HTTP status; None: what the API server answers.
Interfere = Callable[[str, str], int | None]


class ApiProxy:
    """Listens on the machine's end of the link to the node, where pods can reach it."""

    host = network.HOST_ADDRESS
    port = network.API_PORT

    def __init__(self, layout: Layout) -> None:
        self.answered: Counter[int] = Counter()  # by status: what was answered in the API server's place
        self.passed_on = 0
        self._interfere: Interfere = lambda _method, _path: None
        self._watches: set[socket.socket] = set()
        self._expired = threading.Event()
        self._lock = threading.Lock()
        self._to_server = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._server = _Server((self.host, self.port), _Handler)
        self._server.proxy = self
        with tempfile.TemporaryDirectory() as folder:
            party = certs.Party("proxy", "kube-apiserver", server_names=(f"IP:{self.host}",))
            certs.make_certificate(party, layout.pki, Path(folder))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"{folder}/proxy.crt", f"{folder}/proxy.key")
        self._server.context = context
        self._thread = threading.Thread(target=self._server.serve_forever, name="API proxy")
        self._thread.start()

    @contextmanager
    def answering(self, interfere: Interfere) -> Iterator[None]:
        """Have requests answered by this function meanwhile."""
        self._interfere = interfere
        try:
            yield
        finally:
            self._interfere = lambda _method, _path: None

    def expire_watches(self) -> int:
        """End all watches as when their resourceVersion is forgotten (410 Expired); how many there were."""
        with self._lock:
            watches = list(self._watches)
            self._expired.set()
        for upstream in watches:
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
        return len(watches)

    def answer_of(self, method: str, path: str) -> int | None:
        """What to answer in the API server's place."""
        status = self._interfere(method, path)
        with self._lock:
            if status is None:
                self.passed_on += 1
            else:
                self.answered[status] += 1
        return status

    def connect(self) -> http.client.HTTPSConnection:
        """A connection to the API server."""
        return http.client.HTTPSConnection(
            network.NODE_ADDRESS, network.API_PORT, timeout=_TIMEOUT_SECONDS, context=self._to_server
        )

    @contextmanager
    def watching(self, upstream: socket.socket) -> Iterator[Callable[[], bool]]:
        """Remember a watch; the function says whether it was to expire."""
        with self._lock:
            self._expired = expired = threading.Event() if self._expired.is_set() else self._expired
            self._watches.add(upstream)
        try:
            yield expired.is_set
        finally:
            with self._lock:
                self._watches.discard(upstream)

    def close(self) -> None:
        """End it, with all connections."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: ApiProxy
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        handler: Any = self.RequestHandlerClass
        # In the thread of the connection: a client that is slow with its handshake holds up nobody else.
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as secured:
            handler(secured, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client or the API server has hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = proxy.answer_of(self.command, self.path)
        if status is not None:
            self._answer(status)
            return
        upstream = proxy.connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            opened = upstream.sock
            response = upstream.getresponse()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if "watch=" in self.path and response.status == http.client.OK:
                self._stream(response, opened)
            else:
                content = response.read()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - the parent's names

    def _stream(self, response: http.client.HTTPResponse, upstream: socket.socket) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.server.proxy.watching(upstream) as expired:
            with suppress(OSError, http.client.HTTPException):
                while data := response.read1(_CHUNK_BYTES):
                    self._write_chunk(data)
            if expired():
                event = {"type": "ERROR", "object": status_object(http.client.GONE)}
                self._write_chunk(json.dumps(event).encode() + b"\n")
        self._write_chunk(b"")

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _answer(self, status: int) -> None:
        content = json.dumps(status_object(status)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == http.client.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the parent's name
        pass


_REASONS = {410: "Expired", 429: "TooManyRequests", 500: "InternalError"}


def status_object(status: int) -> dict[str, Any]:
    """A failure in Kubernetes' form (metav1.Status)."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"The proxy says {status}.",
        "reason": _REASONS.get(status, ""),
        "code": status,
    }
