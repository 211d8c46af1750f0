"""Keeps the set of workers as `plan.py` wants it: starts, stops and deletes them through the executor.

It also says why a namespace's jobs get no worker (`trouble`), and backs off where workers cannot be
made or end before they take work. All calls come from the operator's event loop.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from thumbnails_contract.errors import QuotaExceeded, ThumbnailsError
from thumbnails_contract.status import ErrorFacts

from . import outcome
from .backoff import backoff_seconds
from .dispatch import Dispatcher
from .lease import WorkerKey
from .plan import Create, Stage, WorkerView, plan
from .ports import Executor, WorkerPhase, WorkerState
from .settings import OperatorSettings
from .tasks import Tasks
from .worker_job import worker_job, worker_name

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS: Final = 1.0
MAX_BACKOFF_SECONDS: Final = 60.0
# A worker that runs and does not poll for so long cannot reach the exchange.
UNREACHABLE_SECONDS: Final = 15.0
# Somebody lets it start when its turn has come, such as Kueue: another would wait as well, behind this one.
_HELD_BACK: Final = frozenset({"JobSuspended", "SchedulingGated"})
# Waiting for these grows longer with every try of the kubelet or the Job controller, up to minutes. When
# their cause is over a new worker starts at once: so one is tried in the place of the old one.
_STARTS_ANEW: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError", "FailedCreate"}
)
STUCK_SECONDS: Final = 45.0
# What an operator before this one made is as that one was told to make it: perhaps that was the mistake.
INHERITED_STUCK_SECONDS: Final = 3.0
# A listing may be older than a worker that was just made.
LISTING_LAG_SECONDS: Final = 10.0
# How long a deleted worker's polls may still come (its token was found valid just before).
TOMBSTONE_SECONDS: Final = 120.0
DELETE_RETRY_SECONDS: Final = 2.0

# In our own words: what Kubernetes says may hold addresses and names of nodes.
_START_TROUBLES: Final = {
    "Unschedulable": "No node has room for a worker.",
    "ErrImagePull": "The worker's image cannot be pulled.",
    "ImagePullBackOff": "The worker's image cannot be pulled.",
    "InvalidImageName": "The worker's image has a name that is not valid.",
    "CreateContainerConfigError": "A worker's container cannot be configured.",
    "CreateContainerError": "A worker's container cannot be created.",
    "FailedCreate": "A worker's pod may not be created: a quota or an admission policy forbids it.",
    "FailedMount": "A volume of a worker's pod cannot be mounted.",
    "QuotaExceeded": "The namespace's quota leaves no room for a worker.",
}
_NOT_ADMITTED: Final = "WaitingForAdmission"
_NOT_STARTING: Final = "WorkerNotStarting"
_FAILING: Final = "WorkersFailing"
_UNREACHABLE: Final = "ExchangeUnreachable"
# Why jobs get no worker, by the condition Started; besides reasons of the contract, and others of Kubernetes.
TROUBLES: Final = frozenset({*_START_TROUBLES, _NOT_ADMITTED, _NOT_STARTING, _FAILING, _UNREACHABLE})
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_]{0,61}[A-Za-z0-9_])?")


@dataclass(slots=True, eq=False)
class _Member:
    """A worker, from the wish to make it until it is deleted."""

    state: WorkerState
    born: float
    own: bool = False  # made by this operator, not by one before it
    running_since: float | None = None
    polled: bool = False
    draining: bool = False  # by its own wish
    stopping: bool = False  # by ours
    deleting: bool = False
    delete_after: float = 0.0
    idle_since: float = 0.0
    taken_when_idle: int = -1


@dataclass(slots=True)
class _Backoff:
    """Workers of a namespace that could not be made, or ended before they took work, in a row."""

    failures: int
    until: float
    cause: ErrorFacts


@dataclass(frozen=True, slots=True)
class PoolHooks:
    """What the pool tells the controller."""

    lost: Callable[[WorkerKey, ErrorFacts, bool], None]  # ..., whether it counts as an attempt
    stopping: Callable[[WorkerKey], None]
    trouble_changed: Callable[[str], None]  # of a namespace


class Pool:
    """See the module's text. `parked`: whether a poll of the worker is waiting right now."""

    def __init__(
        self,
        *,
        executor: Executor,
        dispatcher: Dispatcher,
        settings: OperatorSettings,
        new_suffix: Callable[[], str],
        monotonic: Callable[[], float],
        parked: Callable[[WorkerKey], bool],
        hooks: PoolHooks,
    ) -> None:
        self._executor = executor
        self._dispatcher = dispatcher
        self._settings = settings
        self._new_suffix = new_suffix
        self._monotonic = monotonic
        self._parked = parked
        self._hooks = hooks
        self._members: dict[WorkerKey, _Member] = {}
        self._backoffs: dict[str, _Backoff] = {}
        self._troubles: dict[str, ErrorFacts] = {}
        self._gone: dict[WorkerKey, float] = {}
        self._tasks = Tasks()
        self._paused = False
        self.created = 0

    # ---- what the world says ----------------------------------------------------------------

    def changed(self, state: WorkerState) -> None:
        """A worker's Job is now like this."""
        key, now = WorkerKey(state.namespace, state.name), self._monotonic()
        if key in self._gone:
            return
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = _Member(state, now, idle_since=now)
        member.state = state
        if state.phase is WorkerPhase.RUNNING and member.running_since is None:
            member.running_since = now
        if state.phase in {WorkerPhase.ENDED, WorkerPhase.FAILED}:
            self._ended(key, member, now)
        self._review_troubles(now)

    def listed(self, states: Iterable[WorkerState]) -> None:
        """All workers there are."""
        now, seen = self._monotonic(), set()
        for state in states:
            seen.add(WorkerKey(state.namespace, state.name))
            self.changed(state)
        for key in self._members.keys() - seen:
            member = self._members[key]
            if now - member.born < LISTING_LAG_SECONDS:
                continue
            counts = not (member.stopping or member.deleting)
            self._forget(key, now)
            self._hooks.lost(key, outcome.silence(), counts)

    def polled(self, key: WorkerKey, *, draining: bool, right_version: bool) -> bool:
        """The worker polls; False when it is one that was given up, and shall end."""
        now = self._monotonic()
        if key in self._gone:
            return False
        member = self._members.get(key)
        if member is None:
            state = WorkerState(key.namespace, key.name, WorkerPhase.RUNNING)
            member = self._members[key] = _Member(state, now, running_since=now, idle_since=now)
        if not member.polled:
            member.polled = True
            member.idle_since = now
            if right_version:
                self._backoffs.pop(key.namespace, None)
            elif member.own:
                cause = ErrorFacts(
                    "OtherWorkerVersion", "The workers are of another version than the operator."
                )
                self._back_off(key.namespace, cause, now)
            self._review_troubles(now)
        member.stopping = member.stopping or not right_version
        member.draining = member.draining or draining
        limit = self._settings.items_per_worker
        if limit and self._dispatcher.taken(key) >= limit:
            member.stopping = True
        return not member.deleting

    # ---- what others ask --------------------------------------------------------------------

    def capacity(self, key: WorkerKey, asked: int) -> int:
        """How much of what the worker asks for it may have."""
        member = self._members.get(key)
        if member is None or member.stopping or member.draining or member.deleting:
            return 0
        limit = self._settings.items_per_worker
        return min(asked, limit - self._dispatcher.taken(key)) if limit else asked

    def shall_stop(self, key: WorkerKey) -> bool:
        """Whether the worker shall end when it has done what it holds."""
        member = self._members.get(key)
        return member is None or member.stopping or member.draining or member.deleting

    def trouble(self, namespace: str) -> ErrorFacts | None:
        """Why jobs of the namespace get no worker."""
        return self._troubles.get(namespace)

    def live(self, namespace: str) -> bool:
        """Whether any worker of the namespace takes jobs."""
        return any(
            key.namespace == namespace and member.polled and not member.stopping and not member.draining
            for key, member in self._members.items()
        )

    def all_heard(self) -> bool:
        """Whether every worker that runs has polled."""
        return all(
            member.polled
            for member in self._members.values()
            if member.state.phase is WorkerPhase.RUNNING and not member.deleting
        )

    # ---- what it does -----------------------------------------------------------------------

    def tick(self) -> None:
        """Look after silent workers, deletions and troubles, and do what the plan says."""
        now = self._monotonic()
        for key in self._dispatcher.silent(now):
            if self._parked(key):
                self._dispatcher.seen(key, now)
            else:
                self._lose_silent(key, now)
        for key, member in list(self._members.items()):
            silent_for = now - member.running_since if member.running_since is not None else 0.0
            if not member.polled and silent_for > self._settings.lease_seconds and not member.deleting:
                self._back_off(key.namespace, _unreachable(), now)
                self._delete(key, member, now)
            elif self._is_to_be_replaced(member, now):
                logger.info("worker %s does not start (%s), and is replaced", key, member.state.reason)
                self._delete(key, member, now)
            elif member.deleting and now >= member.delete_after:
                self._delete(key, member, now)
        self._gone = {key: when for key, when in self._gone.items() if now - when < TOMBSTONE_SECONDS}
        self._review_troubles(now)
        self.plan()

    def plan(self) -> None:
        """Do what `plan.py` says."""
        if self._paused:
            return
        now, settings = self._monotonic(), self._settings
        demand = self._dispatcher.demand(now, settings.scale_up_seconds, settings.max_workers + 1)
        if not demand and not self._members and not settings.min_workers:
            return
        blocked = {namespace for namespace, backoff in self._backoffs.items() if now < backoff.until}
        for action in plan(demand, self._views(now), blocked, settings, now):
            if isinstance(action, Create):
                self._create(action.namespace, now)
            else:
                self._stop(action.worker, now)

    def pause(self) -> None:
        """Make and stop no workers any more."""
        self._paused = True

    async def close(self) -> None:
        """End what is under way; workers stay."""
        await self._tasks.close()

    # ---- inside -----------------------------------------------------------------------------

    def _views(self, now: float) -> list[WorkerView]:
        return [self._view(key, member, now) for key, member in self._members.items()]

    def _view(self, key: WorkerKey, member: _Member, now: float) -> WorkerView:
        if member.stopping or member.draining or member.deleting:
            return WorkerView(key, Stage.LEAVING, member.born)
        if not member.polled:
            stage = Stage.STUCK if self._is_stuck(member) else Stage.STARTING
            return WorkerView(key, stage, member.born)
        taken = self._dispatcher.taken(key)
        if self._dispatcher.holds(key):
            member.taken_when_idle = -1
            return WorkerView(key, Stage.BUSY, member.born)
        if taken != member.taken_when_idle:  # it was busy since the last look
            member.taken_when_idle, member.idle_since = taken, now
        return WorkerView(key, Stage.IDLE, member.idle_since)

    @staticmethod
    def _is_stuck(member: _Member) -> bool:
        """Whether it should have started, and says why it does not."""
        return not member.polled and member.state.phase is WorkerPhase.STARTING and bool(member.state.reason)

    def _is_to_be_replaced(self, member: _Member, now: float) -> bool:
        if not self._is_stuck(member) or member.deleting or member.state.reason in _HELD_BACK:
            return False
        if not member.own:
            return now - member.born > INHERITED_STUCK_SECONDS
        return member.state.reason in _STARTS_ANEW and now - member.born > STUCK_SECONDS

    def _create(self, namespace: str, now: float) -> None:
        name = worker_name(self._new_suffix())
        key = WorkerKey(namespace, name)
        state = WorkerState(namespace, name, WorkerPhase.STARTING)
        self._members[key] = _Member(state, now, own=True, idle_since=now)
        self.created += 1
        self._tasks.spawn(self._run_create(key))

    async def _run_create(self, key: WorkerKey) -> None:
        try:
            await self._executor.create(worker_job(self._settings, key.namespace, key.name))
        except QuotaExceeded:
            self._not_created(key, ErrorFacts(QuotaExceeded.reason, _START_TROUBLES["QuotaExceeded"]))
        except ThumbnailsError as error:
            self._not_created(key, outcome.facts_of(error))
        except Exception:
            logger.exception("a worker could not be created: %s", key)
            self._not_created(key, ErrorFacts("FailedCreate", "A worker cannot be created."))

    def _not_created(self, key: WorkerKey, cause: ErrorFacts) -> None:
        now = self._monotonic()
        member = self._members.get(key)
        if member is not None and not member.polled:
            # It may be there all the same: a create whose answer was lost.
            self._back_off(key.namespace, cause, now)
            self._delete(key, member, now)
            self._review_troubles(now)

    def _stop(self, key: WorkerKey, now: float) -> None:
        member = self._members[key]
        member.stopping = True
        if member.polled:
            self._hooks.stopping(key)
        else:
            self._delete(key, member, now)

    def _ended(self, key: WorkerKey, member: _Member, now: float) -> None:
        """The executor says that the worker is over."""
        ended_as_told = member.state.phase is WorkerPhase.ENDED and (member.stopping or member.draining)
        counts = not (member.deleting or ended_as_told or outcome.is_disruption(member.state))
        if counts and member.own and not member.polled:
            self._back_off(key.namespace, _dies_at_start(member.state), now)
        elif counts and member.state.phase is WorkerPhase.FAILED:
            logger.warning("worker %s failed: %s", key, member.state.reason or "no reason given")
        self._hooks.lost(key, outcome.death(member.state), counts)
        if not member.deleting:
            self._delete(key, member, now)

    def _lose_silent(self, key: WorkerKey, now: float) -> None:
        member = self._members.get(key)
        self._hooks.lost(key, outcome.silence(), member is not None and not member.deleting)
        if member is not None and not member.deleting:
            logger.warning("worker %s was not heard of for too long and is deleted", key)
            self._delete(key, member, now)

    def _delete(self, key: WorkerKey, member: _Member, now: float) -> None:
        member.deleting = True
        member.delete_after = now + DELETE_RETRY_SECONDS
        self._tasks.spawn(self._run_delete(key))

    async def _run_delete(self, key: WorkerKey) -> None:
        try:
            await self._executor.delete(key.namespace, key.name)
        except ThumbnailsError as error:
            logger.warning("worker %s cannot be deleted for now: %s", key, error.reason)
        except Exception:
            logger.exception("worker %s cannot be deleted for now", key)
        else:
            if self._forget(key, self._monotonic()):
                self._hooks.lost(key, outcome.silence(), False)

    def _forget(self, key: WorkerKey, now: float) -> bool:
        self._gone[key] = now
        return self._members.pop(key, None) is not None

    def _back_off(self, namespace: str, cause: ErrorFacts, now: float) -> None:
        old = self._backoffs.get(namespace)
        failures = old.failures + 1 if old else 1
        delay = backoff_seconds(failures, FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)
        self._backoffs[namespace] = _Backoff(failures, now + delay, cause)
        logger.warning(
            "no worker in namespace %s: %s (%s); next try in %.0f s",
            namespace,
            cause.reason,
            cause.message,
            delay,
        )

    def _review_troubles(self, now: float) -> None:
        troubles = {namespace: backoff.cause for namespace, backoff in self._backoffs.items()}
        for key, member in self._members.items():
            if member.polled or member.deleting:
                continue
            if member.state.phase is WorkerPhase.STARTING and member.state.reason:
                troubles.setdefault(key.namespace, _start_trouble(member.state.reason))
            elif member.running_since is not None and now - member.running_since > UNREACHABLE_SECONDS:
                troubles.setdefault(key.namespace, _unreachable())
        old, self._troubles = self._troubles, troubles
        for namespace in old.keys() | troubles.keys():
            if old.get(namespace) != troubles.get(namespace):
                self._hooks.trouble_changed(namespace)


def _start_trouble(reason: str) -> ErrorFacts:
    if reason in _HELD_BACK:
        return ErrorFacts(
            _NOT_ADMITTED, "A worker waits to be admitted: its Job is suspended, or its pod is gated."
        )
    if not _REASON.fullmatch(reason):
        reason = _NOT_STARTING
    return ErrorFacts(reason, _START_TROUBLES.get(reason, "A worker does not start."))


def _dies_at_start(state: WorkerState) -> ErrorFacts:
    reason = state.reason if _REASON.fullmatch(state.reason) else "Error"
    return ErrorFacts(_FAILING, f"Workers end before they take any work ({reason}).")


def _unreachable() -> ErrorFacts:
    return ErrorFacts(_UNREACHABLE, "A worker runs but does not reach the operator.")
