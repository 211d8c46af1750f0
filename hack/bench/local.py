"""`make bench`: local mode against the same work by hand; draws its section of docs/benchmarks.md.

Both sides run in turn, piece by piece, in one run on one machine, since machines differ and so does one
machine from minute to minute: what counts is the ratio. A run in which a job was answered from the cache
is void.
"""

import argparse
import io
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page
import pictures
from by_hand import ByHand, Pool
from memory import CLIENTS, UPLOAD_BYTES, Memory, measure_memory
from PIL import Image
from service import Service, get_json, post

CONNECTIONS = 8
ROUNDS = 4
LATENCY_SAMPLES = 60
WARM_UP = 24


@dataclass(frozen=True)
class Throughput:
    """Seconds of each round, and the CPU seconds a picture of each component."""

    count: int
    service_seconds: list[float]
    by_hand_seconds: list[float]
    processes: int
    cpu: dict[str, float]
    client_cpu: float

    @property
    def ratio(self) -> float:
        return statistics.median(
            hand / service for hand, service in zip(self.by_hand_seconds, self.service_seconds, strict=True)
        )


@dataclass(frozen=True)
class Latency:
    """Seconds from the start of an upload to its thumbnail being there."""

    service: list[float]
    by_hand: list[float]

    @property
    def over_seconds(self) -> float:
        return statistics.median(self.service) - statistics.median(self.by_hand)


def measure_throughput(service: Service, files: list[Path]) -> Throughput:
    warm_up, files = files[:WARM_UP], files[WARM_UP:]
    post_all(service, warm_up)
    # As many processes as serve the baseline best: more than cores, since each also waits for the S3 server.
    processes = (os.cpu_count() or 2) + 1
    pool = Pool(service.s3, processes, warm_up)
    size = len(files) // ROUNDS
    service_seconds, by_hand_seconds = [], []
    cpu = dict.fromkeys(service.cpu_seconds(), 0.0)
    client_cpu = 0.0
    for number in range(ROUNDS):
        piece = files[number * size : (number + 1) * size]
        by_hand_seconds.append(pool.run(piece))
        before, client_before = service.cpu_seconds(), time.process_time()
        service_seconds.append(post_all(service, piece))
        client_cpu += time.process_time() - client_before
        cpu = {name: cpu[name] + seconds - before[name] for name, seconds in service.cpu_seconds().items()}
        print(
            f"  {size} pictures: {size / service_seconds[-1]:.1f}/s through REST, "
            f"{size / by_hand_seconds[-1]:.1f}/s by hand",
            flush=True,
        )
    pool.close()
    count = size * ROUNDS
    per_picture = {name: seconds / count for name, seconds in cpu.items()}
    return Throughput(count, service_seconds, by_hand_seconds, processes, per_picture, client_cpu / count)


def post_all(service: Service, files: list[Path]) -> float:
    """Post the files over eight connections; the seconds until the last job is complete."""
    started = time.perf_counter()
    queue = iter(files)

    def client(_: int) -> list[str]:
        connection = service.connection()
        ids = [post(connection, file.read_bytes(), wait=False)["id"] for file in queue]
        connection.close()
        return ids

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        ids = {id_ for part in threads.map(client, range(CONNECTIONS)) for id_ in part}
    connection = service.connection()
    while True:
        unfinished = get_json(connection, "/jobs?status=pending,processing&limit=1")
        if not unfinished:
            break
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    check(connection, ids)
    connection.close()
    return seconds


def check(connection: Any, ids: set[str]) -> None:
    """Every job is complete, none from the cache, and what was made is a picture of the right size."""
    for id_ in ids:
        job = get_json(connection, f"/jobs/{id_}")
        if job["status"] != "complete":
            raise SystemExit(f"void: {job}")
    connection.request("GET", f"/thumbnails/{min(ids)}")
    picture = Image.open(io.BytesIO(connection.getresponse().read()))
    if picture.size != (100, 100):
        raise SystemExit(f"void: a thumbnail of {picture.size}")


