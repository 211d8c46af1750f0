"""Uploads at a steady rate, whatever the answers, and what became of each of them."""

import hashlib
import io
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import urllib3
from PIL import Image

CONNECTIONS: Final = 16
CHECKERS: Final = 4
PATIENCE_SECONDS: Final = 300.0
WANTED: Final = (100, 100)
_AGAIN_SECONDS: Final = 1.0
# What tells a client to come again; a 409 says that the first try of the same upload still goes on.
_LATER: Final = {409, 429, 500, 502, 503, 504}

Document = dict[str, Any]
Keep = Callable[[Mapping[str, Any]], None]


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The same picture as another file: a comment after its first segment."""
    end = 4 + int.from_bytes(jpeg[4:6], "big")
    comment = text.encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:end] + segment + jpeg[end:]


class Client:
    """The REST API; each request has a connection of its own, so that all replicas get some."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url
        self._headers = {"Connection": "close"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False)

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int | str, bytes]:
        """Status and body; for a request without an answer, the word `connection`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = self._pool.request(
                method, self._url + path, body=body, headers={**self._headers, **named}, timeout=60.0
            )
        except urllib3.exceptions.HTTPError:
            return "connection", b""
        return answer.status, answer.data


class Uploads:
    """Sends files, `rate` of them a second, and writes down what was answered."""

    def __init__(
        self, client: Client, originals: Sequence[bytes], keep: Keep, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._originals = originals
        self._keep = keep
        self._clock = clock  # seconds since the run began
        self._run = uuid.uuid4().hex
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.sent = 0
        self.jobs: dict[str, int] = {}  # number of the upload, by the job's id

    def run(self, rate: float) -> None:
        """Until `stop` is called; returns when the last upload was answered."""
        began = time.monotonic()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            for number in itertools.count():
                if self._over.wait(max(0.0, began + number / rate - time.monotonic())):
                    break
                self.sent += 1
                threads.submit(self._send, number)

    def stop(self) -> None:
        """Send nothing more."""
        self._over.set()

    def _send(self, number: int) -> None:
        name = f"{self._run}-{number}"
        body = with_comment(self._originals[number % len(self._originals)], name)
        began = time.monotonic()
        while True:
            status, answer = self._client.request(
                "POST", "/images", body, Content_Type="image/jpeg", Idempotency_Key=name
            )
            if status == 201:
                job = json.loads(answer)["id"]
                with self._lock:
                    self.jobs[job] = number
                seconds = round(time.monotonic() - began, 3)
                self._keep(
                    {"kind": "upload", "at": self._clock(), "number": number, "id": job, "seconds": seconds}
                )
                return
            given_up = time.monotonic() - began > PATIENCE_SECONDS
            if given_up or (isinstance(status, int) and status not in _LATER):
                why = f"{status} {answer.decode(errors='replace')[:300]}"
                self._keep({"kind": "refused", "at": self._clock(), "number": number, "why": why})
                return
            self._keep({"kind": "setback", "at": self._clock(), "what": str(status)})
            time.sleep(_AGAIN_SECONDS)


def check(
    client: Client, jobs: Mapping[str, int], originals: int, present: Collection[str], keep: Keep
) -> None:
    """Ask for every job, and open its thumbnail. `present`: the names of those that are no history yet.

    Files with the same picture must have the same thumbnail, to the byte.
    """
    digests: dict[int, str] = {}
    lock = threading.Lock()

    def one(job: str) -> None:
        why, digest = _judge(client, job)
        if digest is not None:
            with lock:
                first = digests.setdefault(jobs[job] % originals, digest)
            if first != digest:
                why = "its thumbnail is another one than that of the same picture before"
        keep({"kind": "check", "id": job, "why": why, "history": job not in present})

    with ThreadPoolExecutor(CHECKERS) as threads:
        list(threads.map(one, jobs))


def _judge(client: Client, job: str) -> tuple[str, str | None]:
    """What is wrong with a job, if anything, and the digest of its thumbnail."""
    status, answer = _get(client, f"/jobs/{job}", _has_ended)
    if status != 200:
        return f"its status is answered with {status}", None
    state = json.loads(answer)["status"]
    if state != "complete":
        return f"it is {state}", None
    status, answer = _get(client, f"/thumbnails/{job}", bool)
    if status != 200:
        return f"its thumbnail is answered with {status}", None
    try:
        with Image.open(io.BytesIO(answer)) as picture:
            picture.load()
            seen = (picture.format, picture.size)
    except OSError:
        return "its thumbnail cannot be opened", None
    if seen != ("JPEG", WANTED):
        return f"its thumbnail is {seen[0]} of {seen[1][0]} x {seen[1][1]}", None
    return "", hashlib.sha256(answer).hexdigest()


def _has_ended(job: bytes) -> bool:
    return json.loads(job)["status"] not in {"pending", "processing"}


def _get(client: Client, path: str, has_ended: Callable[[bytes], bool]) -> tuple[int | str, bytes]:
    """The answer, once it is one that stays."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        status, answer = client.request("GET", path, Prefer="wait=20")
        again = status == "connection" or status in _LATER or (status == 200 and not has_ended(answer))
        if not again or time.monotonic() > deadline:
            return status, answer
        time.sleep(_AGAIN_SECONDS)


def told(deliveries: Iterable[Mapping[str, Any]], jobs: Collection[str]) -> dict[str, int]:
    """How many webhooks told that each of these jobs is complete; those that none told of are 0."""
    counts = dict.fromkeys(jobs, 0)
    for delivery in deliveries:
        event = json.loads(delivery["body"])
        job = event["data"].get("jobId")
        if event["type"] == "thumbnailjob.completed" and job in counts:
            counts[job] += 1
    return counts
