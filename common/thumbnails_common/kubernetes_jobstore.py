"""ThumbnailJobs as custom resources on a Kubernetes API server, for API and operator in a cluster."""

import json
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, cast

from kubernetes.client import ApiClient

from thumbnails_contract.names import GROUP, PLURAL, VERSION, is_job_name, is_label_name

from .jobstore import Conflict, Document, Expired, JobPage, ObjectMissing, Refused
from .kubernetes_client import load_client
from .kubernetes_rest import JSON, MERGE_PATCH, KubernetesRest
from .kubernetes_watch import JobWatch, Stream, merged, without_managed_fields

_BASE: Final = f"/apis/{GROUP}/{VERSION}"
# Unknown fields are pruned in any case; finding them first costs the server a second reading.
_WRITING: Final = {"fieldValidation": "Ignore"}
_PATCH_TRIES: Final = 5


class KubernetesJobStore:
    """The JobStore port on an API server. See `thumbnails_common.jobstore` for what each method promises.

    `namespaces` is what a list or watch without a namespace is about: these, or with None the whole
    cluster (which takes a ClusterRole). In a watch of several namespaces, `WatchEvent.resource_version`
    is where all of them may go on, and can be before the document's own.
    """

    def __init__(self, client: ApiClient, *, namespaces: tuple[str, ...] | None = None) -> None:
        if namespaces is not None and (not namespaces or not all(map(is_label_name, namespaces))):
            raise ValueError("namespaces: must be names of namespaces, or None for all")
        self._rest = KubernetesRest(client)
        self._namespaces = namespaces
        self._lock = threading.Lock()
        self._watches: set[JobWatch] = set()

    @classmethod
    def connect(
        cls, *, namespaces: tuple[str, ...] | None, connections: int, component: str = "thumbnails"
    ) -> Self:
        """With the cluster that this process belongs to, or is set up for. Raises InvalidSetting."""
        return cls(load_client(connections, component=component), namespaces=namespaces)

    # ---- writing -------------------------------------------------------------------------------

    def create(self, manifest: Mapping[str, Any]) -> Document:
        """Store a new job. Raises AlreadyExists, Refused, QuotaExceeded."""
        metadata = manifest.get("metadata")
        namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
        if not isinstance(namespace, str) or not is_label_name(namespace):
            raise Refused("metadata.namespace: must be a lowercase RFC 1123 label")
        return self._document("POST", _collection(namespace), _WRITING, body=manifest)

    def patch_spec(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Document:
        """Merge-patch `spec`. Raises ObjectMissing, Conflict, Refused."""
        body: dict[str, Any] = {"spec": patch}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        path = _object(namespace, name)
        tries = 1 if resource_version is not None else _PATCH_TRIES
        while True:
            tries -= 1
            try:
                return self._document("PATCH", path, _WRITING, body=body, content_type=MERGE_PATCH)
            except Conflict:  # the server has tried against others' writes a few times itself
                if not tries:
                    raise

    def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str
    ) -> Document:
        """Merge-patch `status` at this resourceVersion. Raises ObjectMissing, Conflict, Refused."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
        path = f"{_object(namespace, name)}/status"
        return self._document("PATCH", path, _WRITING, body=body, content_type=MERGE_PATCH)

    def delete(
        self, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> None:
        """Delete a job, if it is the one given. Raises ObjectMissing, Conflict."""
        conditions = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in conditions.items() if value is not None}
        body = {"propagationPolicy": "Background", "preconditions": preconditions}
        self._rest.call("DELETE", _object(namespace, name), body=body)

    # ---- reading -------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Document:
        """One job, as it is now. Raises ObjectMissing."""
        return self._document("GET", _object(namespace, name))

    def list(
        self,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_token: str | None = None,
    ) -> JobPage:
        """Jobs by namespace and name, all pages of one state. Raises Expired for an old continue token."""
        query: dict[str, str | int] = {"limit": limit}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        if namespace is None and self._namespaces is not None and len(self._namespaces) > 1:
            return self._list_several(sorted(self._namespaces), query, continue_token)
        if continue_token is not None:
            query["continue"] = continue_token
        return self._page(self._path(namespace), query)

    def _list_several(
        self, namespaces: Sequence[str], query: dict[str, str | int], continue_token: str | None
    ) -> JobPage:
        """One page of one of the namespaces after another, all of the state of the first list."""
        index, version, inner = 0, "", None
        if continue_token is not None:
            index, version, inner = _read_token(continue_token, len(namespaces))
        if inner is not None:
            query["continue"] = inner
        elif version:
            query |= {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        page = self._page(_collection(namespaces[index]), query)
        version = version or page.resource_version
        if page.continue_token is None:
            index += 1
        token = _write_token(index, version, page.continue_token) if index < len(namespaces) else None
        return JobPage(page.items, version, token)

    def _page(self, path: str, query: Mapping[str, str | int]) -> JobPage:
        try:
            answer = self._rest.call("GET", path, query)
        except Refused:
            if "continue" in query:
                raise Expired("The continue token is not valid: list again.") from None
            raise
        metadata = answer["metadata"]
        items = tuple(without_managed_fields(item) for item in answer["items"])
        return JobPage(items, metadata["resourceVersion"], metadata.get("continue") or None)

    def check(self) -> None:
        """Return if the API server and its etcd answer, and let us read jobs."""
        namespace = self._namespaces[0] if self._namespaces else None
        self._rest.call("GET", self._path(namespace), {"limit": 1})

    # ---- watching ------------------------------------------------------------------------------

    def watch(
        self, resource_version: str, namespace: str | None = None, *, timeout_seconds: float = 300.0
    ) -> JobWatch:
        """Changes after `resource_version`, until the timeout. May be closed from another thread."""
        if not resource_version.isdecimal():
            raise Expired("This is no resourceVersion of this store: list again.")
        deadline = time.monotonic() + timeout_seconds
        several = self._namespaces if namespace is None and self._namespaces else (namespace,)
        streams = [Stream(self._rest, self._path(name), resource_version, deadline) for name in several]
        events = streams[0].events() if len(streams) == 1 else merged(streams)
        watch = JobWatch(events, streams, self._forget)
        with self._lock:
            self._watches.add(watch)
        return watch

    def _forget(self, watch: JobWatch) -> None:
        with self._lock:
            self._watches.discard(watch)

    def close(self) -> None:
        """End open watches and release connections; later calls raise JobStoreUnavailable."""
        self._rest.close()
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.close()

    # ---- requests ------------------------------------------------------------------------------

    def _document(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Document:
        answer = self._rest.call(method, path, query, body=body, content_type=content_type)
        return without_managed_fields(cast("Document", answer))

    def _path(self, namespace: str | None) -> str:
        if namespace is None and self._namespaces is not None:
            (namespace,) = self._namespaces
        return f"{_BASE}/{PLURAL}" if namespace is None else _collection(namespace)


def _collection(namespace: str) -> str:
    if not is_label_name(namespace):
        raise ObjectMissing(f'namespaces "{namespace}" not found')
    return f"{_BASE}/namespaces/{namespace}/{PLURAL}"


def _object(namespace: str, name: str) -> str:
    if not is_job_name(name):  # an empty one would ask for all
        raise ObjectMissing(f'thumbnailjobs "{name}" not found')
    return f"{_collection(namespace)}/{name}"


def _write_token(index: int, version: str, inner: str | None) -> str:
    return urlsafe_b64encode(json.dumps([index, version, inner]).encode()).decode()


def _read_token(token: str, count: int) -> tuple[int, str, str | None]:
    try:
        index, version, inner = json.loads(urlsafe_b64decode(token.encode()))
    except ValueError:
        raise Expired("The continue token is not valid: list again.") from None
    if not (isinstance(index, int) and 0 <= index < count and str(version).isdecimal()):
        raise Expired("The continue token is not valid: list again.")
    return index, str(version), None if inner is None else str(inner)
