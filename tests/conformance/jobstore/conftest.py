"""The adapters of the JobStore port; every test of this folder runs against each of them.

To add one: write a class with the attributes of `Backend`, and put a function that makes it into
`BACKENDS`. A backend is fresh for every test, or gives every test namespaces of its own.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from thumbnails_common.jobstore import JobStore
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

    def expire_history(self) -> None:
        """Make every resourceVersion up to now too old to watch from, and every continue token."""


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

    def expire_history(self) -> None:
        forgetful = self.connect(kept_revisions=1)
        key = JobKey("unrelated", "unrelated")
        for _ in range(2):
            forgetful.create(new_manifest(key, Spec(object_key="sources/unrelated/x")))
            forgetful.delete(key.namespace, key.name)

    def close(self) -> None:
        for store in self._stores:
            store.close()


@contextmanager
def sqlite_backend(tmp_path: Path) -> Iterator[Backend]:
    backend = SqliteBackend(tmp_path)
    try:
        yield backend
    finally:
        backend.close()


BACKENDS: dict[str, Any] = {"sqlite": sqlite_backend}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path) as backend:
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
