"""The two ports in memory, the app on top of them, and a client: what the tests of the API share."""

import hashlib
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import urlencode

import pytest
from falcon import testing
from PIL import Image

from thumbnails_api.accounts import Access, Caller
from thumbnails_api.app import create_app
from thumbnails_api.job_cache import JobCache
from thumbnails_api.links import NO_LINKS, LinkSigner
from thumbnails_api.settings import ApiSettings
from thumbnails_common.history import History
from thumbnails_common.jobstore import (
    AlreadyExists,
    Conflict,
    Document,
    JobPage,
    ObjectMissing,
    WatchEvent,
    WatchEventType,
)
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectFacts
from thumbnails_contract.errors import ThumbnailsError
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.spec import Spec
from thumbnails_contract.status import (
    Condition,
    ConditionType,
    ErrorFacts,
    OutputFacts,
    SourceFacts,
    Status,
)
from thumbnails_contract.timestamps import format_time
from thumbnails_contract.wire import Upload

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@dataclass
class MemoryJobStore:
    """A JobStore. Errors in `failures` are raised by the next calls of that method, one each.

    `after` failures happen once the call took effect: an answer that got lost.
    """

    failures: dict[str, list[ThumbnailsError]] = field(default_factory=dict)
    after: dict[str, list[ThumbnailsError]] = field(default_factory=dict)
    documents: dict[tuple[str, str], Document] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    journal: list[WatchEvent] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self._changed = threading.Condition()
        self.version = "0"
        self.now = NOW

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if self.failures.get(method):
            raise self.failures[method].pop(0)

    def _leave(self, method: str) -> None:
        if self.after.get(method):
            raise self.after[method].pop(0)

    def _record(self, type_: WatchEventType, document: Document) -> None:
        self.journal.append(WatchEvent(type_, deepcopy(document), self.version))
        self._changed.notify_all()

    def _bump(self, document: Document) -> None:
        self.version = str(next(self._versions))
        document["metadata"]["resourceVersion"] = self.version

    def create(self, manifest: Mapping[str, Any]) -> Document:
        self._enter("create")
        with self._changed:
            document = deepcopy(dict(manifest))
            metadata = document["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if key in self.documents:
                raise AlreadyExists
            document["spec"] = Spec.parse(document["spec"]).to_manifest()
            document["status"] = {"phase": "Pending"}
            metadata |= {
                "uid": f"uid-{next(self._uids)}",
                "generation": 1,
                "creationTimestamp": format_time(self.now),
            }
            self._bump(document)
            self.documents[key] = document
            self._record(WatchEventType.ADDED, document)
        self._leave("create")
        return deepcopy(document)

    def get(self, namespace: str, name: str) -> Document:
        self._enter("get")
        if (namespace, name) not in self.documents:
            raise ObjectMissing
        return deepcopy(self.documents[namespace, name])

    def list(
        self,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_token: str | None = None,
    ) -> JobPage:
        self._enter("list")
        with self._changed:
            found = sorted(key for key in self.documents if namespace in {None, key[0]})
            start = int(continue_token or 0)
            items = tuple(deepcopy(self.documents[key]) for key in found[start : start + limit])
            token = str(start + limit) if start + limit < len(found) else None
            return JobPage(items, self.version, token)

    def patch_spec(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Document:
        raise NotImplementedError

    def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str
    ) -> Document:
        with self._changed:
            document = self.documents[namespace, name]
            if document["metadata"]["resourceVersion"] != resource_version:
                raise Conflict
            document["status"] = merge_patch(document["status"], dict(patch))
            self._bump(document)
            self._record(WatchEventType.MODIFIED, document)
            return deepcopy(document)

    def delete(
        self, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> None:
        self._enter("delete")
        with self._changed:
            document = self.documents.get((namespace, name))
            if document is None:
                raise ObjectMissing
            if uid is not None and document["metadata"]["uid"] != uid:
                raise Conflict
            del self.documents[namespace, name]
            self._bump(document)
            self._record(WatchEventType.DELETED, document)

    def watch(
        self, resource_version: str, namespace: str | None = None, *, timeout_seconds: float = 300.0
    ) -> Iterator[WatchEvent]:
        self._enter("watch")
        seen = 0
        while True:
            with self._changed:
                while len(self.journal) <= seen and not self.closed:
                    self._changed.wait(1)
                if self.closed:
                    return
                event = self.journal[seen]
            seen += 1
            if int(event.resource_version) > int(resource_version):
                yield event

    def check(self) -> None:
        self._enter("check")

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


class MemoryBody:
    """An ObjectBody; breaks off after `breaks_after` bytes when that is set."""

    def __init__(self, facts: ObjectFacts, data: bytes, breaks_after: int | None) -> None:
        self.facts = facts
        self._data = io.BytesIO(data)
        self._breaks_after = breaks_after
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        from thumbnails_contract.errors import ObjectStoreUnavailable

        if self._breaks_after is not None:
            if self._data.tell() >= self._breaks_after:
                raise ObjectStoreUnavailable
            left = self._breaks_after - self._data.tell()
            size = left if size < 0 else min(size, left)
        return self._data.read(size)

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryObjectStore:
    """An ObjectStore; `failures` as in MemoryJobStore."""

    objects: dict[str, tuple[ObjectFacts, bytes]] = field(default_factory=dict)
    failures: dict[str, list[ThumbnailsError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    bodies: list[MemoryBody] = field(default_factory=list)
    breaks_after: int | None = None

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if self.failures.get(method):
            raise self.failures[method].pop(0)

    def ensure_bucket(self) -> None:
        self._enter("ensure_bucket")

    def put(
        self,
        key: str,
        data: BinaryIO,
        length: int,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if_absent: bool = False,
    ) -> str:
        self._enter("put")
        if only_if_absent and key in self.objects:
            raise ObjectExists
        content = data.read(length)
        assert len(content) == length
        etag = hashlib.md5(content).hexdigest()
        facts = ObjectFacts(key, etag, length, NOW, content_type, metadata or {})
        self.objects[key] = (facts, content)
        return etag

    def head(self, key: str) -> ObjectFacts:
        self._enter("head")
        if key not in self.objects:
            raise NoSuchObject
        return self.objects[key][0]

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> MemoryBody:
        self._enter("get")
        if key not in self.objects:
            raise NoSuchObject
        facts, content = self.objects[key]
        end = None if length is None else offset + length
        body = MemoryBody(facts, content[offset:end], self.breaks_after)
        self.bodies.append(body)
        return body

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectFacts]:
        self._enter("list")
        found = (facts for key, (facts, _) in sorted(self.objects.items()) if key.startswith(prefix))
        return itertools.islice((facts for facts in found if facts.key > (after or "")), limit)

    def folders(self, prefix: str) -> Iterator[str]:
        found = (key[len(prefix) :].partition("/") for key in self.objects if key.startswith(prefix))
        return iter(sorted({f"{prefix}{name}/" for name, slash, _ in found if slash}))

    def delete(self, keys: Iterable[str]) -> None:
        self._enter("delete")
        for key in keys:
            self.objects.pop(key, None)

    def presign_get(self, key: str, *, expires_seconds: int) -> str:
        raise NotImplementedError

    def presign_download(self, key: str, *, expires_seconds: int, **headers: str) -> str:
        self._enter("presign_download")
        query = urlencode({"expires": expires_seconds, **headers})
        return f"https://pictures.example.com/{key}?{query}"

    def presign_upload(
        self, key: str, *, content_type_prefix: str, max_bytes: int, expires_seconds: int
    ) -> Upload:
        raise NotImplementedError

    def check(self) -> None:
        self._enter("check")


@dataclass
class Service:
    """The app with its fakes, and what a client and an operator do with it."""

    store: MemoryJobStore
    objects: MemoryObjectStore
    jobs: JobCache
    client: testing.TestClient
    slept: list[float]

    def request(self, method: str, path: str, **options: Any) -> testing.Result:
        options.setdefault("headers", {})
        options["headers"] = {"Host": "localhost:3000"} | dict(options["headers"])
        return self.client.simulate_request(method, path, **options)

    def get(self, path: str, **options: Any) -> testing.Result:
        return self.request("GET", path, **options)

    def post_form(
        self, parts: list[tuple[str, str | None, bytes]], path: str = "/images", **options: Any
    ) -> testing.Result:
        """POST parts of (name, file name, content)."""
        body, content_type = form(parts)
        headers = options.pop("headers", {}) | {"Content-Type": content_type}
        return self.request("POST", path, body=body, headers=headers, **options)

    def upload(
        self, picture: bytes, path: str = "/images", name: str = "a.jpg", **fields: str
    ) -> testing.Result:
        """POST one picture with form fields."""
        parts = [(key, None, value.encode()) for key, value in fields.items()]
        return self.post_form([("image", name, picture), *parts], path)

    def finish(
        self, job_id: str, *, thumbnail: bytes = b"thumbnail", namespace: str = "thumbnails", **changes: Any
    ) -> OutputFacts:
        """Do what the operator and a worker do: one thumbnail, and the status that says so."""
        document = self.store.get(namespace, job_id)
        key = f"thumbnails/{namespace}/default/identity/{job_id}"
        content_type = changes.pop("content_type", "image/jpeg")
        etag = self.objects.put(key, io.BytesIO(thumbnail), len(thumbnail), content_type=content_type)
        output = replace(
            OutputFacts("default", "auto", key, 100, 100, len(thumbnail), content_type, etag), **changes
        )
        self.set_status(document, complete_status([output]))
        return output

    def fail(self, job_id: str, reason: str, message: str) -> None:
        condition = Condition(ConditionType.FAILED, True, reason, message, NOW)
        self.set_status(
            self.store.get("thumbnails", job_id),
            Status(conditions=(condition,), error=ErrorFacts(reason, message), completion_time=NOW),
        )

    def archive(self, job_id: str, *, namespace: str = "thumbnails") -> ThumbnailJob:
        """Do what the operator does when a job's time has come; the cache learns of it."""
        job = ThumbnailJob.parse(self.store.get(namespace, job_id))
        History(self.objects).put(job, with_original=True)
        self.store.delete(namespace, job_id, uid=job.uid)
        self.jobs.remove(job)
        self.objects.calls.clear()
        return job

    def set_status(self, document: Document, status: Status) -> ThumbnailJob:
        metadata = document["metadata"]
        changed = self.store.patch_status(
            metadata["namespace"],
            metadata["name"],
            status.to_manifest(),
            resource_version=metadata["resourceVersion"],
        )
        job = self.jobs.put(changed)
        assert job is not None
        return job


def complete_status(outputs: list[OutputFacts]) -> Status:
    return Status(
        conditions=(Condition(ConditionType.COMPLETE, True, "Rendered", "", NOW),),
        source=SourceFacts("jpeg", 1200, 800, 1, 12345, "0" * 64),
        outputs=tuple(outputs),
        start_time=NOW,
        completion_time=NOW + timedelta(seconds=1),
    )


def form(parts: list[tuple[str, str | None, bytes]]) -> tuple[bytes, str]:
    boundary = "----boundary-of-the-test"
    lines = b""
    for name, file_name, content in parts:
        disposition = f'form-data; name="{name}"'
        if file_name is not None:
            disposition += f'; filename="{file_name}"'
        lines += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return lines + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def encode(format_: str, size: tuple[int, int] = (60, 40), mode: str = "RGB", **options: Any) -> bytes:
    """A picture made by Pillow."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, format_, **options)
    return file.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Makes pictures of a format, a size, a mode and Pillow's options."""
    return encode


@pytest.fixture
def jpeg() -> bytes:
    return encode("JPEG")


class ByHeader:
    """An Authenticator for tests: the Authorization header is the account."""

    requires_login = True

    def authenticate(self, authorization: Any) -> Any:
        return Access(Caller("thumbnails", authorization or "default"))

    glance = authenticate

    def check(self) -> None:
        pass


@pytest.fixture
def by_header() -> ByHeader:
    return ByHeader()


@pytest.fixture
def make_store() -> type[MemoryJobStore]:
    return MemoryJobStore


@pytest.fixture
def make_service(request: pytest.FixtureRequest) -> Callable[..., Service]:
    """Builds a Service with the settings that it is given, and the watch running when `watching`."""

    def make(
        *,
        watching: bool = False,
        authenticator: Any = None,
        signer: LinkSigner = NO_LINKS,
        clock: Callable[[], datetime] = lambda: NOW,
        **settings: Any,
    ) -> Service:
        store, objects = MemoryJobStore(), MemoryObjectStore()
        jobs = JobCache(store)
        slept: list[float] = []
        ids = itertools.count(1)
        app = create_app(
            store,
            objects,
            jobs,
            ApiSettings(**settings),
            authenticator=authenticator,
            signer=signer,
            clock=clock,
            new_id=lambda: f"00000000-0000-7000-8000-{next(ids):012x}",
            sleep=slept.append,
        )
        request.addfinalizer(jobs.stop)
        request.addfinalizer(store.close)
        jobs.start()
        assert jobs.wait_synced(60)
        if not watching:
            store.close()
            jobs.stop(60)
        return Service(store, objects, jobs, testing.TestClient(app), slept)

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """The app with default settings; its cache sees only what was put in (no watch races)."""
    return make_service()


@pytest.fixture
def problem() -> Callable[[testing.Result, int, str], dict[str, Any]]:
    """Checks an answer to be a problem document, and gives it back."""

    def check(result: testing.Result, status: int, reason: str) -> dict[str, Any]:
        assert result.status_code == status, result.text
        assert result.headers["content-type"] == "application/problem+json"
        assert result.headers["cache-control"] == "no-store"
        document: dict[str, Any] = json.loads(result.text)
        assert document["status"] == status
        assert document["reason"] == reason
        assert document["type"].startswith("urn:thumbnails:problem:")
        assert document["title"]
        assert document["detail"]
        return document

    return check
