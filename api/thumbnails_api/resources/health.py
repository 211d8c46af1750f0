"""`/healthz` and `/readyz`, for probes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import falcon

from thumbnails_api.accounts import Authenticator
from thumbnails_api.answers import write_json
from thumbnails_api.job_cache import JobCache
from thumbnails_api.problems import write_problem
from thumbnails_common.jobstore import JobStore
from thumbnails_common.objectstore import ObjectStore
from thumbnails_contract.errors import ThumbnailsError, Unavailable

_READY_CACHE_SECONDS: Final = 2.0
_CHECK_SECONDS: Final = 3.0  # that a probe waits for the check of another one


class Alive:
    """`GET /healthz`."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 as long as requests are answered at all."""
        write_json(resp, {"status": "ok"})

    on_head = on_get


@dataclass(slots=True)
class Ready:
    """`GET /readyz`."""

    store: JobStore
    objects: ObjectStore
    jobs: JobCache
    authenticator: Authenticator
    draining: threading.Event = field(default_factory=threading.Event)
    """Set when we are about to end: no new connections are wanted, though requests are still served."""
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float | None = None
    _troubles: dict[str, str] = field(default_factory=dict)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 when both stores answer and jobs and keys are known; 503 with what is wrong."""
        troubles = self._check()
        if troubles:
            write_problem(resp, Unavailable("A part of the service is away."), checks=troubles)
        else:
            write_json(resp, {"status": "ready"})

    on_head = on_get

    def _check(self) -> dict[str, str]:
        """One check at a time, kept for two seconds: probes of many must not load the stores."""
        if self.draining.is_set():
            return {"process": "It is about to end"}
        if not self._lock.acquire(timeout=_CHECK_SECONDS):
            return {"checks": "They take too long"}
        try:
            now = self.monotonic()
            if self._checked_at is None or now - self._checked_at >= _READY_CACHE_SECONDS:
                self._troubles = self._look()
                self._checked_at = self.monotonic()
            return self._troubles
        finally:
            self._lock.release()

    def _look(self) -> dict[str, str]:
        troubles: dict[str, str] = {}
        checks = (
            ("jobStore", self.store.check),
            ("objectStore", self.objects.check),
            ("apiKeys", self.authenticator.check),
        )
        for name, check in checks:
            try:
                check()
            except ThumbnailsError as error:
                troubles[name] = error.title
        if not self.jobs.synced:
            troubles["jobs"] = "The jobs were not listed yet"
        return troubles