def measure_latency(service: Service, files: list[Path]) -> Latency:
    hand = ByHand(service.s3)
    connection = service.connection()
    for file in files[:5]:
        post(connection, file.read_bytes(), wait=True)
        hand.one(file)
    through_service, by_hand = [], []
    for file in files[5:]:
        by_hand.append(hand.one(file))
        data = file.read_bytes()
        started = time.perf_counter()
        job = post(connection, data, wait=True)
        through_service.append(time.perf_counter() - started)
        if job["status"] != "complete":
            raise SystemExit(f"void: {job}")
    connection.close()
    return Latency(through_service, by_hand)


def report(service: Service, photos: str, throughput: Throughput, latency: Latency, memory: Memory) -> str:
    """The section, whole."""
    total = sum(throughput.cpu.values())
    rest, hand = latency.service, latency.by_hand
    rows = "\n".join(
        f"| {name} | {seconds * 1e3:.1f} ms | {seconds / total:.0%} |"
        for name, seconds in throughput.cpu.items()
    )
    rates = [
        [throughput.count / ROUNDS / seconds for seconds in side]
        for side in (throughput.service_seconds, throughput.by_hand_seconds)
    ]
    bars = ", ".join(f"{seconds * 1e3:.1f}" for seconds in throughput.cpu.values())
    names = ", ".join(f'"{name}"' for name in throughput.cpu)
    return f"""\
## Local mode, through REST, against the same work by hand

{page.made_by("make bench")}

Photos: {photos}. Thumbnails of 100 x 100, cropped to cover, in the original's format. Nothing was answered \
from the cache.

By hand: a bare process pool ({throughput.processes} processes) that puts each original into the same S3 \
server, gets it, renders it with the same renderer and puts the thumbnail, with no API, job store or queue. \
(A worker's renderers also keep freed memory for the next picture, which a bare pool does not: for this mix \
that is about three milliseconds of clearing pages a photo.) \
Through REST: the same photos posted over {CONNECTIONS} connections, until the last job is complete; the \
client's own work is on the same cores ({throughput.client_cpu * 1e3:.1f} ms CPU a picture).

| {throughput.count:,} photos in {ROUNDS} rounds | pictures a second, each round |
| --- | --- |
| through REST | {", ".join(f"{rate:.1f}" for rate in rates[0])} |
| by hand | {", ".join(f"{rate:.1f}" for rate in rates[1])} |
| **ratio, median of rounds** | **{throughput.ratio:.2f}** (to reach: 0.8) |

| one upload to finished, {len(rest)} photos one by one | median | 90th percentile |
| --- | --- | --- |
| through REST (`Prefer: wait`) | {statistics.median(rest) * 1e3:.1f} ms | {percentile(rest):.1f} ms |
| by hand | {statistics.median(hand) * 1e3:.1f} ms | {percentile(hand):.1f} ms |
| **over it** | **{latency.over_seconds * 1e3:.1f} ms** (to reach: 40) | |

### Where the CPU time of a picture goes

| component | CPU a picture | share |
| --- | --- | --- |
{rows}

```mermaid
xychart-beta
    title "CPU time a picture (ms)"
    x-axis [{names}]
    y-axis "ms"
    bar [{bars}]
```

### Memory of the API under uploads

{CLIENTS} uploads of {UPLOAD_BYTES // 1_000_000} MB at once, all answered `201`: the API's resident memory \
went from {memory.idle:.0f} MiB to at most {memory.peak:.0f} MiB (to stay within: 64 MiB above idle).

The service was ready {service.ready_seconds:.1f} s after its start, with a new data folder.
"""


def percentile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[-1] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="photos for the throughput")
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    files = pictures.make(WARM_UP + options.count + LATENCY_SAMPLES + 5)
    latency_files, throughput_files = files[: LATENCY_SAMPLES + 5], files[LATENCY_SAMPLES + 5 :]
    with Service() as service:
        print("latency ...", flush=True)
        latency = measure_latency(service, latency_files)
        print("throughput ...", flush=True)
        throughput = measure_throughput(service, throughput_files)
        print("memory ...", flush=True)
        memory = measure_memory(service, latency_files[0])
        section = report(service, pictures.describe(throughput_files), throughput, latency, memory)
    print(section)
    if not options.print_only:
        page.write_section("local", section)


if __name__ == "__main__":
    main()
