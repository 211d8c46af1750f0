"""The EventSink port in a cluster: Events of ThumbnailJobs, few, written by a thread of their own.

Events are for people who look at one job; thousands of them would cost etcd more than the jobs do. So
repeated ones are left out, and of many at once some are: what happened is in the status anyway.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from thumbnails_contract.errors import ThumbnailsError
from thumbnails_contract.job import JobKey
from thumbnails_contract.names import API_VERSION, GROUP, KIND, MAX_NAME_LENGTH
from thumbnails_contract.timestamps import format_time

from .cluster_api import ApiError, ClusterApi, events_path

logger = logging.getLogger(__name__)

COMPONENT: Final = f"{GROUP}/operator"
MAX_QUEUED: Final = 256
MAX_MESSAGE: Final = 1024  # of the API server
REPEAT_SECONDS: Final = 300.0
MAX_REMEMBERED: Final = 4096
CLOSE_SECONDS: Final = 2.0


class Budget:
    """A token bucket: `burst` at once, `rate` a second in the long run."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Whether there is one more."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Event:
    key: JobKey
    uid: str
    warning: bool
    reason: str
    message: str
    when: datetime


class ClusterEventSink:
    """See the module's text. `new_suffix()` makes names unique; `instance` is the pod that speaks."""

    def __init__(
        self,
        api: ClusterApi,
        *,
        instance: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        new_suffix: Callable[[], str],
    ) -> None:
        self._api = api
        self._instance = instance
        self._clock = clock
        self._monotonic = monotonic
        self._new_suffix = new_suffix
        now = monotonic()
        # Warnings have a budget of their own: successes shall not use it up.
        self._budgets = {True: Budget(2.0, 50.0, now), False: Budget(0.5, 20.0, now)}
        self._said: dict[tuple[str, str, str], float] = {}
        self._queue: queue.Queue[_Event | None] = queue.Queue(MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.written = 0
        self.left_out = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def emit(self, key: JobKey, uid: str, *, warning: bool, reason: str, message: str) -> None:
        """Record an event, soon and at most once; never raises, never blocks."""
        now, said = self._monotonic(), (uid, reason, message)
        if now - self._said.get(said, float("-inf")) < REPEAT_SECONDS or not self._budgets[warning].take(now):
            self.left_out += 1
            return
        if len(self._said) >= MAX_REMEMBERED:
            self._said.clear()
        self._said[said] = now
        try:
            self._queue.put_nowait(_Event(key, uid, warning, reason, message, self._clock()))
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Write what is queued, for a moment."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=CLOSE_SECONDS)
            except queue.Full:
                return
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._api.create(events_path(event.key.namespace), self._manifest(event))
            except ApiError as error:
                logger.warning("an Event of %s is refused: %s", event.key, error.message)
            except ThumbnailsError as error:
                logger.warning("an Event of %s is not written: %s", event.key, error.reason)
            except Exception:  # the thread must go on
                logger.exception("an Event of %s is not written", event.key)
            else:
                self.written += 1

    def _manifest(self, event: _Event) -> dict[str, Any]:
        suffix, when = f".{self._new_suffix()}", format_time(event.when)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{event.key.name[: MAX_NAME_LENGTH - len(suffix)].rstrip('-.')}{suffix}",
                "namespace": event.key.namespace,
            },
            "firstTimestamp": when,
            "lastTimestamp": when,
            "count": 1,
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:MAX_MESSAGE],
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": event.key.namespace,
                "name": event.key.name,
                "uid": event.uid,
            },
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }
