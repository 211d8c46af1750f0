"""Opens what jobs have made and compares it with what the renderer makes here of the same originals."""

import io
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from by_hand import WANTED
from cluster_objects import CONNECTIONS, Document, condition
from PIL import Image

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract.wire import Limits
from thumbnails_worker.render.pipeline import render
from thumbnails_worker.render.resize import load_cykooz, resize_with_pillow

# Mean difference in levels (0..255): the image may hold another release of a codec than this machine.
_MOST_LEVELS_AWAY = 2.0


def check_rendered(job: Document) -> None:
    """The job is complete, and not from the cache."""
    complete = condition(job, "Complete")
    if complete is None or complete["reason"] != "Rendered":
        raise SystemExit(f"void: {job['metadata']['name']} was not rendered: {job.get('status')}")


def check_outputs(objects: S3ObjectStore, jobs: Sequence[Document]) -> None:
    """Every job was rendered, and its thumbnail is right."""
    resize = load_cykooz() or resize_with_pillow

    def check(job: Document) -> None:
        check_rendered(job)
        original = _read(objects, job["spec"]["source"]["objectKey"])
        (expected,) = render(io.BytesIO(original), original, WANTED, Limits(), resize).pictures
        (output,) = job["status"]["outputs"]
        away = _levels_away(_read(objects, output["objectKey"]), expected.data)
        if away is None or away > _MOST_LEVELS_AWAY:
            raise SystemExit(f"void: {job['metadata']['name']}: its thumbnail is another one ({away})")

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(check, jobs))


def _levels_away(seen: bytes, expected: bytes) -> float | None:
    """The mean difference of two pictures; None when their sizes or formats differ."""
    with Image.open(io.BytesIO(seen)) as one, Image.open(io.BytesIO(expected)) as other:
        if (one.size, one.format, one.mode) != (other.size, other.format, other.mode):
            return None
        pairs = zip(one.tobytes(), other.tobytes(), strict=True)
        return statistics.fmean(abs(left - right) for left, right in pairs)


def _read(objects: S3ObjectStore, key: str) -> bytes:
    body = objects.get(key)
    try:
        return body.read()
    finally:
        body.close()
