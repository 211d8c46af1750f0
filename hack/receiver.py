"""Takes webhooks in a cluster, and gives all of them to whoever asks with GET. Runs in a pod, alone."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

deliveries: list[dict[str, Any]] = []
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with lock:
            deliveries.append({"at": time.time(), "path": self.path, "headers": headers, "body": body})
        self._answer(204, b"")

    def do_GET(self) -> None:
        if self.path == "/healthz":  # asked each second, however much was delivered
            self._answer(204, b"")
            return
        with lock:
            body = json.dumps(deliveries).encode()
        self._answer(200, body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the parent's name
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    Server(("", 8080), Handler).serve_forever()
