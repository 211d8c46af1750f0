"""A real HTTP server that plays the exchange and the object store, and real worker processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import (
    Item,
    ItemOutput,
    Limits,
    Result,
    Upload,
    WorkAnswer,
    WorkRequest,
)

PATIENCE_SECONDS = 60.0


@dataclass
class Stored:
    """One thumbnail as the object store got it: form fields in order, and the file."""

    fields: dict[str, str]
    file: bytes


@dataclass
class Operator:
    """The other side of a worker. Tests change it under `changed` and wait on it."""

    url: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)
    originals: dict[str, bytes] = field(default_factory=dict)
    pending: list[Item] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    drop_with_delivery: list[str] = field(default_factory=list)
    deliveries: int = 0
    stop: bool = False
    generation: int = 1
    exchange_status: int = 200
    requests: list[WorkRequest] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    thumbnails: dict[str, Stored] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)  # path: answers before the right one
    held_back: set[str] = field(default_factory=set)  # originals that are not sent yet
    fetches: list[str] = field(default_factory=list)

    def add(
        self,
        lease: str,
        original: bytes,
        outputs: Sequence[Output] = (),
        format: Format = Format.AUTO,  # noqa: A002 - the word of the contract
        account: str = "default",
        limits: Limits | None = None,
    ) -> None:
        """One more job for the worker."""
        with self.changed:
            self.originals[f"/originals/{lease}"] = original
            made = outputs or [Output(width=100, height=100)]
            item = Item(
                lease=lease,
                namespace="space",
                job_name=f"job-{lease}",
                account=account,
                source_url=f"{self.url}/originals/{lease}?X-Amz-Signature=secret",
                outputs=tuple(
                    ItemOutput(
                        output,
                        format,
                        f"thumbnails/{lease}/{index}",
                        Upload(f"{self.url}/bucket", {"key": f"thumbnails/{lease}/{index}", "policy": "p"}),
                    )
                    for index, output in enumerate(made)
                ),
                limits=limits or Limits(),
            )
            self.pending.append(item)
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[], Any]) -> Any:
        """Wait until it is true."""
        with self.changed:
            value = self.changed.wait_for(predicate, PATIENCE_SECONDS)
            assert value, "waited in vain"
            return value

    def result(self, lease: str) -> Result:
        """The result of an item, once it is there."""
        self.wait_for(lambda: lease in self.results)
        return self.results[lease]

    def change(self, **values: Any) -> None:
        """Set fields, and wake everybody who waits."""
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def answer(self, request: WorkRequest) -> WorkAnswer:
        """What the exchange says; waits like a long poll."""
        with self.changed:
            self.requests.append(request)
            self.results.update({result.lease: result for result in request.results})
            self.changed.notify_all()
            if request.poll is None:
                self.deliveries += 1
                dropped, self.drop_with_delivery = self.drop_with_delivery, []
                return WorkAnswer(self.generation, drop=tuple(dropped))
            capacity, deliveries = request.poll.capacity, self.deliveries

            def news() -> bool:
                room = self.pending if capacity else self.deliveries > deliveries
                return bool(self.stop or self.drop or room)

            self.changed.wait_for(news, min(request.poll.wait_seconds, 2.0))
            items = self.pending[:capacity]
            del self.pending[:capacity]
            drop = tuple(self.drop)
            self.drop = []
            return WorkAnswer(self.generation, tuple(items), drop, self.stop)


def _handler(operator: Operator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            with operator.changed:
                operator.fetches.append(path)
                operator.changed.notify_all()
                operator.changed.wait_for(lambda: path not in operator.held_back, PATIENCE_SECONDS)
            if status := self._planned(path):
                self._send(status, b"")
            elif path in operator.originals:
                self._send(200, operator.originals[path])
            else:
                self._send(404, b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/work":
                operator.tokens.append(self.headers.get("Authorization"))
                if operator.exchange_status != 200:
                    self._send(operator.exchange_status, b"")
                    return
                answer = operator.answer(WorkRequest.parse(json.loads(body)))
                self._send(200, json.dumps(answer.to_wire()).encode())
            elif status := self._planned("/bucket"):
                self._send(status, b"")
            else:
                stored = _parse_form(self.headers["Content-Type"], body)
                with operator.changed:
                    operator.thumbnails[stored.fields["key"]] = stored
                    operator.changed.notify_all()
                self._send(204, b"", {"ETag": '"etag-of-it"'})

        def _planned(self, path: str) -> int:
            with operator.changed:
                planned = operator.statuses.get(path)
                return planned.pop(0) if planned else 0

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


class QuietServer(ThreadingHTTPServer):
    """Workers are killed in these tests: their broken connections are no news."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _parse_form(content_type: str, body: bytes) -> Stored:
    boundary = content_type.partition("boundary=")[2].encode()
    fields: dict[str, str] = {}
    *parts, _end = body.split(b"--" + boundary)[1:]
    for index, part in enumerate(parts):
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        match = re.search(rb'name="([^"]+)"', head)
        assert match is not None
        name = match[1].decode()
        if name == "file":
            assert index == len(parts) - 1, "the file comes last"
            return Stored(fields, value.removesuffix(b"\r\n"))
        fields[name] = value.removesuffix(b"\r\n").decode()
    raise AssertionError("no file")


@pytest.fixture
def operator() -> Iterator[Operator]:
    """The exchange and the object store."""
    played = Operator()
    server = QuietServer(("127.0.0.1", 0), _handler(played))
    played.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield played
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Worker:
    """A real `python -m thumbnails_worker`."""

    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> list[dict[str, Any]]:
        """What it wrote to standard error."""
        return [json.loads(line) for line in self.log_file.read_text("utf-8").splitlines()]

    def nursery(self) -> int:
        """The process id of its fork server."""
        (pid,) = children(self.process.pid)
        return pid

    def renderers(self) -> list[int]:
        """The process ids of its renderers."""
        return [pid for nursery in children(self.process.pid) for pid in children(nursery)]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def children(pid: int) -> list[int]:
    """The child processes of a process (of its main thread)."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except FileNotFoundError:
        return []


@pytest.fixture
def start(operator: Operator, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """`start(RENDERERS=2, ...)`: a worker with these `THUMBNAILS_WORKER_*`, or any whole name, set."""
    workers: list[Worker] = []

    def start_worker(**variables: Any) -> Worker:
        named = {
            name if name.startswith("THUMBNAILS_") else f"THUMBNAILS_WORKER_{name}": str(value)
            for name, value in variables.items()
        }
        log_file = tmp_path / f"worker-{len(workers)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "thumbnails_worker"],
                env={**os.environ, "THUMBNAILS_EXCHANGE_URL": operator.url, **named},
                stderr=log,
            )
        worker = Worker(process, log_file)
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait for something that tells nobody when it happens."""

    def wait(predicate: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (value := predicate()):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)
        return value

    return wait
