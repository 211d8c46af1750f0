"""The whole service for tests of the REST API, on each job store; every test of this folder runs on each.

Behind the API are the operator with workers that render, and an S3 server; only the store of jobs and keys
differs (and the S3 server, where there are others: `tests/s3_servers.py`). There are two replicas, and
requests go to one after the other, as a load balancer would send them: what holds for a client holds across
replicas. Every answer is held against the `/openapi.json` of who gave it.

One service serves all tests, each with an account of its own (`account`). To add a job store: a function that
gives `Shelf`s, in `SHELVES`.
"""

import asyncio
import contextlib
import io
import itertools
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from kubernetes.client import CoreV1Api
from PIL import Image
from tests.openapi_checker import Checker
from tests.s3_servers import SERVERS, make_server
from tests.webhook_receiver import WebhookReceiver

from thumbnails_api.accounts import KeyAuthenticator
from thumbnails_api.job_cache import JobCache
from thumbnails_api.keys import ApiKey, digest_of, issue, new_key, revoke
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_api.keys_secret import SecretKeyStore
from thumbnails_api.keys_store import KeyStore
from thumbnails_api.keys_watch import KeyWatch
from thumbnails_api.links import LinkSigner
from thumbnails_api.presets import parse_presets
from thumbnails_api.service import create_service
from thumbnails_api.settings import ApiSettings
from thumbnails_common.jobstore import JobStore, ObjectMissing
from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.job import JobKey
from thumbnails_local.operator_service import OperatorService
from thumbnails_local.secrets import LocalSigningSecrets
from thumbnails_local.sqlite_store import SqliteJobStore
from thumbnails_operator.settings import OperatorSettings

# A test ends as soon as it has seen what it waits for; so long waits only what is broken.
PATIENCE_SECONDS = 90.0
FINISHED = {"complete", "failed", "cancelled"}
PRESETS = parse_presets(
    '{"card": [{"name": "small", "width": 48}, {"name": "large", "width": 96, "format": ["webp", "jpeg"]}]}'
)
LINK_SECRET = secrets.token_urlsafe(48)


@dataclass(frozen=True)
class Shelf:
    """Where jobs and keys are kept: a namespace, and what makes one more client of it."""

    namespace: str
    connect: Callable[[], JobStore]
    keys: KeyStore


@contextmanager
def sqlite_shelf(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Shelf]:
    yield Shelf(
        "thumbnails",
        lambda: SqliteJobStore(folder / "jobs.db", durable=False),
        DirectoryKeyStore(folder / "api-keys"),
    )


@contextmanager
def kubernetes_shelf(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Shelf]:
    cluster = request.getfixturevalue("cluster")
    env = {"KUBECONFIG": cluster.kubeconfig}
    namespace = cluster.make_namespace()
    with load_client(8, component="tests", env=env) as client:
        yield Shelf(
            namespace,
            lambda: KubernetesJobStore(load_client(40, component="tests", env=env), namespaces=(namespace,)),
            SecretKeyStore(CoreV1Api(client), namespace, "api-keys"),
        )
    cluster.remove_namespace(namespace)


SHELVES: Mapping[str, Any] = {"sqlite": sqlite_shelf, "kubernetes": kubernetes_shelf}


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Replica:
    """One API, on a port of its own."""

    url: str
    jobs: JobCache
    checker: Checker


@dataclass
class Service:
    """What all tests of a job store share."""

    shelf: Shelf
    store: JobStore
    objects: S3ObjectStore
    webhook_secret: str
    start_replica: Callable[..., Replica]
    replicas: list[Replica] = field(default_factory=list)

    def new_account(self, name: str | None = None, *, replicas: Sequence[Replica] = ()) -> "Account":
        """A client with a key of an account that has nothing yet, unless it is named."""
        name = name or f"a-{secrets.token_hex(6)}"
        key_id, key = new_key(secrets.choice)
        entry = ApiKey(key_id, name, digest_of(key), created_at=datetime.now(UTC))
        self.shelf.keys.update(
            lambda keys: issue(entry, keys.values(), service_namespace=self.shelf.namespace)
        )
        account = Account(self, name, key_id, key, tuple(replicas or self.replicas))
        for replica in account.replicas:  # a new key is known within moments
            eventually(partial(account.is_known, replica), "the key is known")
        return account

    def revoke(self, key_id: str) -> None:
        """As `thumbnails-api keys revoke` does."""
        self.shelf.keys.update(lambda keys: revoke(key_id, keys, datetime.now(UTC)))

    def document(self, job_id: str) -> dict[str, Any]:
        """The ThumbnailJob as it is stored."""
        return self.store.get(self.shelf.namespace, job_id)


