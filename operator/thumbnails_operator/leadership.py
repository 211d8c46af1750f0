"""Keeps one Lease, in a thread: says when this process leads, and ends it when it must not any more.

The thread renews only while the event loop answers (`alive`): a leader that does nothing is none. One
that could not renew in time ends its process at once, by `lost`: another one may lead already, and a
clean shutdown would go on writing. Statuses are guarded by their resourceVersion besides.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from thumbnails_contract.errors import Unavailable

from .cluster_api import ApiError, ClusterApi, leases_path
from .cluster_settings import ClusterSettings
from .election import Election, LeaseRecord, Move, new_spec, released_spec

logger = logging.getLogger(__name__)

# A candidate asks more often than a leader renews: a Lease that was released is taken within that.
ASK_SECONDS: Final = 0.5
REQUEST_SECONDS: Final = 4.0
STOP_SECONDS: Final = 6.0
_GONE: Final = 404
_CONFLICT: Final = 409


class Leadership:
    """`elected(generation)` is called in the thread once, when this process has become the leader."""

    def __init__(
        self,
        api: ClusterApi,
        settings: ClusterSettings,
        *,
        elected: Callable[[int], None],
        lost: Callable[[], None],
        alive: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._settings = settings
        self._elected = elected
        self._lost = lost
        self._alive = alive
        self._monotonic = monotonic
        self._clock = clock
        self._election = Election(settings.identity, settings.pod_name)
        self._record: LeaseRecord | None = None
        self._leads = False
        self._renewed = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self._leads

    def start(self) -> None:
        """Stand for election."""
        self._thread.start()

    def release(self) -> None:
        """Stand no longer, and let go of the Lease. Blocks for a moment; never raises."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if not self._leads or self._thread.is_alive():
            return
        self._leads = False
        try:
            lease = self._api.get(self._path(), read_seconds=REQUEST_SECONDS)
            record = LeaseRecord.parse(lease)
            if record.holder == self._settings.identity:
                self._replace(lease, released_spec(record, self._clock()))
                logger.info("the Lease is released")
        except (ApiError, Unavailable) as error:
            logger.warning("the Lease is not released, and runs out by itself: %s", error)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
                self._stopping.wait(self._settings.retry_seconds if self._leads else ASK_SECONDS)
        except Exception:
            logger.exception("the election failed")
            self._lost()

    def _step(self) -> None:
        begun = self._monotonic()
        if self._leads and self._is_overdue(begun):
            return
        moved = self._try() if self._alive() else False
        # A process that was stopped meanwhile learns it here, before it does anything else as a leader.
        if self._leads and self._is_overdue(self._monotonic()):
            return
        if moved:
            # Others count from when they see it, which is after `begun`.
            self._renewed = begun
            if not self._leads and self._record is not None:
                self._leads = True
                logger.info("this process leads now", extra={"generation": self._record.generation})
                self._elected(self._record.generation)

    def _is_overdue(self, now: float) -> bool:
        if now - self._renewed <= self._settings.renew_deadline_seconds:
            return False
        self._give_up("the Lease could not be renewed in time; the process ends")
        return True

    def _give_up(self, why: str) -> None:
        logger.error(why)
        self._leads = False
        self._stopping.set()
        self._lost()

    def _try(self) -> bool:
        """Take or renew the Lease; whether we hold it now."""
        try:
            return self._look()
        except Unavailable as error:
            self._election.could_not_look()
            logger.warning("the Lease cannot be looked at: %s", error.message)
        except ApiError as error:
            if error.status != _CONFLICT:  # somebody else was faster: the next look shows it
                logger.warning("the Lease is refused: %s", error.message)
        return False

    def _look(self) -> bool:
        lease = self._find()
        record = LeaseRecord.parse(lease) if lease is not None else None
        move = self._election.next_move(record, self._monotonic())
        if self._leads and move is not Move.RENEW:
            self._give_up("another process holds the Lease; this one ends")
            return False
        if move is Move.WAIT:
            return False
        spec = new_spec(record, self._settings.identity, self._settings.lease_duration_seconds, self._clock())
        stored = self._create(spec) if lease is None else self._replace(lease, spec)
        self._record = LeaseRecord.parse(stored)
        return True

    def _path(self) -> str:
        return leases_path(self._settings.pod_namespace, self._settings.lease_name)

    def _find(self) -> dict[str, Any] | None:
        try:
            return self._api.get(self._path(), read_seconds=REQUEST_SECONDS)
        except ApiError as error:
            if error.status == _GONE:
                return None
            raise

    def _create(self, spec: dict[str, Any]) -> dict[str, Any]:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.lease_name, "namespace": self._settings.pod_namespace},
            "spec": spec,
        }
        path = leases_path(self._settings.pod_namespace)
        return self._api.create(path, body, read_seconds=REQUEST_SECONDS)

    def _replace(self, lease: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        return self._api.replace(self._path(), {**lease, "spec": spec}, read_seconds=REQUEST_SECONDS)
