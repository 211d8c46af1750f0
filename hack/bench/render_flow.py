"""How busy a worker keeps its renderer while 1,000 photos flow, and how soon it is ready after its start.

The worker is the real one; exchange and object store are played here, so that nothing but the worker itself
decides whether its renderer waits. Draws its section of docs/benchmarks.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import page
import pictures

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Item, ItemOutput, Limits, Upload, WorkAnswer, WorkRequest

STARTS = 11
MOST_WAITING, MOST_START_MILLISECONDS = 0.10, 150


@dataclass
class Operator:
    """Hands out each file once, then says stop; notes when the first poll came."""

    files: list[Path]
    url: str = ""
    lock: threading.Condition = field(default_factory=threading.Condition)
    handed_out: int = 0
    done: int = 0
    failed: int = 0
    polled: threading.Event = field(default_factory=threading.Event)
    first_poll: float = 0.0

    def answer(self, request: WorkRequest) -> WorkAnswer:
        with self.lock:
            if not self.polled.is_set():
                self.first_poll = time.perf_counter()
                self.polled.set()
            self.done += len(request.results)
            self.failed += sum(not result.outputs for result in request.results)
            self.lock.notify_all()
            if request.poll is None:
                return WorkAnswer(1)
            capacity = request.poll.capacity

            def news() -> bool:
                return self.done == len(self.files) or (capacity > 0 and self.handed_out < len(self.files))

            self.lock.wait_for(news, min(1.0, request.poll.wait_seconds))
            if self.done == len(self.files):
                return WorkAnswer(1, stop=True)
            numbers = range(self.handed_out, min(self.handed_out + capacity, len(self.files)))
            self.handed_out = max(self.handed_out, numbers.stop)
            return WorkAnswer(1, tuple(self._item(number) for number in numbers))

    def _item(self, number: int) -> Item:
        key = f"thumbnails/{number}"
        upload = Upload(f"{self.url}/bucket", {"key": key, "policy": "p"})
        output = ItemOutput(Output(width=100, height=100), Format.AUTO, key, upload)
        url = f"{self.url}/originals/{number}"
        return Item(str(number), "space", f"job-{number}", "default", url, (output,), Limits())


class QuietServer(ThreadingHTTPServer):
    """Workers are killed here: their broken connections are no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(operator: Operator) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(operator.files[int(self.path.rpartition("/")[2])].read_bytes())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/work":
                answer = operator.answer(WorkRequest.parse(json.loads(body)))
                self._send(json.dumps(answer.to_wire()).encode())
            else:
                self._send(b"")

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.end_headers()
            self.wfile.write(body)

    server = QuietServer(("127.0.0.1", 0), Handler)
    operator.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def start_worker(operator: Operator, log: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "THUMBNAILS_EXCHANGE_URL": operator.url,
        "THUMBNAILS_LOG_FORMAT": "json",
        # As in an image, bytecode is there (after the first start, in a folder of its own).
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(pictures.CACHE / "bytecode"),
    }
    return subprocess.Popen([sys.executable, "-m", "thumbnails_worker"], env=environment, stderr=log)


def measure_start() -> tuple[float, float]:
    """Seconds of a bare Python from start to end, and of a worker from start to its first poll."""
    operator = Operator([Path()])
    operator.handed_out = 1
    server = serve(operator)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    bare = time.perf_counter() - started
    started = time.perf_counter()
    worker = start_worker(operator, subprocess.DEVNULL)
    if not operator.polled.wait(60):
        raise SystemExit("the worker did not poll")
    worker.kill()
    worker.wait()
    server.shutdown()
    server.server_close()
    return bare, operator.first_poll - started


def measure_flow(files: list[Path]) -> dict[str, float]:
    """What the worker says of its renderer at its end, and its supervisor's CPU time a picture."""
    operator = Operator(files)
    server = serve(operator)
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        worker = start_worker(operator, log)
        _pid, status, usage = os.wait4(worker.pid, 0)
        seconds = time.perf_counter() - started
        log.seek(0)
        records = [json.loads(line) for line in log.read().decode().splitlines()]
    server.shutdown()
    server.server_close()
    if status or operator.failed or operator.done != len(files):
        raise SystemExit(f"void: the worker ended with {status}, {operator.failed} of {operator.done} failed")
    said: dict[str, float]
    (said,) = [record for record in records if "waitingShare" in record]
    # The supervisor does not wait for the nursery: its usage is its own.
    return said | {"seconds": seconds, "supervisor": (usage.ru_utime + usage.ru_stime) / len(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    measure_start()
    starts = [measure_start() for _ in range(STARTS)]
    bare, ready = (statistics.median(column) for column in zip(*starts, strict=True))
    files = pictures.make(options.count)
    said = measure_flow(files)
    section = f"""\
## One worker: how busy its renderer is, and how soon it is ready

{page.made_by("make bench-worker")}

Exchange and object store are played by the benchmark, on the same cores. {pictures.describe(files)}, to
100 x 100.

| | | to reach |
| --- | --- | --- |
| the renderer waits for its next picture | **{said["waitingShare"]:.1%}** of the time \
| under {MOST_WAITING:.0%} |
| pictures a second, one renderer | {said["pictures"] / said["seconds"]:.1f} | |
| CPU time of the supervisor, a picture | {said["supervisor"] * 1e3:.1f} ms | |
| start of the process to its first poll, over a bare Python's {bare * 1e3:.0f} ms | \
**{(ready - bare) * 1e3:.0f} ms** (median of {STARTS}) | {MOST_START_MILLISECONDS} ms |"""
    print(section)
    if not options.print_only:
        page.write_section("worker", section)


if __name__ == "__main__":
    main()
