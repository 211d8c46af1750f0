"""The Executor port in a cluster: worker Jobs through the API server."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from thumbnails_contract.errors import QuotaExceeded, ThumbnailsError
from thumbnails_contract.names import WORKER_LABEL

from .cluster_api import ApiError, ClusterApi, events_path, jobs_path, pods_path
from .lease import WorkerKey
from .ports import Manifest, WorkerState
from .worker_watch import WorkerWatch

logger = logging.getLogger(__name__)

_GONE: Final = 404
_THERE_ALREADY: Final = 409
_FORBIDDEN: Final = 403

RunBlocking = Callable[..., Awaitable[Any]]
Manifests = list[Manifest]


class FailedCreate(ThumbnailsError):
    """The API server refuses the Job: an admission policy, a missing right, a field that it does not know."""

    reason = "FailedCreate"
    default_message = (
        "A worker's Job may not be created: a right is missing, or an admission policy forbids it."
    )


class ClusterExecutor:
    """Jobs with our label. `run_blocking` calls in a thread; `namespaces` None is the whole cluster."""

    def __init__(
        self,
        api: ClusterApi,
        watch: WorkerWatch,
        run_blocking: RunBlocking,
        namespaces: tuple[str, ...] | None,
    ) -> None:
        self._api = api
        self._watch = watch
        self._run_blocking = run_blocking
        self._namespaces: Iterable[str | None] = (None,) if namespaces is None else namespaces

    async def create(self, manifest: Manifest) -> None:
        """Create the Job; 409 is one that is there. Raises QuotaExceeded, Unavailable, FailedCreate."""
        namespace = manifest["metadata"]["namespace"]
        try:
            await self._run_blocking(self._api.create, jobs_path(namespace), manifest)
        except ApiError as error:
            if error.status == _THERE_ALREADY:
                return
            if error.status == _FORBIDDEN and "exceeded quota" in error.message:
                raise QuotaExceeded("The namespace's quota leaves no room for a worker.") from error
            logger.warning("a worker's Job in namespace %s is refused: %s", namespace, error.message)
            raise FailedCreate from error

    async def delete(self, namespace: str, name: str) -> None:
        """Delete the Job and, in the background, its pod. Raises Unavailable."""
        try:
            await self._run_blocking(self._api.delete, jobs_path(namespace, name))
        except ApiError as error:
            if error.status != _GONE:
                logger.warning("worker %s/%s cannot be deleted: %s", namespace, name, error.message)
                raise FailedCreate("A worker's Job may not be deleted: a right is missing.") from error

    async def list(self) -> tuple[WorkerState, ...]:
        """All workers, asked of the API server; the watch is brought up to date. Raises Unavailable."""
        self._watch.listing()
        try:
            jobs, pods = await self._run_blocking(self._fetch)
        except BaseException:
            self._watch.not_listed()
            raise
        return self._watch.listed(jobs, pods)

    async def ask_events(self) -> None:
        """Look into the Events of workers that are slow to start. Raises Unavailable."""
        for key, kind, uid in tuple(self._watch.slow()):
            trouble = await self._run_blocking(self._latest_warning, key, kind, uid)
            if trouble is not None:
                self._watch.said(key, *trouble)

    def _fetch(self) -> tuple[Manifests, Manifests]:
        jobs: Manifests = []
        pods: Manifests = []
        try:
            # Jobs first: a pod that is in the list then belongs to a Job that is, or is gone.
            for namespace in self._namespaces:
                jobs += self._api.list(jobs_path(namespace), labels=WORKER_LABEL)
            for namespace in self._namespaces:
                pods += self._api.list(pods_path(namespace), labels=WORKER_LABEL)
        except ApiError as error:
            logger.warning("workers cannot be listed: %s", error.message)
            raise FailedCreate("Workers may not be listed: a right is missing.") from error
        return jobs, pods

    def _latest_warning(self, key: WorkerKey, kind: str, uid: str) -> tuple[str, str] | None:
        fields = f"involvedObject.kind={kind},involvedObject.uid={uid},type=Warning"
        try:
            events = list(self._api.list(events_path(key.namespace), fields=fields))
        except ApiError as error:
            logger.warning("Events of worker %s cannot be read: %s", key, error.message)
            return None
        last = max(events, key=_when, default=None)
        return (str(last.get("reason", "")), str(last.get("message", ""))) if last else None


def _when(event: Manifest) -> str:
    """All forms of Kubernetes' times in UTC sort as text, to the second."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return str(next((time for time in times if time), ""))
