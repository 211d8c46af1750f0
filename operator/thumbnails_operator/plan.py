"""Decides how many workers there shall be in which namespace, and which of them shall end.

Pure: what waits and which workers there are in, a list of actions out; asked whenever something has
changed, and once a second. Time is seconds of a monotonic clock.

- The first waiting job of a namespace without workers gets one at once; where there are some, one
  more is made for each job that has waited for `scale_up_seconds` and that no idle or starting worker
  will take. So short jobs do not call up workers that would find nothing left to do.
- Places are scarce (`max_workers`). A namespace with work and no worker comes first, then those with
  interactive jobs, then the one with the most waiting jobs for each worker it has. When there is no
  place left, workers that linger for others end, and then busy ones whose turn is over.
- A worker that has had nothing to do for `linger_seconds` ends, but `min_workers` stay.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from .dispatch import Demand
from .lease import WorkerKey
from .settings import OperatorSettings


class Stage(Enum):
    """What a worker is doing."""

    STARTING = auto()
    STUCK = auto()  # it should have started, and says why it does not
    IDLE = auto()
    BUSY = auto()
    LEAVING = auto()  # told to stop, draining, or ended: takes nothing more but still has its place


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as the plan sees it; `since` when it entered its stage (IDLE), or was made (all others)."""

    key: WorkerKey
    stage: Stage
    since: float


@dataclass(frozen=True, slots=True)
class Create:
    """Make a worker in this namespace."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell a worker to end when it has done what it holds."""

    worker: WorkerKey


Action = Create | Stop
NOTHING = Demand(0, 0, 0)


def plan(
    demand: Mapping[str, Demand],
    workers: Collection[WorkerView],
    blocked: Collection[str],
    settings: OperatorSettings,
    now: float,
) -> tuple[Action, ...]:
    """What to do now. In `blocked` namespaces nothing is created for now: creations fail there."""
    live = [worker for worker in workers if worker.stage is not Stage.LEAVING]
    counts = Counter(worker.key.namespace for worker in live)
    needs = {
        namespace: need
        for namespace, ready in demand.items()
        if (need := _need(namespace, ready, live, settings)) > 0 and namespace not in blocked
    }
    places = settings.max_workers - len(workers)
    creations = _share_places(needs, demand, counts, places)
    actions: list[Action] = [Create(namespace) for namespace in creations]

    unmet = Counter(needs)
    unmet.subtract(creations)
    stops = _make_places(
        +unmet, demand, live, counts + Counter(creations), len(workers) - len(live), settings, now
    )
    stopped = {worker.key for worker in stops}
    left = [worker for worker in live if worker.key not in stopped]
    stops += _end_lingering(left, len(creations), demand, settings, now)
    actions.extend(Stop(worker.key) for worker in stops)

    warm = settings.min_workers - len(live) - len(creations)
    if settings.home_namespace not in blocked:
        spare = max(0, places - len(creations))
        actions.extend(Create(settings.home_namespace) for _ in range(min(warm, spare)))
    return tuple(actions)


def _need(namespace: str, ready: Demand, live: Collection[WorkerView], settings: OperatorSettings) -> int:
    """How many more workers the namespace could use."""
    own = [worker for worker in live if worker.key.namespace == namespace]
    coming = sum(worker.stage is not Stage.BUSY for worker in own)
    # A worker that may take few jobs, or ends at once, cannot come back for those that wait.
    one_each = settings.items_per_worker or not settings.linger_seconds
    waiting = ready.ready if one_each else ready.overdue
    if not own:
        waiting = max(1, waiting)
    return waiting - coming


def _share_places(
    needs: Mapping[str, int], demand: Mapping[str, Demand], counts: Mapping[str, int], places: int
) -> list[str]:
    left, have = dict(needs), Counter(counts)
    given: list[str] = []
    while left and len(given) < places:
        namespace = min(
            left,
            key=lambda name: (
                have[name] > 0,
                demand[name].interactive == 0,
                -demand[name].ready / (have[name] + 1),
                name,
            ),
        )
        given.append(namespace)
        have[namespace] += 1
        left[namespace] -= 1
        if not left[namespace]:
            del left[namespace]
    return given


def _make_places(
    unmet: Mapping[str, int],
    demand: Mapping[str, Demand],
    live: Collection[WorkerView],
    counts: Mapping[str, int],
    leaving: int,
    settings: OperatorSettings,
    now: float,
) -> list[WorkerView]:
    """Workers that end for the sake of namespaces that need their places, less those that leave already."""
    idle = [worker for worker in live if worker.stage is Stage.IDLE and worker.key.namespace not in demand]
    idle.sort(key=lambda worker: (worker.since, worker.key))
    stops = idle[: max(0, sum(unmet.values()) - leaving)]

    starving = sum(not counts.get(namespace, 0) for namespace in unmet) - leaving - len(stops)
    have = Counter(counts)
    over = [
        worker
        for worker in live
        if worker.stage is Stage.STUCK
        or (worker.stage is Stage.BUSY and now - worker.since >= settings.turn_seconds)
    ]
    while starving > 0 and over:
        worker = min(
            over,
            key=lambda each: (
                each.stage is not Stage.STUCK,
                -have[each.key.namespace],
                each.since,
                each.key,
            ),
        )
        over.remove(worker)
        stops.append(worker)
        have[worker.key.namespace] -= 1
        starving -= 1
    return stops


def _end_lingering(
    live: Collection[WorkerView],
    created: int,
    demand: Mapping[str, Demand],
    settings: OperatorSettings,
    now: float,
) -> list[WorkerView]:
    spare = len(live) + created - settings.min_workers
    idle = [
        worker
        for worker in live
        if worker.stage is Stage.IDLE
        and worker.key.namespace not in demand
        and now - worker.since >= settings.linger_seconds
    ]
    idle.sort(key=lambda worker: (worker.key.namespace == settings.home_namespace, worker.since))
    return idle[: max(0, spare)]