@dataclass
class Account:
    """A client of the service, with requests to all its replicas in turn."""

    service: Service
    name: str
    key_id: str
    key: str = field(repr=False)
    replicas: tuple[Replica, ...] = ()

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.replicas)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request, to the replica whose turn it is."""
        return self.at(next(self._turns), method, path, **options)

    def at(self, replica: Replica, method: str, path: str, **options: Any) -> requests.Response:
        """One request to this replica, on a connection of its own; the answer is as it is described."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                replica.url + path,
                headers=headers,
                timeout=PATIENCE_SECONDS,
                allow_redirects=False,
                **options,
            )
        replica.checker.any_answer(answer, method, path)
        return answer

    def is_known(self, replica: Replica) -> bool:
        """Whether this replica has heard of the key."""
        return self.at(replica, "GET", "/presets").status_code == 200

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.request("GET", path, headers=headers)

    def upload(self, picture: bytes, query: str = "", **headers: str) -> requests.Response:
        """POST /images with a raw body."""
        return self.request("POST", f"/images?{query}", data=picture, headers=headers)

    def upload_batch(self, pictures: Sequence[bytes], query: str = "", **headers: str) -> requests.Response:
        """POST /images with a form of several parts."""
        files = [("image", (f"{number}.png", each, "image/png")) for number, each in enumerate(pictures)]
        return self.request("POST", f"/images?{query}", files=files, headers=headers)

    def rendered(self, picture: bytes, query: str = "", **headers: str) -> dict[str, Any]:
        """A job that is complete."""
        answer = self.upload(picture, query, **headers)
        assert answer.status_code == 201, answer.text
        return self.finished(answer.json()["id"])

    def finished(self, job_id: str, status: str = "complete") -> dict[str, Any]:
        """The job once it has ended, in this way, for every replica."""
        for replica in self.replicas:
            job: dict[str, Any] = eventually(partial(self._ended, replica, job_id), f"job {job_id} ends")
            assert job["status"] == status, job
        return job

    def _ended(self, replica: Replica, job_id: str) -> dict[str, Any] | None:
        job: dict[str, Any] = self.at(replica, "GET", f"/jobs/{job_id}").json()
        return job if job["status"] in FINISHED else None

    def is_without(self, job_id: str) -> None:
        """Wait until no replica has the job."""
        for replica in self.replicas:
            eventually(partial(self._misses, replica, job_id), f"job {job_id} is gone")

    def _misses(self, replica: Replica, job_id: str) -> bool:
        return self.at(replica, "GET", f"/jobs/{job_id}").status_code == 404

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        """GET /jobs; no job is an empty list."""
        answer = self.get(f"/jobs?{query}")
        assert answer.status_code == 200 or answer.json()["reason"] == "NoJobs", answer.text
        return list(answer.json()) if answer.status_code == 200 else []

    def has_left_the_store(self, job_id: str) -> None:
        """Wait until the job is history for every replica."""
        key = JobKey(self.service.shelf.namespace, job_id)

        def gone() -> bool:
            try:
                self.service.document(job_id)
            except ObjectMissing:
                return not any(replica.jobs.knows(key) for replica in self.replicas)
            return False

        eventually(gone, f"job {job_id} leaves the job store")


