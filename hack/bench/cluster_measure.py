"""What `cluster.py` measures on an installed release: one cold job, one warm job, many at once."""

import io
import os
import statistics
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pictures
from cluster_audit import AuditLog, Writes
from cluster_check import check_outputs, check_rendered
from cluster_objects import CONNECTIONS, JOB, THUMBNAIL_JOB, Cluster, bare_job, thumbnail_job
from cluster_release import Release
from cluster_usage import Usage, usage

SMALL: Final = (800, 600)
WARM_UP: Final = 3
# For what is still written after the end, and for workers to become idle.
SETTLE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Pair:
    """Seconds of each sample of ours, and of what it is compared with."""

    ours: list[float]
    bare: list[float]
    writes: Writes | None = None  # all that was written meanwhile, of ours

    @property
    def medians(self) -> tuple[float, float]:
        """Of ours, and of the other."""
        return statistics.median(self.ours), statistics.median(self.bare)


@dataclass(frozen=True)
class Many:
    """Objects that were created at once: seconds for all of them, and all that was written meanwhile."""

    count: int
    seconds: float
    writes: Writes | None

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / self.seconds


@dataclass(frozen=True)
class Burst(Many):
    """ThumbnailJobs at once."""

    what: str  # the pictures
    workers: int
    client_cpu_seconds: float
    before: dict[str, dict[str, Usage]]  # by component and pod
    after: dict[str, dict[str, Usage]]

    def cpu_seconds(self, component: str) -> float:
        """What the component's pods took, together."""
        before = self.before.get(component, {})
        return sum(
            each.cpu_seconds - (before[pod].cpu_seconds if pod in before else 0.0)
            for pod, each in self.after.get(component, {}).items()
        )


@dataclass(frozen=True)
class Bench:
    """A release, and a client that measures it."""

    release: Release
    cluster: Cluster
    audit: AuditLog | None
    image: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", self.release.image("operator"))

    def cold(self, count: int) -> Pair:
        """One job with no worker running, and one bare Job, in turn."""
        ours, bare = [], []
        for key in self._put_small("cold", count):
            self.release.wait_without_workers()
            time.sleep(SETTLE_SECONDS)
            bare.append(self.bare_jobs(1).seconds)
            time.sleep(SETTLE_SECONDS)
            ours.append(self._one(key))
            print(f"  cold: {ours[-1]:.2f} s, a bare Job {bare[-1]:.2f} s", flush=True)
        return Pair(ours, bare)

    def warm(self, count: int) -> Pair:
        """One job while a worker lingers, and the same requests by hand, in turn."""
        keys = self._put_small("warm", WARM_UP + count)
        for key in keys[:WARM_UP]:
            self._one(key)
            self._by_hand(key)
        time.sleep(SETTLE_SECONDS)
        since = self._position()
        ours, by_hand = [], []
        for key in keys[WARM_UP:]:
            by_hand.append(self._by_hand(key))
            ours.append(self._one(key))
        pair = Pair(ours, by_hand, self._writes(since))
        print(f"  warm: {pair.medians[0] * 1e3:.0f} ms, by hand {pair.medians[1] * 1e3:.0f} ms", flush=True)
        return pair

    def bare_jobs(self, count: int) -> Many:
        """Jobs that do nothing, at once."""
        since, namespace = self._position(), self.release.namespace
        ended = self.cluster.until_ended(JOB, namespace, [bare_job(self.image)] * count)
        if count > 1:
            time.sleep(SETTLE_SECONDS)
            print(f"  {count} bare Jobs: {ended.seconds:.1f} s", flush=True)
        many = Many(count, ended.seconds, self._writes(since))
        self.cluster.delete(JOB, namespace, ended.documents)
        return many

    def burst(self, what: str, keys: Sequence[str]) -> Burst:
        """ThumbnailJobs at once for these originals, with no worker running; opened and compared."""
        self.release.wait_without_workers()
        time.sleep(SETTLE_SECONDS)
        before = self._usage("api", "operator")
        since, client = self._position(), time.process_time()
        specs = [thumbnail_job(key) for key in keys]
        ended = self.cluster.until_ended(THUMBNAIL_JOB, self.release.namespace, specs)
        client = time.process_time() - client
        after = self._usage("worker", "api", "operator")  # workers first: they do not linger for long
        print(f"  {len(keys)} {what}: {ended.seconds:.1f} s", flush=True)
        time.sleep(SETTLE_SECONDS)
        writes = self._writes(since)
        workers = check_outputs(self.release.objects, ended.documents)
        return Burst(len(keys), ended.seconds, writes, what, workers, client, before, after)

    def put_small(self, count: int) -> list[str]:
        """Small generated pictures in the bucket; their keys."""
        return self._put_small("burst", count)

    def put_photos(self, count: int) -> list[str]:
        """The photos of `make bench` in the bucket; their keys."""
        return self._put_files([file.read_bytes() for file in pictures.make(count)], "photo")

    def _one(self, key: str) -> float:
        ended = self.cluster.until_ended(THUMBNAIL_JOB, self.release.namespace, [thumbnail_job(key)])
        check_rendered(ended.documents[0])
        return ended.seconds

    def _by_hand(self, key: str) -> float:
        """A create, a patch of the status, and the watch event of it."""
        spec = thumbnail_job(key.replace(self.release.namespace, self.release.by_hand))
        status = {"phase": "Succeeded"}
        return self.cluster.until_ended(THUMBNAIL_JOB, self.release.by_hand, [spec], by_hand=status).seconds

    def _put_small(self, prefix: str, count: int) -> list[str]:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            files = list(pool.map(partial(_small_picture, prefix), range(count), chunksize=8))
        return self._put_files(files, prefix)

    def _put_files(self, files: Sequence[bytes], prefix: str) -> list[str]:
        def put(index: int) -> str:
            key = f"sources/{self.release.namespace}/bench/{prefix}-{index}"
            data = files[index]
            self.release.objects.put(key, io.BytesIO(data), len(data), content_type="image/jpeg")
            return key

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return list(threads.map(put, range(len(files))))

    def _usage(self, *components: str) -> dict[str, dict[str, Usage]]:
        return {component: usage(self.release, component) for component in components}

    def _position(self) -> tuple[int, int]:
        return self.audit.position() if self.audit else (0, 0)

    def _writes(self, since: tuple[int, int]) -> Writes | None:
        return self.audit.writes(since, self.release.namespace) if self.audit else None


def _small_picture(prefix: str, index: int) -> bytes:
    file = io.BytesIO()
    seed = zlib.crc32(f"{prefix} {index}".encode())
    pictures.generate(seed, SMALL).save(file, "JPEG", quality=85)
    return file.getvalue()
