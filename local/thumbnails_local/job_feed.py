"""Feeds the controller with what happens in the job store: a thread that lists, watches, and lists again.

It is what kopf is in a cluster: events reach the controller on its event loop, in order.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable

from thumbnails_common.jobstore import Document, Expired, JobStore, WatchEventType, list_all
from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_operator.bridge import Bridge

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
        self._bridge = Bridge(loop)
        self._listed = listed
        self._changed = changed
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
        """Everything of one state; its resourceVersion."""
        page = list_all(self._store)
        self._bridge.call(self._listed, page.items)
        return page.resource_version

    def _watch(self, version: str) -> str:
        """One watch until its end; the resourceVersion to go on from."""
        for event in self._store.watch(version):
            version = event.resource_version
            if event.type is not WatchEventType.BOOKMARK:
                self._bridge.call(self._changed, event.type.value, event.document)
            if self._stopping.is_set():
                break
        return version
