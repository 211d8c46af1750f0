"""What kopf watches for the operator, and how: handlers hand their events on, and do nothing else.

kopf is used as an informer. It writes nothing: no annotations, no finalizers (only `on.event` is
used), no Events of its own. It runs in a thread with an event loop of its own, since it takes over the
signals of a main thread and, when it ends, cancels all tasks of its loop, whoever started them.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import kopf

from thumbnails_contract.names import GROUP, PLURAL, VERSION, WORKER_LABEL

Document = dict[str, Any]

JOB: Final = (GROUP, VERSION, PLURAL)
WORKER: Final = ("batch", "v1", "jobs")
POD: Final = ("", "v1", "pods")

# What kopf says of objects that it finds at the start, and again after a gap in its watch.
_FOUND: Final = "ADDED"
_LONGEST_BACKOFF_SECONDS: Final = 10.0
_IDENTITY: Final[Any] = "thumbnails-operator"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told of events, in kopf's thread; each takes the type of the event and the object."""

    job: Callable[[str, Document], None]
    worker: Callable[[str, Document], None]
    pod: Callable[[str, Document], None]
    found: Callable[[], None]  # besides, of each object that a list has brought, not the watch


class _Backoffs:
    """Delays of retries, without an end: a watcher that gives up would be a leader that sees nothing."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            delay = min(delay * 2, _LONGEST_BACKOFF_SECONDS)


class _NoDiffs(kopf.DiffBaseStorage):
    """Nothing to compare an object with: kopf would copy each one anew for changes that nobody asks for."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("no handler of changes is registered")


def registry(listeners: Listeners) -> kopf.OperatorRegistry:
    """All handlers."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def log_in(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

    def kind_of(event: Any) -> str:
        if event["type"] is None:
            listeners.found()
        return event["type"] or _FOUND

    @kopf.on.event(*JOB, registry=handlers)
    async def job_event(event: Any, **_: Any) -> None:
        listeners.job(kind_of(event), event["object"])

    @kopf.on.event(*WORKER, labels={WORKER_LABEL: kopf.PRESENT}, registry=handlers)
    async def worker_event(event: Any, **_: Any) -> None:
        listeners.worker(kind_of(event), event["object"])

    @kopf.on.event(*POD, labels={WORKER_LABEL: kopf.PRESENT}, registry=handlers)
    async def pod_event(event: Any, **_: Any) -> None:
        listeners.pod(kind_of(event), event["object"])

    return handlers


def settings() -> kopf.OperatorSettings:
    """Kopf as an informer for thousands of objects that change a few times in their short lives."""
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.posting.enabled = False
    kopf_settings.persistence.diffbase_storage = _NoDiffs()
    kopf_settings.scanning.disabled = True  # no right to list CRDs and namespaces is needed
    kopf_settings.queueing.worker_limit = None
    kopf_settings.queueing.idle_timeout = 0.5
    kopf_settings.queueing.exit_timeout = 0.5
    kopf_settings.watching.server_timeout = 300
    kopf_settings.watching.client_timeout = 310
    kopf_settings.watching.connect_timeout = 5
    kopf_settings.watching.inactivity_timeout = 70
    kopf_settings.watching.chunk_size = 500
    kopf_settings.watching.label_selectors[WORKER] = WORKER_LABEL
    kopf_settings.watching.label_selectors[POD] = WORKER_LABEL
    kopf_settings.networking.request_timeout = 30
    kopf_settings.networking.connect_timeout = 5
    kopf_settings.networking.error_backoffs = _Backoffs()
    kopf_settings.networking.enforce_retry_after = True
    kopf_settings.process.ultimate_exiting_timeout = None  # how the process ends is our business
    return kopf_settings


class KopfThread:
    """Runs kopf until `stop`; `ended` is called in the thread when it ends, whatever for."""

    def __init__(
        self, listeners: Listeners, namespaces: tuple[str, ...] | None, ended: Callable[[], None]
    ) -> None:
        self._listeners = listeners
        self._namespaces = namespaces
        self._ended = ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin."""
        # It tells each event twice at INFO, and warns that signals are not its own in a thread.
        logging.getLogger("kopf").setLevel(logging.WARNING)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End; blocks until it has, or for so long."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            kopf.run(
                registry=registry(self._listeners),
                settings=settings(),
                # For peering, which is off. What kopf would make up asks for the user's name, and a
                # container's user has none.
                identity=_IDENTITY,
                standalone=True,
                clusterwide=self._namespaces is None,
                namespaces=self._namespaces or (),
                stop_flag=self._stop,
            )
        except Exception:
            logging.getLogger(__name__).exception("kopf failed")
        finally:
            self._ended()
