"""An API server in memory, with what the operator's adapters ask of one."""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from thumbnails_contract.errors import Unavailable
from thumbnails_operator.cluster_api import ApiError, ClusterApi

Document = dict[str, Any]
CREATED = "2026-01-02T03:04:05Z"


class FakeApi(ClusterApi):
    """Objects by path. `refuse[(method, path)]` is raised; `calls` are methods and paths, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, Document] = {}
        self.calls: list[tuple[str, str]] = []
        self.created: list[tuple[str, Document]] = []
        self.refuse: dict[tuple[str, str], Exception] = {}
        self.answers: dict[str, Callable[[Document], Document]] = {}
        self.away = False
        self._versions = itertools.count(1)

    def store(self, path: str, document: Document) -> Document:
        metadata = {"creationTimestamp": CREATED, "uid": f"uid-{path}", **document.get("metadata", {})}
        stored = {**document, "metadata": {**metadata, "resourceVersion": str(next(self._versions))}}
        self.objects[path] = stored
        return stored

    def _note(self, method: str, path: str) -> None:
        self.calls.append((method, path))
        if self.away:
            raise Unavailable
        if error := self.refuse.get((method, path)):
            raise error

    def get(self, path: str, *, read_seconds: float = 0) -> Document:
        self._note("GET", path)
        if path not in self.objects:
            raise ApiError(404, "NotFound", "not found")
        return self.objects[path]

    def create(self, path: str, body: Document, *, read_seconds: float = 0) -> Document:
        self._note("POST", path)
        if answer := self.answers.get(path):
            return answer(body)
        self.created.append((path, body))
        at = f"{path}/{body['metadata']['name']}"
        if at in self.objects:
            raise ApiError(409, "AlreadyExists", "already exists")
        return self.store(at, body)

    def replace(self, path: str, body: Document, *, read_seconds: float = 0) -> Document:
        self._note("PUT", path)
        known = self.objects.get(path)
        if known is None:
            raise ApiError(404, "NotFound", "not found")
        if known["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "modified")
        return self.store(path, body)

    def patch(self, path: str, body: Document) -> Document:
        self._note("PATCH", path)
        known = self.get(path)
        metadata = known["metadata"]
        labels = {**metadata.get("labels", {}), **body["metadata"]["labels"]}
        kept = {name: value for name, value in labels.items() if value is not None}
        return self.store(path, {**known, "metadata": {**metadata, "labels": kept}})

    def delete(self, path: str, *, propagation: str = "Background") -> None:
        self._note("DELETE", path)
        if path not in self.objects:
            raise ApiError(404, "NotFound", "not found")
        del self.objects[path]

    def list(self, path: str, *, labels: str = "", fields: str = "") -> Iterator[Document]:
        self._note("LIST", path)
        wanted = [word.partition("=") for word in labels.split(",") if word]
        for at, document in sorted(self.objects.items()):
            found = document["metadata"].get("labels", {})
            if at.startswith(f"{path}/") and all(
                name in found and (not separator or found[name] == unquote(value))
                for name, separator, value in wanted
            ):
                yield document


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def run_blocking() -> Callable[..., Awaitable[Any]]:
    """Calls at once."""

    async def call(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    return call


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Clock:
    return Clock()
