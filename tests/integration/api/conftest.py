"""A real server on a free port, over ports in memory: what the tests of the API share."""

import contextlib
import hashlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import pytest

from thumbnails_api.job_cache import JobCache
from thumbnails_api.server import Server
from thumbnails_api.service import create_service
from thumbnails_api.settings import ApiSettings
from thumbnails_common.jobstore import Document, JobPage, ObjectMissing, WatchEvent, WatchEventType
from thumbnails_common.objectstore import NoSuchObject, ObjectFacts
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Status
from thumbnails_contract.timestamps import format_time

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


class SmallJobStore:
    """As much of a JobStore as the API uses."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self._versions = itertools.count(1)
        self._changed = threading.Condition()
        self._journal: list[WatchEvent] = []
        self._closed = False
        self._version = "0"

    def _record(self, type_: WatchEventType, document: Document) -> None:
        self._version = document["metadata"]["resourceVersion"] = str(next(self._versions))
        self._journal.append(WatchEvent(type_, deepcopy(document), self._version))
        self._changed.notify_all()

    def create(self, manifest: Mapping[str, Any]) -> Document:
        with self._changed:
            document = deepcopy(dict(manifest))
            metadata = document["metadata"]
            metadata |= {"uid": metadata["name"], "creationTimestamp": format_time(NOW)}
            document["status"] = {"phase": "Pending"}
            self.documents[metadata["namespace"], metadata["name"]] = document
            self._record(WatchEventType.ADDED, document)
            return deepcopy(document)

    def get(self, namespace: str, name: str) -> Document:
        with self._changed:
            if (namespace, name) not in self.documents:
                raise ObjectMissing
            return deepcopy(self.documents[namespace, name])

    def delete(self, namespace: str, name: str, **_: Any) -> None:
        with self._changed:
            self._record(WatchEventType.DELETED, self.documents.pop((namespace, name)))

    def list(self, namespace: str | None = None, **_: Any) -> JobPage:
        with self._changed:
            return JobPage(tuple(deepcopy(list(self.documents.values()))), self._version)

    def watch(self, resource_version: str, namespace: str | None = None, **_: Any) -> Iterator[WatchEvent]:
        seen = 0
        while True:
            with self._changed:
                while len(self._journal) <= seen and not self._closed:
                    self._changed.wait(1)
                if self._closed:
                    return
                event = self._journal[seen]
            seen += 1
            if int(event.resource_version) > int(resource_version):
                yield event

    def set_status(self, name: str, status: Status) -> None:
        with self._changed:
            document = self.documents["thumbnails", name]
            document["status"] = status.to_manifest()
            self._record(WatchEventType.MODIFIED, document)

    def check(self) -> None:
        pass

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ZeroBody:
    """`size` zeros; breaks off at `breaks_after`."""

    def __init__(self, facts: ObjectFacts, size: int, breaks_after: int | None) -> None:
        self.facts = facts
        self._left = size
        self._sent = 0
        self._breaks_after = breaks_after
        self.closed = threading.Event()

    def read(self, size: int = -1, /) -> bytes:
        if self._breaks_after is not None and self._sent >= self._breaks_after:
            raise ObjectStoreUnavailable
        count = min(size, self._left)
        self._left -= count
        self._sent += count
        return bytes(count)

    def close(self) -> None:
        self.closed.set()


@dataclass
class DiscardingObjectStore:
    """Reads what it is given, keeps hash and size alone, and gives zeros back."""

    objects: dict[str, tuple[ObjectFacts, str]] = field(default_factory=dict)
    bodies: list[ZeroBody] = field(default_factory=list)
    breaks_after: int | None = None
    hold: threading.Event | None = None
    holding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def put(self, key: str, data: BinaryIO, length: int, *, content_type: str = "", **_: Any) -> str:
        if self.hold is not None:
            self.holding.release()
            self.hold.wait(100)
        digest, left = hashlib.sha256(), length
        while left > 0:
            chunk = data.read(min(64 * 1024, left))
            assert chunk, "the body is shorter than was said"
            left -= len(chunk)
            digest.update(chunk)
        self.objects[key] = (ObjectFacts(key, "etag", length, NOW, content_type), digest.hexdigest())
        return "etag"

    def list(self, prefix: str, **_: Any) -> Iterator[ObjectFacts]:
        return (facts for key, (facts, _) in sorted(self.objects.items()) if key.startswith(prefix))

    def head(self, key: str) -> ObjectFacts:
        if key not in self.objects:
            raise NoSuchObject
        return self.objects[key][0]

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> ZeroBody:
        facts = self.head(key)
        body = ZeroBody(facts, facts.bytes - offset if length is None else length, self.breaks_after)
        self.bodies.append(body)
        return body

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def check(self) -> None:
        pass


@dataclass
class Running:
    """A server that runs, and what stands behind it."""

    port: int
    server: Server
    store: SmallJobStore
    objects: DiscardingObjectStore
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def finish(self, job_id: str, size: int) -> None:
        """Make the job complete, with a thumbnail of `size` zeros."""
        key = f"thumbnails/thumbnails/default/{job_id}/recipe"
        self.objects.objects[key] = (ObjectFacts(key, "etag", size, NOW, "image/png"), "")
        self.store.set_status(
            job_id,
            Status(
                conditions=(Condition(ConditionType.COMPLETE, True, "Rendered", "", NOW),),
                outputs=(OutputFacts("default", "auto", key, 100, 100, size, "image/png", "etag"),),
            ),
        )

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@dataclass(frozen=True)
class Answer:
    """A whole answer as bytes were read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def read_answer(connection: socket.socket) -> Answer:
    """The next answer on a connection; the body ends where Content-Length says."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        assert chunk, f"the connection ended in the midst of the headers: {data!r}"
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        chunk = connection.recv(65536)
        assert chunk, "the connection ended in the midst of the body"
        body += chunk
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture
def answer_on() -> Callable[[socket.socket], Answer]:
    return read_answer


@pytest.fixture
def start_server() -> Iterator[Callable[..., Running]]:
    """Starts servers with the settings that it is given; all are stopped at the end."""
    with contextlib.ExitStack() as cleanup:

        def start(*, authenticator: Any = None, **settings: Any) -> Running:
            listener = socket.create_server(("127.0.0.1", 0))
            store, objects = SmallJobStore(), DiscardingObjectStore()
            jobs = JobCache(store)  # type: ignore[arg-type]
            chosen = ApiSettings(**settings)
            server = create_service(
                store,  # type: ignore[arg-type]
                objects,  # type: ignore[arg-type]
                jobs,
                chosen,
                [listener],
                authenticator=authenticator,
            ).server
            jobs.start()
            assert jobs.wait_synced(60)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            running = Running(listener.getsockname()[1], server, store, objects, thread)
            cleanup.callback(jobs.stop)
            cleanup.callback(store.close)
            cleanup.callback(running.stop)
            return running

        yield start


@pytest.fixture
def server(start_server: Callable[..., Running]) -> Running:
    return start_server()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Waits until a condition holds; a minute is enough for the slowest machine."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"not within a minute: {what}"
            time.sleep(0.02)

    return wait
