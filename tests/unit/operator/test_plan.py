"""How many workers there are: enough, never too many, in fair shares, and none for nothing."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_operator.dispatch import Demand
from thumbnails_operator.lease import WorkerKey
from thumbnails_operator.plan import Action, Create, Stage, Stop, WorkerView, plan
from thumbnails_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(max_workers=4, linger_seconds=30, turn_seconds=30, home_namespace="home")
NOW = 1000.0


def waiting(ready: int, overdue: int | None = None, *, bulk: bool = False) -> Demand:
    overdue = ready if overdue is None else overdue
    return Demand(0, ready, overdue) if bulk else Demand(ready, 0, overdue)


def view(name: str, stage: Stage, namespace: str = "home", age: float = 1.0) -> WorkerView:
    return WorkerView(WorkerKey(namespace, name), stage, NOW - age)


def created(actions: tuple[Action, ...]) -> dict[str, int]:
    return dict(Counter(action.namespace for action in actions if isinstance(action, Create)))


def stopped(actions: tuple[Action, ...]) -> list[str]:
    return [action.worker.name for action in actions if isinstance(action, Stop)]


def test_nothing_to_do_is_nothing_to_do() -> None:
    assert plan({}, [], (), SETTINGS, NOW) == ()


def test_the_first_job_gets_a_worker_at_once() -> None:
    assert created(plan({"home": waiting(1, 0)}, [], (), SETTINGS, NOW)) == {"home": 1}


def test_a_worker_that_is_coming_is_enough_for_one_job() -> None:
    assert plan({"home": waiting(1)}, [view("a", Stage.STARTING)], (), SETTINGS, NOW) == ()


def test_jobs_that_a_live_worker_may_soon_take_call_up_no_other() -> None:
    assert plan({"home": waiting(5, 0)}, [view("a", Stage.BUSY)], (), SETTINGS, NOW) == ()


def test_jobs_that_waited_too_long_do() -> None:
    assert created(plan({"home": waiting(5, 2)}, [view("a", Stage.BUSY)], (), SETTINGS, NOW)) == {"home": 2}


@pytest.mark.parametrize("changes", [{"items_per_worker": 1}, {"linger_seconds": 0.0}])
def test_with_one_worker_a_job_each_job_gets_one(changes: dict[str, float]) -> None:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    assert created(plan({"home": waiting(3, 0)}, [view("a", Stage.BUSY)], (), settings, NOW)) == {"home": 3}


def test_there_are_never_more_than_max_workers() -> None:
    workers = [view("a", Stage.BUSY), view("b", Stage.LEAVING)]
    assert created(plan({"home": waiting(99)}, workers, (), SETTINGS, NOW)) == {"home": 2}


def test_places_are_shared_in_proportion() -> None:
    demand = {"small": waiting(10), "large": waiting(30)}
    assert created(plan(demand, [], (), SETTINGS, NOW)) == {"small": 1, "large": 3}


def test_interactive_jobs_get_the_places_before_bulk_ones() -> None:
    demand = {"bulk": waiting(1000, bulk=True), "people": waiting(3)}
    workers = [view("a", Stage.BUSY, "bulk"), view("b", Stage.BUSY, "people")]
    assert created(plan(demand, workers, (), SETTINGS, NOW)) == {"people": 2}


def test_where_creation_fails_nothing_is_created_for_now() -> None:
    demand = {"broken": waiting(9), "home": waiting(1)}
    assert created(plan(demand, [], {"broken"}, SETTINGS, NOW)) == {"home": 1}


def test_a_worker_that_lingers_for_others_ends_for_a_namespace_in_need() -> None:
    workers = [view(name, Stage.IDLE, "idle") for name in "abcd"]
    assert stopped(plan({"home": waiting(1)}, workers, (), SETTINGS, NOW)) == ["a"]


def test_a_stuck_worker_does_not_keep_its_place_from_others() -> None:
    workers = [view(name, Stage.STUCK, "stuck") for name in "abcd"]
    demand = {"stuck": waiting(9), "home": waiting(1)}
    assert len(stopped(plan(demand, workers, (), SETTINGS, NOW))) == 1


def test_one_that_leaves_already_is_enough() -> None:
    workers = [view("a", Stage.LEAVING, "x"), *(view(name, Stage.IDLE, "idle") for name in "bcd")]
    assert stopped(plan({"home": waiting(1, 0)}, workers, (), SETTINGS, NOW)) == []


def test_a_busy_worker_ends_for_a_namespace_without_any_when_its_turn_is_over() -> None:
    demand = {"busy": waiting(99), "home": waiting(1)}
    young = [view(name, Stage.BUSY, "busy", age=5) for name in "abcd"]
    assert stopped(plan(demand, young, (), SETTINGS, NOW)) == []
    old = [view(name, Stage.BUSY, "busy", age=40 + index) for index, name in enumerate("abcd")]
    assert stopped(plan(demand, old, (), SETTINGS, NOW)) == ["d"]


def test_idle_workers_end_after_the_linger_time() -> None:
    workers = [view("young", Stage.IDLE, age=29), view("old", Stage.IDLE, age=31)]
    assert stopped(plan({}, workers, (), SETTINGS, NOW)) == ["old"]


def test_min_workers_stay_and_are_made() -> None:
    settings = replace(SETTINGS, min_workers=2)
    assert created(plan({}, [], (), settings, NOW)) == {"home": 2}
    workers = [view(name, Stage.IDLE, age=99) for name in "abc"]
    assert len(stopped(plan({}, workers, (), settings, NOW))) == 1


STAGES = st.sampled_from(list(Stage))
NAMESPACES = st.sampled_from(["home", "red", "blue"])
VIEWS = st.lists(st.tuples(NAMESPACES, STAGES, st.floats(0, 100)), max_size=6).map(
    lambda items: [view(str(index), stage, ns, age) for index, (ns, stage, age) in enumerate(items)]
)
DEMANDS = st.dictionaries(
    NAMESPACES, st.builds(Demand, st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
)


@given(DEMANDS, VIEWS, st.integers(1, 6), st.integers(0, 3), st.sets(NAMESPACES))
def test_whatever_there_is(
    demand: dict[str, Demand],
    workers: list[WorkerView],
    max_workers: int,
    min_workers: int,
    blocked: set[str],
) -> None:
    settings = replace(SETTINGS, max_workers=max_workers, min_workers=min(min_workers, max_workers))
    actions = plan(demand, workers, blocked, settings, NOW)
    made, ended = created(actions), stopped(actions)
    assert len(workers) + sum(made.values()) <= max(max_workers, len(workers))
    assert not set(made) & blocked
    assert set(made) <= set(demand) | {"home"}
    assert len(ended) == len(set(ended))
    known = {worker.key.name: worker for worker in workers}
    assert all(known[name].stage not in {Stage.LEAVING, Stage.STARTING} for name in ended)
    # Who waits and may have a worker has one, or gets one, or one ends for it, as far as there are places.
    live = {worker.key.namespace for worker in workers if worker.stage is not Stage.LEAVING}
    for namespace in demand.keys() - live - blocked:
        assert made.get(namespace) or len(workers) + sum(made.values()) >= max_workers


@given(st.integers(1, 200), st.integers(1, 8))
def test_a_pool_that_grows_by_its_plan_settles(ready: int, max_workers: int) -> None:
    settings = replace(SETTINGS, max_workers=max_workers)
    workers: list[WorkerView] = []
    for step in range(20):
        actions = plan({"home": waiting(ready)}, workers, (), settings, NOW)
        workers += [view(f"{step}-{index}", Stage.STARTING) for index in range(len(actions))]
    assert len(workers) == min(ready, max_workers)
