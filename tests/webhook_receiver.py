"""A client's end of webhooks, for tests of the whole service: an HTTP server that keeps what it is told."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

# A test ends as soon as it has seen what it waits for; so long waits only what is broken.
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that the receiver got."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def about(self) -> str:
        """The id of the job that it tells of, or of the batch."""
        data = self.event["data"]
        return str(data["jobId"] if "jobId" in data else data["batchId"])

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> None:
        """Raise unless it is signed with this secret, as any client would check."""
        Webhook(secret).verify(self.body, dict(self.headers))


class WebhookReceiver:
    """Takes deliveries at `url`, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 204
        self._deliveries: list[Delivery] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._arrived:
                    receiver._deliveries.append(Delivery(self.path, headers, body))
                    receiver._arrived.notify_all()
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """A sender that was killed in the midst of a delivery is no error of ours."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def deliveries(self) -> list[Delivery]:
        """All deliveries so far."""
        with self._arrived:
            return list(self._deliveries)

    def of_job(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> list[Delivery]:
        """The deliveries of one job, or one batch, once there is any."""
        with self._arrived:
            found: list[Delivery] = []

            def look() -> bool:
                found[:] = [delivery for delivery in self._deliveries if delivery.about == job_id]
                return bool(found)

            assert self._arrived.wait_for(look, seconds), f"no webhook of {job_id}"
            return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
