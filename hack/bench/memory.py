"""Memory of the API while fifty clients upload a hundred megabytes each, against what it has when idle."""

import http.client
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service import Service, post

CLIENTS = 50
UPLOAD_BYTES = 100_000_000
BLOCK = os.urandom(1 << 20)


@dataclass(frozen=True)
class Memory:
    """Resident MiB of the API's process."""

    idle: float
    peak: float


def measure_memory(service: Service, picture: Path) -> Memory:
    """Upload a picture that is followed by much else, from all clients at once; each must be a 201."""
    (pid,) = service.processes()["API"]
    head = picture.read_bytes()
    connection = service.connection()
    post(connection, head, wait=True)
    connection.close()
    time.sleep(2)
    idle = resident(pid)
    samples = [idle]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            samples.append(resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda number: upload(service, head, number), range(CLIENTS)))
    over.set()
    watcher.join()
    refused = [answer for answer in answers if answer[0] != http.client.CREATED]
    if refused:
        raise SystemExit(f"void: {len(refused)} uploads were refused: {refused[0]}")
    return Memory(idle, max(samples))


def upload(service: Service, head: bytes, number: int) -> tuple[int, str]:
    """One upload, sent in blocks; each has bytes of its own."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=600)
    connection.putrequest("POST", "/images")
    connection.putheader("Content-Type", "image/jpeg")
    connection.putheader("Content-Length", str(UPLOAD_BYTES))
    connection.endheaders()
    first = head + str(number).encode()
    connection.send(first)
    left = UPLOAD_BYTES - len(first)
    while left > 0:
        connection.send(BLOCK[:left])
        left -= min(left, len(BLOCK))
    answer = connection.getresponse()
    job = json.loads(answer.read())
    connection.close()
    return answer.status, str(job.get("detail", job.get("id")))


def resident(pid: int) -> float:
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
