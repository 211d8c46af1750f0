"""A whole operator in one event loop: real controller and real HTTP; stores, workers and clock are ours."""

import asyncio
import contextlib
import copy
import inspect
import io
import json
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import aiohttp
import pytest

from thumbnails_common.jobstore import Conflict, Document, JobPage, ObjectMissing, WatchEvent
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectFacts
from thumbnails_contract.errors import JobStoreUnavailable, ObjectStoreUnavailable, QuotaExceeded
from thumbnails_contract.job import JobKey, ThumbnailJob, new_manifest
from thumbnails_contract.keys import RENDERER_VERSION, source_key
from thumbnails_contract.names import WORKER_LABEL
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.spec import Spec
from thumbnails_contract.status import ErrorFacts, SourceFacts
from thumbnails_contract.timestamps import format_time
from thumbnails_contract.wire import Poll, RenderedOutput, Result, Upload, WorkAnswer, WorkRequest
from thumbnails_operator.controller import Controller
from thumbnails_operator.exchange import Exchange
from thumbnails_operator.ports import WorkerIdentity, WorkerPhase, WorkerState
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.webhook import DeliverNow, DeliveryResult

NAMESPACE = "thumbnails"
# Longer than any test waits: what comes with an answer came because the operator had something to say.
POLL_SECONDS = 30.0
PATIENCE_SECONDS = 25.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests here may be coroutines; each runs on an event loop of its own."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    asyncio.run(test(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}))
    return True


class MemoryJobStore:
    """The semantics of `jobstore.py`, as far as an operator sees them; tells `listener` of each change."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.version = 0
        self.listener: Callable[[str, Document], None] | None = None
        self.status_writes: list[tuple[str, dict[str, Any]]] = []
        self.unavailable = False
        self.deletions_fail = False
        self.conflicts_to_inject = 0
        self._lock = threading.RLock()

    def create(self, manifest: Mapping[str, Any]) -> Document:
        with self._lock:
            document = json.loads(json.dumps(manifest))
            metadata = document["metadata"]
            metadata["uid"] = str(uuid.uuid4())
            metadata["generation"] = 1
            metadata["creationTimestamp"] = format_time(datetime.now(UTC))
            document["status"] = {"phase": "Pending"}
            return self._store("ADDED", document)

    def get(self, namespace: str, name: str) -> Document:
        with self._lock:
            self._check()
            return copy.deepcopy(self._find(namespace, name))

    def list(
        self,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_token: str | None = None,
    ) -> JobPage:
        with self._lock:
            return JobPage(tuple(copy.deepcopy(list(self.documents.values()))), str(self.version))

    def patch_spec(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Document:
        with self._lock:
            document = copy.deepcopy(self._find(namespace, name))
            document["spec"] = merge_patch(document["spec"], patch)
            document["metadata"]["generation"] += 1
            return self._store("MODIFIED", document)

    def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str
    ) -> Document:
        with self._lock:
            self._check()
            document = self._find(namespace, name)
            if self.conflicts_to_inject > 0:
                # Somebody else has written meanwhile.
                self.conflicts_to_inject -= 1
                touched = copy.deepcopy(document)
                touched["metadata"].setdefault("annotations", {})["touched"] = str(self.version)
                self._store("MODIFIED", touched)
                raise Conflict
            if document["metadata"]["resourceVersion"] != resource_version:
                raise Conflict
            document = copy.deepcopy(document)
            document["status"] = merge_patch(document.get("status", {}), patch)
            self.status_writes.append((name, dict(patch)))
            return self._store("MODIFIED", document)

    def delete(
        self, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> None:
        with self._lock:
            self._check()
            document = self._find(namespace, name)
            if uid is not None and document["metadata"]["uid"] != uid:
                raise Conflict
            if resource_version not in {None, document["metadata"]["resourceVersion"]}:
                raise Conflict
            if self.deletions_fail:
                raise JobStoreUnavailable
            del self.documents[namespace, name]
            self.version += 1
            document = copy.deepcopy(document)
            document["metadata"]["resourceVersion"] = str(self.version)
            self._tell("DELETED", document)

    def watch(
        self, resource_version: str, namespace: str | None = None, *, timeout_seconds: float = 300.0
    ) -> Iterator[WatchEvent]:
        raise NotImplementedError

    def check(self) -> None:
        self._check()

    def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.unavailable:
            raise JobStoreUnavailable

    def _find(self, namespace: str, name: str) -> Document:
        try:
            return self.documents[namespace, name]
        except KeyError:
            raise ObjectMissing from None

    def _store(self, event: str, document: Document) -> Document:
        self.version += 1
        metadata = document["metadata"]
        metadata["resourceVersion"] = str(self.version)
        self.documents[metadata["namespace"], metadata["name"]] = document
        self._tell(event, document)
        return copy.deepcopy(document)

    def _tell(self, event: str, document: Document) -> None:
        if self.listener is not None:
            self.listener(event, copy.deepcopy(document))


class MemoryObjectStore:
    """What an operator's core asks of an object store: HEADs, signatures, and history."""

    def __init__(self) -> None:
        self.objects: dict[str, ObjectFacts] = {}
        self.contents: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.on_put: Callable[[str], None] = lambda _key: None
        self.heads: list[str] = []
        self.unavailable = False
        self.signing_fails = False

    def head(self, key: str) -> ObjectFacts:
        if self.unavailable:
            raise ObjectStoreUnavailable
        self.heads.append(key)
        try:
            return self.objects[key]
        except KeyError:
            raise NoSuchObject from None

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
        if self.unavailable:
            raise ObjectStoreUnavailable
        self.on_put(key)
        if only_if_absent and key in self.objects:
            raise ObjectExists
        self.puts.append(key)
        self.contents[key] = data.read(length)
        self.objects[key] = ObjectFacts(key, "etag", length, datetime.now(UTC), content_type, metadata or {})
        return "etag"

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Any:
        if key not in self.contents:
            raise NoSuchObject
        return io.BytesIO(self.contents[key])

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)
            self.contents.pop(key, None)

    def presign_get(self, key: str, *, expires_seconds: int) -> str:
        if self.signing_fails:
            raise ObjectStoreUnavailable
        return f"http://objects.invalid/{key}?signature=s"

    def presign_upload(
        self, key: str, *, content_type_prefix: str, max_bytes: int, expires_seconds: int
    ) -> Upload:
        return Upload("http://objects.invalid/", {"key": key, "policy": "p"})

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the operator's core has no business with {name}()")


