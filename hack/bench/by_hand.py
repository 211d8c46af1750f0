"""The same work by hand: what a script would do that has no API, no job store and no queue.

Each original is put into the same S3 server, got back, rendered with the same renderer, and its
thumbnail put: in a bare process pool for throughput, in one process for latency.
"""

import io
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.spec import DEFAULT_OUTPUTS, Format
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import Wanted, render
from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow

PREFIX = "by-hand/"
WANTED = (Wanted(DEFAULT_OUTPUTS[0], Format.AUTO),)


class ByHand:
    """One process's connection to the S3 server."""

    def __init__(self, s3: S3Settings) -> None:
        self.objects = S3ObjectStore(s3)
        self.limits = Limits()
        self.resize = load_cykooz() or resize_with_pillow

    def one(self, file: Path) -> float:
        """One picture from file to thumbnail; the seconds it took."""
        started = time.perf_counter()
        data = file.read_bytes()
        self.objects.put(f"{PREFIX}{file.name}", io.BytesIO(data), len(data), content_type="image/jpeg")
        body = self.objects.get(f"{PREFIX}{file.name}")
        try:
            original = body.read()
        finally:
            body.close()
        (thumbnail,) = render(io.BytesIO(original), original, WANTED, self.limits, self.resize).pictures
        self.objects.put(
            f"{PREFIX}{file.name}.thumbnail",
            io.BytesIO(thumbnail.data),
            len(thumbnail.data),
            content_type=thumbnail.content_type,
        )
        return time.perf_counter() - started


_here: ByHand


def _start(s3: S3Settings) -> None:
    global _here  # noqa: PLW0603 - one a process of the pool
    _here = ByHand(s3)


def _one(file: Path) -> float:
    return _here.one(file)


class Pool:
    """A process pool that is warm before it is timed."""

    def __init__(self, s3: S3Settings, processes: int, warm_up: list[Path]) -> None:
        self.executor = ProcessPoolExecutor(processes, initializer=_start, initargs=(s3,))
        self.run(warm_up)

    def run(self, files: list[Path]) -> float:
        """Seconds that all files took."""
        started = time.perf_counter()
        list(self.executor.map(_one, files, chunksize=1))
        return time.perf_counter() - started

    def close(self) -> None:
        self.executor.shutdown()
