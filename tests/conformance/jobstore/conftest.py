"""The adapters of the JobStore port; every test of this folder runs against each of them.

To add one: write a class with the attributes of `Backend`, and put a function that makes it into
`BACKENDS`. A backend is fresh for every test, or gives every test namespaces of its own.
"""

import itertools
import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from thumbnails_common.jobstore import Expired, JobStore
from thumbnails_common.kubernetes_client import load_client
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_contract.job import JobKey, new_manifest
from thumbnails_contract.spec import Spec
from thumbnails_local.sqlite_store import SqliteJobStore


class Backend(Protocol):
    """One adapter with a store behind it."""

    namespace: str
    other_namespace: str
    # How long a watch of a quiet store lives at least before a bookmark has come.
    bookmark_timeout_seconds: float

    def connect(self) -> JobStore:
        """Another client of the same store."""

    def connect_code(self) -> str:
        """Python source that makes `store`, another client, in another process."""

    def expire_version(self, resource_version: str) -> str:
        """A resourceVersion too old to watch from: this one, made so, or another."""

    def expire_token(self, continue_token: str) -> str:
        """A continue token too old to go on from: this one, made so, or another."""


class SqliteBackend:
    namespace = "thumbnails"
    other_namespace = "others"
    bookmark_timeout_seconds = 0.5

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.db"
        self._stores: list[SqliteJobStore] = []

    def connect(self, *, kept_revisions: int = 20_000) -> SqliteJobStore:
        store = SqliteJobStore(self._path, durable=False, kept_revisions=kept_revisions)
        self._stores.append(store)
        return store

    def connect_code(self) -> str:
        return (
            "from pathlib import Path\n"
            "from thumbnails_local.sqlite_store import SqliteJobStore\n"
            f"store = SqliteJobStore(Path({str(self._path)!r}), durable=False)\n"
        )

    def expire_version(self, resource_version: str) -> str:
        self._forget_history()
        return resource_version

    def expire_token(self, continue_token: str) -> str:
        self._forget_history()
        return continue_token

    def _forget_history(self) -> None:
        forgetful = self.connect(kept_revisions=1)
        key = JobKey("unrelated", "unrelated")
        for _ in range(2):
            forgetful.create(new_manifest(key, Spec(object_key="sources/unrelated/x")))
            forgetful.delete(key.namespace, key.name)

    def close(self) -> None:
        for store in self._stores:
            store.close()


class KubernetesBackend:
    """An API server, with namespaces of this test's own."""

    # A bookmark comes every minute, and may come shortly before a watch ends.
    bookmark_timeout_seconds = 100.0

    def __init__(self, kubeconfig: str, make_namespace: Callable[[], str]) -> None:
        self._kubeconfig = kubeconfig
        self.namespace = make_namespace()
        self.other_namespace = make_namespace()
        self._stores: list[KubernetesJobStore] = []

    def connect(self, namespaces: tuple[str, ...] | None = None) -> KubernetesJobStore:
        client = load_client(8, component="tests", env={"KUBECONFIG": self._kubeconfig})
        store = KubernetesJobStore(client, namespaces=namespaces)
        self._stores.append(store)
        return store

    def connect_code(self) -> str:
        return (
            "from thumbnails_common.kubernetes_client import load_client\n"
            "from thumbnails_common.kubernetes_jobstore import KubernetesJobStore\n"
            f"client = load_client(8, env={{'KUBECONFIG': {self._kubeconfig!r}}})\n"
            "store = KubernetesJobStore(client)\n"
        )

    def expire_version(self, resource_version: str) -> str:
        return "1"  # from before there was a CRD

    def expire_token(self, continue_token: str) -> str:
        token = json.loads(urlsafe_b64decode(continue_token + "=" * (-len(continue_token) % 4)))
        expired = urlsafe_b64encode(json.dumps({**token, "rv": 1}).encode()).decode().rstrip("=")
        try:
            self.connect().list(self.namespace, limit=1, continue_token=expired)
        except Expired:
            return expired
        pytest.skip("this API server has all of its history still: it compacts after five minutes")

    def close(self) -> None:
        for store in self._stores:
            store.close()


@contextmanager
def sqlite_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = SqliteBackend(request.getfixturevalue("tmp_path"))
    try:
        yield backend
    finally:
        backend.close()


@contextmanager
def kubernetes_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    cluster = request.getfixturevalue("cluster")
    backend = KubernetesBackend(cluster.kubeconfig, request.getfixturevalue("make_namespace"))
    try:
        yield backend
    finally:
        backend.close()


BACKENDS: dict[str, Any] = {"sqlite": sqlite_backend, "kubernetes": kubernetes_backend}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with BACKENDS[request.param](request) as backend:
        yield backend


@pytest.fixture
def job_store(backend: Backend) -> Iterator[JobStore]:
    store = backend.connect()
    yield store
    store.close()


@pytest.fixture
def manifest(backend: Backend) -> Callable[..., dict[str, Any]]:
    """A minimal manifest, as somebody would write it by hand: `manifest("name", namespace=..., **spec)`."""
    numbers = itertools.count()

    def make(name: str | None = None, *, namespace: str | None = None, **spec: Any) -> dict[str, Any]:
        namespace = namespace or backend.namespace
        name = name or f"job-{next(numbers)}"
        return {
            "apiVersion": "thumbnails.dev/v1alpha1",
            "kind": "ThumbnailJob",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"source": {"objectKey": f"sources/{namespace}/{name}"}, **spec},
        }

    return make


@pytest.fixture
def python() -> str:
    return sys.executable
