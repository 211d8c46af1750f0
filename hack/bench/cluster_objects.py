"""ThumbnailJobs and bare Jobs as a client of the API server makes them, and how long they take to end."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from kubernetes import client, config
from kubernetes.watch.watch import iter_resp_lines

CONNECTIONS: Final = 8
PATIENCE_SECONDS: Final = 900
_RUN_LABEL: Final = "thumbnails.dev/benchmark"

Document = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What is created, and when it has ended."""

    group: str
    version: str
    plural: str
    has_ended: Callable[[Document], bool]

    @property
    def path(self) -> tuple[str, str]:
        """As the generic client wants it."""
        return self.group, self.version


def condition(document: Document, type_: str) -> Document | None:
    """The condition of this type, when it is true."""
    conditions = document.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == type_ and each["status"] == "True"), None)


THUMBNAIL_JOB: Final = Kind(
    "thumbnails.dev",
    "v1alpha1",
    "thumbnailjobs",
    lambda job: job.get("status", {}).get("phase", "Pending") not in {"Pending", "Running"},
)
JOB: Final = Kind(
    "batch",
    "v1",
    "jobs",
    lambda job: bool(condition(job, "Complete") or condition(job, "Failed")),
)


@dataclass(frozen=True)
class Ended:
    """Some objects that have ended: the seconds from the first request to the last end, and what they are."""

    seconds: float
    documents: list[Document]


class Cluster:
    """A client of the API server that keeps its connections."""

    def __init__(self, kubeconfig: str) -> None:
        api: Any = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
        api.configuration.connection_pool_maxsize = CONNECTIONS + 4
        self._objects: Any = client.CustomObjectsApi(client.ApiClient(api.configuration))
        self._threads = ThreadPoolExecutor(CONNECTIONS)

    def until_ended(
        self, kind: Kind, namespace: str, specs: Sequence[Document], *, by_hand: Document | None = None
    ) -> Ended:
        """Create objects, over several connections when there are several, and wait for their end.

        `by_hand` is a status that ends each of them: it is patched in here, since nobody else does.
        """
        run = uuid.uuid4().hex[:12]
        manifests = [_manifest(kind, run, index, spec) for index, spec in enumerate(specs)]
        watch = _Watch(self._open_watch(kind, namespace, run), kind, {_name(each) for each in manifests})

        def make(manifest: Document) -> None:
            self._objects.create_namespaced_custom_object(*kind.path, namespace, kind.plural, manifest)
            if by_hand is not None:
                self._objects.patch_namespaced_custom_object_status(
                    *kind.path, namespace, kind.plural, _name(manifest), {"status": by_hand}
                )

        started = time.perf_counter()
        list(self._threads.map(make, manifests))
        ended, documents = watch.wait()
        return Ended(ended - started, documents)

    def delete(self, kind: Kind, namespace: str, documents: Sequence[Document]) -> None:
        """Delete them, and what belongs to them in the background."""

        def delete(document: Document) -> None:
            self._objects.delete_namespaced_custom_object(
                *kind.path, namespace, kind.plural, _name(document), propagation_policy="Background"
            )

        list(self._threads.map(delete, documents))

    def _open_watch(self, kind: Kind, namespace: str, run: str) -> Any:
        """The answer to a watch for the objects of this run; it is open when this returns."""
        arguments = (*kind.path, namespace, kind.plural)
        selector = f"{_RUN_LABEL}={run}"
        listed = self._objects.list_namespaced_custom_object(*arguments, label_selector=selector)
        return self._objects.list_namespaced_custom_object(
            *arguments,
            label_selector=selector,
            watch=True,
            resource_version=listed["metadata"]["resourceVersion"],
            timeout_seconds=PATIENCE_SECONDS,
            _preload_content=False,
        )


def thumbnail_job(object_key: str, *, suspend: bool = False) -> Document:
    """The spec of a ThumbnailJob with the default output."""
    return {"source": {"objectKey": object_key}, "suspend": suspend}


def bare_job(image: str) -> Document:
    """The spec of a Job that does nothing."""
    container = {"name": "nothing", "image": image, "command": ["true"]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    return {"backoffLimit": 0, "template": {"spec": pod}}


@dataclass
class _Watch:
    """Reads the events of a watch in a thread, until all of some objects have ended."""

    answer: Any
    kind: Kind
    names: set[str]
    _ended: dict[str, Document] = field(default_factory=dict)
    _when: float | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self) -> tuple[float, list[Document]]:
        """When the last one ended, and all of them."""
        self._thread.join(PATIENCE_SECONDS)
        self.answer.close()
        if self._when is None:
            left = sorted(self.names - self._ended.keys())
            raise SystemExit(f"void: {len(left)} of {len(self.names)} have not ended, {left[0]} among them")
        return self._when, list(self._ended.values())

    def _read(self) -> None:
        for event in self._events():
            document = event["object"]
            if event["type"] == "ERROR":
                print(f"the watch failed: {document.get('message')}", flush=True)
                return
            if self.kind.has_ended(document):
                self._ended.setdefault(_name(document), document)
            if len(self._ended) == len(self.names):
                self._when = time.perf_counter()
                return

    def _events(self) -> Iterator[Document]:
        return map(json.loads, filter(None, iter_resp_lines(self.answer)))  # type: ignore[no-untyped-call]


def _manifest(kind: Kind, run: str, index: int, spec: Document) -> Document:
    names = {"thumbnailjobs": "ThumbnailJob", "jobs": "Job"}
    return {
        "apiVersion": "/".join(kind.path),
        "kind": names[kind.plural],
        "metadata": {"name": f"bench-{run}-{index}", "labels": {_RUN_LABEL: run}},
        "spec": spec,
    }


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])