class RecordingEvents:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def emit(self, key: JobKey, uid: str, *, warning: bool, reason: str, message: str) -> None:
        self.events.append((key.name, reason))


class FixedSecrets:
    async def get(self, namespace: str, account: str, secret_name: str | None) -> str:
        return "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="


class RecordingSender:
    """Receivers that answer `answers` in turn, then 200."""

    def __init__(self) -> None:
        self.deliveries: list[DeliverNow] = []
        self.answers: list[DeliveryResult] = []

    async def send(self, delivery: DeliverNow, secret: str, now: datetime) -> DeliveryResult:
        self.deliveries.append(delivery)
        return self.answers.pop(0) if self.answers else DeliveryResult(200)


Behaviour = Callable[["FakeWorker", Any], Any]


@dataclass
class FakeWorker:
    """A worker that speaks the real exchange. `behaviour(worker, item)` gives an item's result."""

    world: "World"
    namespace: str
    name: str
    capacity: int = 2
    renderer_version: int = RENDERER_VERSION
    holding: dict[str, Any] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    polls: int = 0
    most_held: int = 0
    task: asyncio.Task[None] | None = None
    stop: bool = False
    may_poll: asyncio.Event = field(default_factory=asyncio.Event)
    results: list[Result] = field(default_factory=list)  # not acknowledged
    sent: list[Result] = field(default_factory=list)  # with the poll that waits
    rendering: dict[str, asyncio.Task[Result | None]] = field(default_factory=dict)
    answering: asyncio.Task[WorkAnswer] | None = None

    @property
    def token(self) -> str:
        return f"token-{self.namespace}-{self.name}"

    async def run(self) -> None:
        """Poll, make, report, until told to stop."""
        try:
            async with aiohttp.ClientSession() as session:
                await self._work(session)
        finally:
            tasks = [*self.rendering.values(), *([self.answering] if self.answering else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while not (self.stop and not self.holding and not self.results):
            if self.answering is None:
                await self.may_poll.wait()
                self._poll(session)
            assert self.answering is not None
            waited = {self.answering, *self.rendering.values()}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._collect(done)
            if self.answering in done:
                await self._take_answer(self.answering)
                self.answering = None
            elif self.results:
                await self._deliver(session)

    def _poll(self, session: aiohttp.ClientSession) -> None:
        self.sent, self.results = self.results, []
        free = 0 if self.stop else max(0, self.capacity - len(self.holding))
        poll = Poll(free, tuple(self.holding), POLL_SECONDS)
        request = WorkRequest(self.renderer_version, tuple(self.sent), poll, draining=self.stop)
        self.answering = asyncio.create_task(self._post(session, request))
        self.polls += 1

    def _collect(self, done: Any) -> None:
        for lease, task in list(self.rendering.items()):
            if task in done:
                del self.rendering[lease]
                result = task.result()
                if result is not None and lease in self.holding:
                    self.results.append(result)

    async def _take_answer(self, answering: Any) -> None:
        try:
            answer = answering.result()
        except (OSError, aiohttp.ClientError):
            self.results = [*self.sent, *self.results]
            await asyncio.sleep(0.02)
            return
        self._acknowledged(self.sent)
        for lease in answer.drop:
            self.dropped.append(lease)
            self.holding.pop(lease, None)
            if lease in self.rendering:
                self.rendering.pop(lease).cancel()
        for item in answer.items:
            self.holding[item.lease] = item
            self.rendering[item.lease] = asyncio.create_task(self._render(item))
        self.most_held = max(self.most_held, len(self.holding))
        self.stop = self.stop or answer.stop

    async def _deliver(self, session: aiohttp.ClientSession) -> None:
        """A poll is waiting: results travel as a delivery."""
        delivered, self.results = self.results, []
        try:
            await self._post(session, WorkRequest(self.renderer_version, tuple(delivered)))
        except (OSError, aiohttp.ClientError):
            self.results = [*delivered, *self.results]
            await asyncio.sleep(0.02)
        else:
            self._acknowledged(delivered)

    def _acknowledged(self, results: list[Result]) -> None:
        for result in results:
            self.holding.pop(result.lease, None)

    async def _render(self, item: Any) -> Result | None:
        made = self.world.behaviour(self, item)
        result: Result | None = await made if asyncio.iscoroutine(made) else made
        return result

    async def _post(self, session: aiohttp.ClientSession, request: WorkRequest) -> WorkAnswer:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with session.post(
            f"{self.world.exchange_url}/work", json=request.to_wire(), headers=headers
        ) as response:
            if response.status != 200:
                raise aiohttp.ClientError(str(response.status))
            return WorkAnswer.parse(await response.json())


class FakeExecutor:
    """Runs workers as tasks, and tells of them as a watch would."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.workers: dict[tuple[str, str], FakeWorker] = {}
        self.states: dict[tuple[str, str], WorkerState] = {}
        self.manifests: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.create_error: Exception | None = None
        self.stuck: str | None = None
        self.dies_at_start = False
        self.capacity = 2
        self.renderer_version = RENDERER_VERSION
        self.most = 0

    def live(self) -> list[FakeWorker]:
        return [worker for worker in self.workers.values() if worker.task and not worker.task.done()]

    async def create(self, manifest: dict[str, Any]) -> None:
        self.manifests.append(manifest)
        if self.create_error is not None:
            raise self.create_error
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        assert manifest["metadata"]["labels"][WORKER_LABEL]
        if self.stuck is not None:
            text = "http://registry.invalid"
            self.tell(WorkerState(namespace, name, WorkerPhase.STARTING, self.stuck, text))
            return
        if self.dies_at_start:
            self.tell(WorkerState(namespace, name, WorkerPhase.FAILED, "Error"))
            return
        worker = FakeWorker(self.world, namespace, name, self.capacity, self.renderer_version)
        worker.may_poll.set()
        self.workers[namespace, name] = worker
        worker.task = asyncio.create_task(self._run(worker))
        self.most = max(self.most, len(self.live()))
        self.tell(WorkerState(namespace, name, WorkerPhase.RUNNING))

    async def delete(self, namespace: str, name: str) -> None:
        self.deleted.append(name)
        worker = self.workers.pop((namespace, name), None)
        self.states.pop((namespace, name), None)
        if worker is not None and worker.task is not None and not worker.task.done():
            worker.task.cancel()

    async def list(self) -> tuple[WorkerState, ...]:
        return tuple(self.states.values())

    def kill(self, worker: FakeWorker, reason: str = "Error") -> None:
        """The worker dies at once, with all it holds."""
        if worker.task is not None:
            worker.task.cancel()
        self.tell(WorkerState(worker.namespace, worker.name, WorkerPhase.FAILED, reason))

    def tell(self, state: WorkerState) -> None:
        self.states[state.namespace, state.name] = state
        if self.world.controller is not None:
            self.world.controller.worker_changed(state)

    async def _run(self, worker: FakeWorker) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await worker.run()
            self.tell(WorkerState(worker.namespace, worker.name, WorkerPhase.ENDED))

    async def identify(self, token: str) -> WorkerIdentity | None:
        for worker in self.workers.values():
            if worker.token == token:
                return WorkerIdentity(worker.namespace, worker.name, "uid")
        return None


class World:
    """The operator and everything around it; `restart` kills it at any moment and starts another."""

    def __init__(self, settings: OperatorSettings) -> None:
        self.settings = settings
        self.store = MemoryJobStore()
        self.objects = MemoryObjectStore()
        self.executor = FakeExecutor(self)
        self.events = RecordingEvents()
        self.sender = RecordingSender()
        self.controller: Controller | None = None
        self.behaviour: Behaviour = self.render
        self.exchange_url = ""
        self.generation = 0
        self.skew = timedelta(0)
        self.rendered: list[str] = []
        self.deleting: set[str] = set()
        self._run: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None

    # ---- the operator -----------------------------------------------------------------------

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.generation += 1
        controller = Controller(
            store=self.store,
            objects=self.objects,
            executor=self.executor,
            secrets=FixedSecrets(),
            events=self.events,
            sender=self.sender,
            settings=self.settings,
            generation=self.generation,
            deleting=lambda key: key in self.deleting,
            clock=lambda: datetime.now(UTC) + self.skew,
            random=random.Random(self.generation),
        )
        self.controller = controller

        def relay(event: str, document: Document) -> None:
            loop.call_soon_threadsafe(self._relay, controller, event, document)

        self.store.listener = relay
        self._exchange = Exchange(controller, self.executor)
        port = await self._exchange.start("127.0.0.1", 0)
        self.exchange_url = f"http://127.0.0.1:{port}"
        self._run = asyncio.create_task(controller.run())
        controller.workers_listed(await self.executor.list())
        controller.jobs_listed(self.store.list().items)

    async def stop(self) -> None:
        assert self.controller is not None
        assert self._run is not None
        assert self._exchange is not None
        await self.controller.stop()
        await self._run
        await self._exchange.stop()
        self.controller = None

    async def kill(self) -> None:
        """As SIGKILL: nothing more is written, all memory is gone."""
        assert self._run is not None
        assert self._exchange is not None
        self.store.listener = None
        self.controller = None
        self._run.cancel()
        await asyncio.gather(self._run, return_exceptions=True)
        await self._exchange.stop()

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    def _relay(self, controller: Controller, event: str, document: Document) -> None:
        if controller is self.controller:
            controller.job_changed(event, document)

    # ---- jobs -------------------------------------------------------------------------------

    def upload(self, name: str, content: str = "", **spec: Any) -> JobKey:
        """Create a job as the API would; equal `content` is the same picture."""
        namespace = spec.pop("namespace", NAMESPACE)
        account = spec.get("account", "default")
        digest = uuid.uuid5(uuid.NAMESPACE_OID, content or name).hex * 2
        key = spec.pop("object_key", None) or source_key(namespace, account, digest, name)
        self.store.create(new_manifest(JobKey(namespace, name), Spec(object_key=key, **spec)))
        return JobKey(namespace, name)

    def job(self, name: str, namespace: str = NAMESPACE) -> ThumbnailJob:
        return ThumbnailJob.parse(self.store.documents[namespace, name])

    def phases(self) -> dict[str, str]:
        return {
            name: document["status"].get("phase", "") for (_, name), document in self.store.documents.items()
        }

    def touch(self, name: str) -> None:
        """Change a job in a way that means nothing."""
        document = copy.deepcopy(self.store.documents[NAMESPACE, name])
        document["metadata"].setdefault("annotations", {})["touched"] = str(self.store.version)
        self.store._store("MODIFIED", document)

    def started_reason(self, name: str) -> str | None:
        condition = self.job(name).status.condition("Started")
        return condition.reason if condition else None

    async def until(self, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the condition holds; generous, for slow machines."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it never came to that; jobs: {self.phases()}")
            await asyncio.sleep(0.005)

    async def until_all_end(self, seconds: float = PATIENCE_SECONDS) -> None:
        await self.until(
            lambda: all(phase in {"Succeeded", "Failed", "Cancelled"} for phase in self.phases().values()),
            seconds,
        )

    # ---- what workers do --------------------------------------------------------------------

    def render(self, worker: FakeWorker, item: Any) -> Result:
        """An instant success: the thumbnails are in the store, with their metadata."""
        self.rendered.append(item.job_name)
        source = SourceFacts("jpeg", 640, 480, 1, 1234, "0" * 64)
        outputs = []
        for wanted in item.outputs:
            width, height = wanted.output.width or 1, wanted.output.height or 1
            self.objects.objects[wanted.object_key] = ObjectFacts(
                wanted.object_key,
                "etag",
                99,
                datetime.now(UTC),
                "image/jpeg",
                {
                    "thumbnails-width": str(width),
                    "thumbnails-height": str(height),
                    "thumbnails-frames": "1",
                    "thumbnails-thumbhash": "aGFzaA==",
                    "thumbnails-source": json.dumps(source.to_manifest()),
                },
            )
            outputs.append(
                RenderedOutput(wanted.object_key, width, height, 1, 99, "image/jpeg", "etag", "aGFzaA==")
            )
        return Result(item.lease, source, tuple(outputs), render_seconds=0.01)

    @staticmethod
    def failing(reason: str, *, retry: bool = False) -> Behaviour:
        def behave(worker: FakeWorker, item: Any) -> Result:
            return Result(item.lease, error=ErrorFacts(reason, "It did not work."), retry=retry)

        return behave

    @staticmethod
    async def never(_worker: FakeWorker, _item: Any) -> Result | None:
        await asyncio.Event().wait()
        return None


FAST = OperatorSettings(
    max_workers=2,
    linger_seconds=30.0,
    scale_up_seconds=0.05,
    adoption_grace_seconds=1.0,
    resync_seconds=1.0,
    trouble_notice_seconds=0.1,
    waiting_notice_seconds=30.0,
)


@pytest.fixture
def operator() -> Callable[..., Any]:
    """A factory of running operators, each with its world around it."""

    @asynccontextmanager
    async def run(*, started: bool = True, **settings: Any) -> AsyncIterator[World]:
        world = World(replace(FAST, **settings))
        if started:
            await world.start()
        try:
            yield world
        finally:
            for worker in world.executor.live():
                assert worker.task is not None
                worker.task.cancel()
            if world.controller is not None:
                await world.stop()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


@pytest.fixture
def quota_exceeded() -> Exception:
    return QuotaExceeded()
