"""Feeds the controller in a cluster: lists of ours, kopf's events in between, all on its event loop.

kopf does not tell of deletions that it missed, before its watch began or while it was broken. So
everything is listed again after kopf has listed, and now and then, and what is missing then is gone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from thumbnails_common.jobstore import Expired, JobStore, list_all
from thumbnails_contract.errors import ThumbnailsError

from .bridge import Bridge
from .cluster_executor import ClusterExecutor
from .handlers import Listeners
from .ports import WorkerState
from .relist import Recorder
from .worker_watch import WorkerWatch

logger = logging.getLogger(__name__)

Document = dict[str, Any]

RETRY_SECONDS: Final = 1.0
EVENTS_SECONDS: Final = 3.0
STOP_SECONDS: Final = 2.0
# Until kopf's watch is there after a start, and until all that a list of kopf's has brought is through.
BEGIN_SECONDS: Final = 10.0
FOUND_SECONDS: Final = 2.0


class Fed(Protocol):
    """What is fed: the controller."""

    def job_changed(self, event_type: str, document: Document) -> None:
        """A ThumbnailJob has changed."""

    def jobs_listed(self, documents: Iterable[Document]) -> None:
        """All ThumbnailJobs."""

    def workers_listed(self, states: Iterable[WorkerState]) -> None:
        """All workers."""

    async def run_blocking(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call in a thread."""


class Watcher(Protocol):
    """What watches: kopf, in its thread."""

    def start(self) -> None:
        """Begin."""

    def stop(self, timeout_seconds: float) -> None:
        """End; blocks until it has, or for so long."""


# Makes a watcher that tells these listeners, and calls the function when it has ended, whatever for.
MakeWatcher = Callable[[Listeners, Callable[[], None]], Watcher]


class ClusterFeed:
    """See the module's text. `run` returns only by cancellation, or raises when kopf has ended."""

    def __init__(
        self,
        *,
        store: JobStore,
        fed: Fed,
        executor: ClusterExecutor,
        watch: WorkerWatch,
        make_watcher: MakeWatcher,
        namespaces: tuple[str, ...] | None,
        relist_seconds: float,
        found_seconds: float = FOUND_SECONDS,
    ) -> None:
        self._store = store
        self._fed = fed
        self._executor = executor
        self._watch = watch
        self._make_watcher = make_watcher
        self._namespaces = namespaces
        self._relist_seconds = relist_seconds
        self._found_seconds = found_seconds
        self._recorder = Recorder()
        self._found = asyncio.Event()
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """List everything until that succeeds: the controller knows all jobs and workers then."""
        while not await self._relist():  # noqa: ASYNC110 - nobody could tell us when it will succeed
            await asyncio.sleep(RETRY_SECONDS)

    async def run(self) -> None:
        """Watch, and list again at intervals."""
        bridge = Bridge(asyncio.get_running_loop())
        watcher = self._make_watcher(
            Listeners(
                job=lambda kind, document: bridge.call(self._job_changed, kind, document),
                worker=lambda kind, document: bridge.call(self._watch.job_changed, kind, document),
                pod=lambda kind, document: bridge.call(self._watch.pod_changed, kind, document),
                found=lambda: bridge.call(self._found.set),
            ),
            lambda: bridge.call(self._ended.set),
        )
        watcher.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_listing())
                group.create_task(self._keep_asking())
                group.create_task(self._fail_with_watcher())
        finally:
            await asyncio.to_thread(watcher.stop, STOP_SECONDS)

    def _job_changed(self, event_type: str, document: Document) -> None:
        self._recorder.note(event_type, document)
        self._fed.job_changed(event_type, document)

    async def _keep_listing(self) -> None:
        seconds = min(BEGIN_SECONDS, self._relist_seconds)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._found.wait(), seconds)
                await asyncio.sleep(self._found_seconds)
                self._found.clear()
            seconds = self._relist_seconds if await self._relist() else RETRY_SECONDS

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            try:
                await self._executor.ask_events()
            except ThumbnailsError as error:
                logger.warning("Events of workers cannot be read for now: %s", error.reason)

    async def _fail_with_watcher(self) -> None:
        await self._ended.wait()
        raise RuntimeError("the watcher has ended, and nothing is watched any more")

    async def _relist(self) -> bool:
        """Bring everything up to date; False when it could not be had."""
        self._recorder.begin()
        try:
            # Workers first: once jobs are known, workers are made for them.
            self._fed.workers_listed(await self._executor.list())
            documents = await self._fed.run_blocking(self._list_jobs)
            self._fed.jobs_listed(self._recorder.join(documents))
        except ThumbnailsError as error:
            logger.warning("the cluster cannot be listed for now: %s (%s)", error.reason, error.message)
            return False
        finally:
            self._recorder.drop()
        return True

    def _list_jobs(self) -> list[Document]:
        documents: list[Document] = []
        for namespace in (None,) if self._namespaces is None else self._namespaces:
            documents += self._list_of(namespace)
        return documents

    def _list_of(self, namespace: str | None) -> list[Document]:
        """All pages of one state; from the beginning when that is forgotten meanwhile."""
        while True:
            with contextlib.suppress(Expired):
                return list(list_all(self._store, namespace).items)