class Pictures:
    """Makes pictures, no two alike, so that no job is answered from the cache."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng()

    def __call__(self, width: int = 120, height: int = 80, format_: str = "PNG") -> bytes:
        pixels = self._generator.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(file, format_)
        return file.getvalue()


@pytest.fixture(scope="session")
def picture() -> Pictures:
    """A function that makes a picture: `picture(width, height, format)`."""
    return Pictures()


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


@contextmanager
def running_operator(service: OperatorService) -> Iterator[None]:
    """The operator on an event loop in a thread of its own."""
    ready = threading.Event()
    handles: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    troubles: list[BaseException] = []

    async def run() -> None:
        stop_asked = asyncio.Event()
        handles.append((asyncio.get_running_loop(), stop_asked))
        await service.run(stop_asked, on_ready=ready.set)

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - told below, to whoever started it
            troubles.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=main, name="operator", daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_SECONDS)
    if not troubles:
        try:
            yield
        finally:
            loop, stop_asked = handles[0]
            loop.call_soon_threadsafe(stop_asked.set)
            thread.join(PATIENCE_SECONDS)
    assert troubles == []


@contextmanager
def running_replica(shelf: Shelf, s3: S3Settings, settings: ApiSettings) -> Iterator[Replica]:
    """One API as its process puts it together: clients of its own for jobs, objects and keys."""
    with contextlib.ExitStack() as closing:
        store = shelf.connect()
        closing.callback(store.close)  # which ends the watch
        objects = S3ObjectStore(s3)
        closing.callback(objects.close)
        jobs = JobCache(store)
        keys = KeyWatch(shelf.keys, service_namespace=shelf.namespace, refresh_seconds=0.5)
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        server = create_service(
            store,
            objects,
            jobs,
            settings,
            [listener],
            authenticator=KeyAuthenticator(keys),
            signer=LinkSigner.from_text(LINK_SECRET),
        ).server
        keys.start()
        closing.callback(keys.stop)
        jobs.start()
        closing.callback(jobs.stop)
        assert jobs.wait_synced(PATIENCE_SECONDS)
        thread = threading.Thread(target=server.run, name="api", daemon=True)
        thread.start()
        closing.callback(thread.join, PATIENCE_SECONDS)
        closing.callback(server.stop)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with requests.Session() as session:
            session.trust_env = False
            described = session.get(f"{url}/openapi.json", timeout=PATIENCE_SECONDS).json()
        yield Replica(url, jobs, Checker(described))


# Each job store, and each S3 server. One process runs all tests of a pair, so that they share the service.
PLACES = [
    *((shelf, SERVERS[0]) for shelf in SHELVES),
    *(("sqlite", server) for server in SERVERS[1:]),
]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(place, marks=pytest.mark.xdist_group(f"rest-{'-'.join(place)}"), id="-".join(place))
        for place in PLACES
    ],
)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service: see the module's text."""
    folder = tmp_path_factory.mktemp("rest")
    shelf_name, server_name = request.param
    with contextlib.ExitStack() as stack:
        shelf = stack.enter_context(SHELVES[shelf_name](request, folder))
        server = make_server(server_name, folder)
        s3 = server.start()
        stack.callback(server.stop)
        objects = S3ObjectStore(s3)
        stack.callback(objects.close)
        objects.ensure_bucket()
        store = shelf.connect()
        stack.callback(store.close)
        signing = folder / "webhook-secret"
        workers = folder / "workers"
        workers.mkdir()
        settings = OperatorSettings(
            max_workers=2,
            webhook_allow=(ip_network("127.0.0.0/8"),),
            erasure_poll_seconds=0.5,
            erasure_seconds=2.0,
            tombstone_seconds=0.5,
            home_namespace=shelf.namespace,
        )
        operator_store = shelf.connect()
        operator = OperatorService(
            operator_store,
            objects,
            LocalSigningSecrets.load({}, signing),
            settings,
            workers=workers,
            generation=1,
        )
        stack.callback(operator_store.close)
        stack.enter_context(running_operator(operator))

        def start_replica(**changes: Any) -> Replica:
            usual: dict[str, Any] = {"presets": PRESETS, "max_wait_seconds": 60, "shutdown_grace_seconds": 1}
            return stack.enter_context(running_replica(shelf, s3, ApiSettings(**usual | changes)))

        service = Service(shelf, store, objects, signing.read_text().strip(), start_replica)
        service.replicas += [start_replica(), start_replica()]
        yield service


@pytest.fixture
def account(service: Service) -> Account:
    """A client with an account of this test's own."""
    return service.new_account()


@pytest.fixture
def webhook_receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()
