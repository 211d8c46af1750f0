"""ThumbnailJobs and bare Jobs as a client of the API server makes them, and when each has ended."""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, config, watch

GROUP = ("thumbnails.dev", "v1alpha1")
CONNECTIONS = 8
PATIENCE_SECONDS = 600
Document = dict[str, Any]


class Objects:
    """One namespace of the API server."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._namespace = namespace
        self._api: Any = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
        self._api.configuration.connection_pool_maxsize = CONNECTIONS + 4
        self._custom: Any = client.CustomObjectsApi(self._api)
        self._batch: Any = client.BatchV1Api(self._api)

    # ---- one at a time: seconds from its creation to its end ----

    def one_thumbnail_job(self, object_key: str) -> float:
        """A ThumbnailJob, to Complete."""
        name = f"one-{uuid.uuid4().hex[:12]}"
        with self._jobs_ended([name]) as ended:
            started = time.perf_counter()
            self.create(name, object_key)
            return ended(PATIENCE_SECONDS) - started

    def one_by_hand(self, object_key: str) -> float:
        """A create, a patch of the status and the watch event of it, of a job that nobody works on."""
        name = f"hand-{uuid.uuid4().hex[:12]}"
        with self._jobs_ended([name]) as ended:
            started = time.perf_counter()
            self.create(name, object_key, suspend=True)
            self._custom.patch_namespaced_custom_object_status(
                *GROUP, self._namespace, "thumbnailjobs", name, {"status": {"phase": "Succeeded"}}
            )
            return ended(PATIENCE_SECONDS) - started

    def one_bare_job(self, image: str) -> float:
        """A Job that does nothing, to Complete."""
        return self.many_bare_jobs(image, 1)

    # ---- many at once: seconds from the first creation to the last end ----

    def many_thumbnail_jobs(self, object_keys: Sequence[str]) -> tuple[float, list[Document]]:
        """ThumbnailJobs, created over several connections; also how they ended."""
        names = {f"burst-{index:04d}-{uuid.uuid4().hex[:6]}": key for index, key in enumerate(object_keys)}
        with self._jobs_ended(names) as ended:
            started = time.perf_counter()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(self.create, names, names.values()))
            seconds = ended(PATIENCE_SECONDS) - started
        listed = self._custom.list_namespaced_custom_object(*GROUP, self._namespace, "thumbnailjobs")
        return seconds, [item for item in listed["items"] if item["metadata"]["name"] in names]

    def many_bare_jobs(self, image: str, count: int) -> float:
        """Jobs that do nothing, created over several connections."""
        names = [f"bare-{uuid.uuid4().hex[:12]}" for _ in range(count)]
        ending = _Ending(
            names,
            lambda: _watch().stream(
                self._batch.list_namespaced_job, self._namespace, timeout_seconds=PATIENCE_SECONDS
            ),
            lambda job: (job.metadata.name, _is_complete(job.status.conditions)),
        )
        with ending as ended:
            started = time.perf_counter()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(lambda name: self._create_bare(name, image), names))
            seconds = ended(PATIENCE_SECONDS) - started
        for name in names:
            self._batch.delete_namespaced_job(name, self._namespace, propagation_policy="Background")
        return seconds

    def create(self, name: str, object_key: str, *, suspend: bool = False) -> None:
        """Create a ThumbnailJob."""
        manifest = {
            "apiVersion": "/".join(GROUP),
            "kind": "ThumbnailJob",
            "metadata": {"name": name},
            "spec": {"source": {"objectKey": object_key}, "suspend": suspend},
        }
        self._custom.create_namespaced_custom_object(*GROUP, self._namespace, "thumbnailjobs", manifest)

    def _create_bare(self, name: str, image: str) -> None:
        container = {
            "name": "nothing",
            "image": image,
            "command": ["true"],
            "securityContext": {"allowPrivilegeEscalation": False},
        }
        pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
        job = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}
        self._batch.create_namespaced_job(self._namespace, job)

    def _jobs_ended(self, names: Sequence[str] | dict[str, str]) -> "_Ending":
        return _Ending(
            list(names),
            lambda: _watch().stream(
                self._custom.list_namespaced_custom_object,
                *GROUP,
                self._namespace,
                "thumbnailjobs",
                timeout_seconds=PATIENCE_SECONDS,
            ),
            lambda job: (
                job["metadata"]["name"],
                job.get("status", {}).get("phase") not in {"Pending", "Running", None},
            ),
        )


class _Ending:
    """Watches until all of some objects have ended; entered, a function that waits for that moment."""

    def __init__(
        self, names: Sequence[str], events: Callable[[], Any], look: Callable[[Any], tuple[str, bool]]
    ) -> None:
        self._left = set(names)
        self._events = events
        self._look = look
        self._done = threading.Event()
        self._when = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Callable[[float], float]:
        self._thread.start()
        time.sleep(0.3)  # the watch is open before anything is created
        return self._wait

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)

    def _wait(self, seconds: float) -> float:
        if not self._done.wait(seconds):
            raise SystemExit(f"void: {len(self._left)} have not ended, {min(self._left)} among them")
        return self._when

    def _watch(self) -> None:
        for event in self._events():
            name, ended = self._look(event["object"])
            if ended:
                self._left.discard(name)
            if not self._left:
                self._when = time.perf_counter()
                self._done.set()
                return


def _watch() -> Any:
    return watch.Watch()  # type: ignore[no-untyped-call]


def _is_complete(conditions: Any) -> bool:
    return any(each.type == "Complete" and each.status == "True" for each in conditions or ())
