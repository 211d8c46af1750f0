"""Feeds the controller with what happens in the job store: a thread that lists, watches, and lists again.

It is what kopf is in a cluster: events reach the controller on its event loop, in order.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from thumbnails_common.jobstore import Document, Expired, JobStore, WatchEventType
from thumbnails_contract.errors import JobStoreUnavailable

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class JobFeed:
    """Calls `listed` with all jobs, then `changed` with each event, both on `loop`, until `stop`."""

    def __init__(
        self,
        store: JobStore,
        loop: asyncio.AbstractEventLoop,
        *,
        listed: Callable[[Iterable[Document]], None],
        changed: Callable[[str, Document], None],
    ) -> None:
        self._store = store
        self._loop = loop
        self._listed = listed
        self._changed = changed
        self._calls: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._scheduled = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the store is to be closed after that, which ends the watch."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                version = self._list()
                while not self._stopping.is_set():
                    version = self._watch(version)
            except Expired:
                _log.info("the watch of jobs fell behind; listing them again")
            except JobStoreUnavailable as error:
                if not self._stopping.is_set():
                    _log.warning("jobs cannot be watched for now: %s", error.message)
                    self._stopping.wait(_RETRY_SECONDS)

    def _list(self) -> str:
        """All pages of one state; its resourceVersion."""
        documents: list[Document] = []
        token = None
        while True:
            page = self._store.list(continue_token=token)
            documents += page.items
            token = page.continue_token
            if token is None:
                self._call(self._listed, documents)
                return page.resource_version

    def _watch(self, version: str) -> str:
        """One watch until its end; the resourceVersion to go on from."""
        for event in self._store.watch(version):
            version = event.resource_version
            if event.type is not WatchEventType.BOOKMARK:
                self._call(self._changed, event.type.value, event.document)
            if self._stopping.is_set():
                break
        return version

    def _call(self, function: Callable[..., None], *args: object) -> None:
        """Have `function` called on the loop, in order; the loop is woken once for all that wait."""
        self._calls.append((function, args))
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
            self._loop.call_soon_threadsafe(self._on_loop)

    def _on_loop(self) -> None:
        with self._lock:
            self._scheduled = False
        while self._calls:
            function, args = self._calls.popleft()
            function(*args)
