"""`make bench-cluster`: the service on a cluster against bare Jobs and requests; its section of the page.

Everything is measured in turn in one run. A run in which a job was answered from the cache is void.
"""

import argparse
import io
import json
import os
import statistics
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import page
import pictures
from cluster_objects import CONNECTIONS, Document, Objects
from cluster_release import Release
from PIL import Image

COLD, WARM, BURST, BARE = 10, 30, 1000, 100
SIZE = (800, 600)
LINGER_SECONDS = 5
AUDIT_LOG = Path(__file__).parents[2] / ".cluster" / "logs" / "audit.log"
WRITES = {"create", "patch", "update", "delete", "deletecollection"}
# What is written anyway, whether there are jobs or not.
BACKGROUND = {"leases", "tokenreviews", "serviceaccounts"}


@dataclass(frozen=True)
class Pair:
    """Seconds of each sample of ours, and of what it is compared with."""

    ours: list[float]
    bare: list[float]

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.ours), statistics.median(self.bare)


@dataclass(frozen=True)
class Burst:
    """Seconds for all of them."""

    count: int
    seconds: float
    bare_count: int
    bare_seconds: float
    writes: Counter[tuple[str, str]] | None  # (verb, resource) of the service
    memory: dict[str, tuple[float, float]]  # MiB of a component's largest pod: before, and at most
    workers: int

    @property
    def ratio(self) -> float:
        return (self.count / self.seconds) / (self.bare_count / self.bare_seconds)


def put_originals(release: Release, count: int, prefix: str) -> list[str]:
    """So many pictures, each with pixels of its own; their keys."""

    def put(index: int) -> str:
        file = io.BytesIO()
        pictures.generate(zlib.crc32(f"{prefix} {index}".encode()), SIZE).save(file, "JPEG", quality=85)
        key = f"sources/{release.namespace}/bench/{prefix}-{index}.jpg"
        file.seek(0)
        release.objects.put(key, file, len(file.getbuffer()), content_type="image/jpeg")
        return key

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(put, range(count)))


def measure_cold(release: Release, objects: Objects, image: str, count: int) -> Pair:
    keys = put_originals(release, count, "cold")
    ours, bare = [], []
    for key in keys:
        release.wait_without_workers()
        bare.append(objects.one_bare_job(image))
        ours.append(objects.one_thumbnail_job(key))
        print(f"  cold: {ours[-1]:.2f} s, a bare Job {bare[-1]:.2f} s", flush=True)
    return Pair(ours, bare)


def measure_warm(release: Release, objects: Objects, count: int) -> Pair:
    keys = put_originals(release, count + 3, "warm")
    for key in keys[:3]:
        objects.one_thumbnail_job(key)
    ours, bare = [], []
    for key in keys[3:]:
        ours.append(objects.one_thumbnail_job(key))
        bare.append(objects.one_by_hand(key))
    return Pair(ours, bare)


def measure_burst(release: Release, objects: Objects, image: str, count: int, bare_count: int) -> Burst:
    keys = put_originals(release, count, "burst")
    release.wait_without_workers()
    bare_seconds = objects.many_bare_jobs(image, bare_count)
    print(f"  {bare_count} bare Jobs: {bare_seconds:.1f} s", flush=True)
    release.wait_without_workers()
    time.sleep(5)
    idle = {name: max(release.memory_mib(name)) for name in ("api", "operator")}
    audit_start = AUDIT_LOG.stat().st_size if AUDIT_LOG.exists() else None
    most: dict[str, float] = {}
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(release, most, stop))
    sampler.start()
    seconds, jobs = objects.many_thumbnail_jobs(keys)
    stop.set()
    sampler.join()
    print(f"  {count} ThumbnailJobs: {seconds:.1f} s", flush=True)
    workers = check(release, jobs, count)
    time.sleep(3)  # what is still to be written
    writes = None if audit_start is None else _writes(audit_start, release.namespace)
    memory = {name: (idle[name][0], max(most.get(name, 0.0), idle[name][1])) for name in idle}
    memory["worker"] = (0.0, most.get("worker", 0.0))
    return Burst(count, seconds, bare_count, bare_seconds, writes, memory, workers)


def _sample(release: Release, most: dict[str, float], stop: threading.Event) -> None:
    while not stop.wait(2):
        for name in ("worker", "operator", "api"):
            for _, high in release.memory_mib(name):
                most[name] = max(most.get(name, 0.0), high)


def check(release: Release, jobs: list[Document], count: int) -> int:
    """Every job is complete, none from the cache, and its thumbnail shows its picture; how many workers."""
    if len(jobs) != count:
        raise SystemExit(f"void: {len(jobs)} of {count} jobs are there")

    def check_one(job: Document) -> str:
        status = job["status"]
        reasons = {each["type"]: each["reason"] for each in status["conditions"]}
        if status["phase"] != "Succeeded" or reasons["Complete"] != "Rendered":
            raise SystemExit(f"void: {job['metadata']['name']}: {status['phase']}, {reasons}")
        with _open(release, job["spec"]["source"]["objectKey"]) as original:
            expected = (
                original.convert("RGB").crop((100, 0, 700, 600)).resize((100, 100), Image.Resampling.BOX)
            )
        with _open(release, status["outputs"][0]["objectKey"]) as thumbnail:
            seen = thumbnail.convert("RGB")
            if thumbnail.size != (100, 100):
                raise SystemExit(f"void: a thumbnail of {thumbnail.size}")
        far = statistics.mean(
            abs(one - other) for one, other in zip(seen.tobytes(), expected.tobytes(), strict=True)
        )
        if far > 8:
            raise SystemExit(f"void: {job['metadata']['name']} shows something else ({far:.1f} levels away)")
        return str(status["workerJob"])

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return len(set(pool.map(check_one, jobs)))


