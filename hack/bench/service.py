"""The service under test: started as `make run` starts it, with what the kernel says it took.

Its S3 server is started here, in the same way, so that the work by hand has the keys to it, too.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from thumbnails_common.s3_settings import S3Settings
from thumbnails_local.weed import WeedServer

TICKS = os.sysconf("SC_CLK_TCK")


class Service:
    """The launcher in a data folder of its own, on a free port."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="thumbnails-bench-")
        self.data = Path(self._folder.name) / "data"
        self.weed = WeedServer(Path(self._folder.name) / "s3")
        self.s3 = self.weed.start()
        environment = os.environ | _variables(self.s3) | {"PORT": "0", "THUMBNAILS_DATA": str(self.data)}
        self.log = (Path(self._folder.name) / "log").open("wb")
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "thumbnails_local"], env=environment, stdout=self.log, stderr=self.log
        )
        endpoint = self.data / "run" / "endpoint"
        while not endpoint.exists():
            if self.process.poll() is not None or time.perf_counter() - started > 60:
                raise SystemExit(f"the service did not start: see {self.log.name}")
            time.sleep(0.02)
        self.ready_seconds = time.perf_counter() - started
        self.host, _, port = endpoint.read_text().strip().removeprefix("http://").rpartition(":")
        self.port = int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.weed.stop()
        self.log.close()
        self._folder.cleanup()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    def processes(self) -> dict[str, list[int]]:
        """The processes of each component."""
        found: dict[str, list[int]] = {
            "S3 server": [self.weed.pid or 0],
            "API": [],
            "operator": [],
            "workers": [],
        }
        for pid in _descendants(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            except FileNotFoundError:
                continue
            if "api_process" in command:
                found["API"].append(pid)
            elif "operator_process" in command:
                found["operator"].append(pid)
            elif "thumbnails_worker" in command:
                found["workers"].append(pid)
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each component so far, ended children included."""
        return {name: sum(_cpu_seconds(pid) for pid in pids) for name, pids in self.processes().items()}


def post(connection: http.client.HTTPConnection, data: bytes, *, wait: bool) -> dict[str, Any]:
    """Upload one picture as a form; the job."""
    boundary = "----thumbnails-benchmark"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photo"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body = b"".join((head, data, f"\r\n--{boundary}--\r\n".encode()))
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if wait:
        headers["Prefer"] = "wait=30"
    connection.request("POST", "/images", body, headers)
    answer = connection.getresponse()
    job: dict[str, Any] = json.loads(answer.read())
    if answer.status != http.client.CREATED:
        raise SystemExit(f"an upload was refused: {answer.status} {job}")
    return job


def get_json(connection: http.client.HTTPConnection, path: str) -> Any:
    """One GET of the REST API."""
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def _variables(s3: S3Settings) -> Mapping[str, str]:
    return {
        "THUMBNAILS_S3_ENDPOINT": s3.endpoint,
        "THUMBNAILS_S3_ACCESS_KEY": s3.access_key,
        "THUMBNAILS_S3_SECRET_KEY": s3.secret_key,
    }


def _descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_descendants(int(child))]
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS
