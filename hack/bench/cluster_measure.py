"""What `cluster.py` measures on an installed release: one cold job, one warm job, many at once."""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pictures
from cluster_audit import AuditLog, Writes
from cluster_check import check_outputs, check_rendered
from cluster_objects import CONNECTIONS, JOB, THUMBNAIL_JOB, Cluster, bare_job, thumbnail_job
from cluster_release import Release
from cluster_usage import Usage, usage

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
    client_cpu_seconds: float
    before: dict[str, dict[str, Usage]]  # by component and pod
    after: dict[str, dict[str, Usage]]

    def cpu_seconds(self, component: str) -> float | None:
        """What the component's pods took, together; None when none was left to be asked."""
        if not self.after.get(component):
            return None
        before = self.before.get(component, {})
        return sum(
            each.cpu_seconds - (before[pod].cpu_seconds if pod in before else 0.0)
            for pod, each in self.after[component].items()
        )


class Bench:
    """A release, and a client that measures it. Each measurement takes pictures that none before it had."""

    def __init__(self, release: Release, cluster: Cluster, audit: AuditLog | None) -> None:
        self._release = release
        self._cluster = cluster
        self._audit = audit
        self._image = release.image("operator")
        self._small_taken = 0

    def cold(self, count: int) -> Pair:
        """One job with no worker running, and one bare Job, in turn."""
        ours, bare = [], []
        for key in self.put_small(count):
            self._release.wait_without_workers()
            time.sleep(SETTLE_SECONDS)
            bare.append(self.bare_jobs(1).seconds)
            time.sleep(SETTLE_SECONDS)
            ours.append(self._one(key))
            print(f"  cold: {ours[-1]:.2f} s, a bare Job {bare[-1]:.2f} s", flush=True)
        return Pair(ours, bare)

    def warm(self, count: int) -> Pair:
        """One job while a worker lingers, and the same requests by hand, in turn."""
        keys = self.put_small(WARM_UP + count)
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
        since, namespace = self._position(), self._release.namespace
        ended = self._cluster.until_ended(JOB, namespace, [bare_job(self._image)] * count)
        if count > 1:
            time.sleep(SETTLE_SECONDS)
            print(f"  {count} bare Jobs: {ended.seconds:.1f} s", flush=True)
        many = Many(count, ended.seconds, self._writes(since))
        self._cluster.delete(JOB, namespace, ended.documents)
        return many

    def burst(self, what: str, keys: Sequence[str]) -> Burst:
        """ThumbnailJobs at once for these originals, with no worker running; opened and compared."""
        self._release.wait_without_workers()
        time.sleep(SETTLE_SECONDS)
        before = self._usage("api", "operator")
        since, client = self._position(), time.process_time()
        specs = [thumbnail_job(key) for key in keys]
        ended = self._cluster.until_ended(THUMBNAIL_JOB, self._release.namespace, specs)
        client = time.process_time() - client
        after = self._usage("worker", "api", "operator")  # workers first: they do not linger for long
        print(f"  {len(keys)} {what}: {ended.seconds:.1f} s", flush=True)
        time.sleep(SETTLE_SECONDS)
        writes = self._writes(since)
        check_outputs(self._release.objects, ended.documents)
        return Burst(len(keys), ended.seconds, writes, what, client, before, after)

    def put_small(self, count: int) -> list[str]:
        """Small pictures in the bucket; their keys."""
        first, self._small_taken = self._small_taken, self._small_taken + count
        return self._put(pictures.make_small(self._small_taken)[first:])

    def put_photos(self, count: int) -> list[str]:
        """The photos of `make bench` in the bucket; their keys."""
        return self._put(pictures.make(count))

    def _one(self, key: str) -> float:
        ended = self._cluster.until_ended(THUMBNAIL_JOB, self._release.namespace, [thumbnail_job(key)])
        check_rendered(ended.documents[0])
        return ended.seconds

    def _by_hand(self, key: str) -> float:
        """A create, a patch of the status, and the watch event of it."""
        spec = thumbnail_job(key.replace(self._release.namespace, self._release.by_hand))
        status = {"phase": "Succeeded"}
        return self._cluster.until_ended(THUMBNAIL_JOB, self._release.by_hand, [spec], by_hand=status).seconds

    def _put(self, files: Sequence[Path]) -> list[str]:
        def put(file: Path) -> str:
            key = f"sources/{self._release.namespace}/bench/{file.name}"
            with file.open("rb") as data:
                self._release.objects.put(key, data, file.stat().st_size, content_type="image/jpeg")
            return key

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return list(threads.map(put, files))

    def _usage(self, *components: str) -> dict[str, dict[str, Usage]]:
        return {component: usage(self._release, component) for component in components}

    def _position(self) -> tuple[int, int]:
        return self._audit.position() if self._audit else (0, 0)

    def _writes(self, since: tuple[int, int]) -> Writes | None:
        return self._audit.writes(since, self._release.namespace) if self._audit else None