def _open(release: Release, key: str) -> Image.Image:
    body = release.objects.get(key)
    try:
        return Image.open(io.BytesIO(body.read()))
    finally:
        body.close()


def _writes(start: int, namespace: str) -> Counter[tuple[str, str]]:
    """What was written about the namespace since then, by verb and resource, but for its nodes' own work."""
    found: Counter[tuple[str, str]] = Counter()
    with AUDIT_LOG.open("rb") as log:
        log.seek(start)
        for line in log:
            event = json.loads(line)
            reference = event.get("objectRef", {})
            if event["verb"] not in WRITES or reference.get("namespace") != namespace:
                continue
            resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            ours = event["user"]["username"].startswith(f"system:serviceaccount:{namespace}:")
            if reference["resource"] not in BACKGROUND and (ours or resource == "thumbnailjobs"):
                found[event["verb"], resource] += 1
    return found


def writes_per_job(writes: Counter[tuple[str, str]], count: int) -> float:
    """Of ThumbnailJobs themselves, their status included."""
    return sum(number for (_, what), number in writes.items() if what.startswith("thumbnailjobs")) / count


def report(cold: Pair, warm: Pair, burst: Burst) -> str:
    """The section, whole."""
    (cold_ours, cold_bare), (warm_ours, warm_bare) = cold.medians, warm.medians
    per_job = "not measured" if burst.writes is None else f"{writes_per_job(burst.writes, burst.count):.2f}"
    rows = "".join(
        f"| {verb} {resource} | {number} |\n"
        for (verb, resource), number in sorted((burst.writes or {}).items())
    )
    memory = "".join(
        f"| {name} | {f'{before:.0f} MiB' if before else 'none runs'} | {most:.0f} MiB |\n"
        for name, (before, most) in burst.memory.items()
    )
    return f"""\
## On Kubernetes, against bare Jobs

{page.made_by("make bench-cluster")} One node; everything, the control plane and this client too, shares \
its cores. Pictures: JPEG of {SIZE[0]} x {SIZE[1]}, each with different pixels, in the bucket before; \
thumbnails of 100 x 100, each opened and compared with its picture. Nothing was answered from the cache. A \
bare Job runs `true` in an image of ours; by hand is a create, a status patch and the watch event of it.

| | ours | bare | |
| --- | --- | --- | --- |
| one job, no worker running, to Complete (median of {len(cold.ours)}) | {cold_ours:.2f} s \
| a bare Job: {cold_bare:.2f} s | **{cold_ours / cold_bare:.2f}** x (to reach: 0.6) |
| one job, a worker lingering (median of {len(warm.ours)}) | {warm_ours * 1e3:.0f} ms \
| by hand: {warm_bare * 1e3:.0f} ms | **{(warm_ours - warm_bare) * 1e3:.0f} ms** over it (to reach: 60) |
| {burst.count:,} jobs at once, {burst.workers} workers | {burst.count / burst.seconds:.1f} a second \
({burst.seconds:.1f} s) | {burst.bare_count} bare Jobs: {burst.bare_count / burst.bare_seconds:.2f} a second \
| **{burst.ratio:.1f}** x (to reach: 15) |
| writes to the API server for each of them | {per_job} | | (to reach: 3) |

What the service wrote during the burst, by the API server's audit log:

| request | how often |
| --- | --- |
{rows}
| memory of a pod | idle | at most, during the burst |
| --- | --- | --- |
{memory}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", type=int, default=COLD)
    parser.add_argument("--warm", type=int, default=WARM)
    parser.add_argument("--burst", type=int, default=BURST)
    parser.add_argument("--bare", type=int, default=BARE)
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    local = Path(__file__).parents[2] / ".cluster"
    os.environ.setdefault("KUBECONFIG", str(local / "kubeconfig"))
    os.environ["PATH"] = f"{local / 'bin'}:{os.environ['PATH']}"
    with Release(lingerSeconds=LINGER_SECONDS) as release:
        objects = Objects(release.kubeconfig, release.namespace)
        image = release.image("operator")
        cold = measure_cold(release, objects, image, options.cold)
        warm = measure_warm(release, objects, options.warm)
        print(f"  warm: {warm.medians[0] * 1e3:.0f} ms, by hand {warm.medians[1] * 1e3:.0f} ms", flush=True)
        burst = measure_burst(release, objects, image, options.burst, options.bare)
    section = report(cold, warm, burst)
    print(section)
    if not options.print_only:
        page.write_section("cluster", section)


if __name__ == "__main__":
    main()
