"""Workers that do not start: when another one is tried in their place."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_operator.dispatch import Dispatcher
from thumbnails_operator.pool import INHERITED_STUCK_SECONDS, STUCK_SECONDS, Pool, PoolHooks
from thumbnails_operator.ports import WorkerPhase, WorkerState
from thumbnails_operator.settings import OperatorSettings

NAMESPACE = "thumbnails"


class Executor:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.deleted: list[str] = []

    async def create(self, manifest: dict[str, Any]) -> None:
        self.created.append(manifest["metadata"]["name"])

    async def delete(self, namespace: str, name: str) -> None:
        assert namespace == NAMESPACE
        self.deleted.append(name)

    async def list(self) -> tuple[WorkerState, ...]:
        return ()


class Life:
    """A pool that keeps one worker, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.executor = Executor()
        settings = OperatorSettings(max_workers=1, min_workers=1)
        numbers = itertools.count(1)
        self.pool = Pool(
            executor=self.executor,
            dispatcher=Dispatcher(max_attempts=3, lease_seconds=60.0, new_suffix=lambda: "x"),
            settings=settings,
            new_suffix=lambda: f"{next(numbers)}",
            monotonic=lambda: self.now,
            parked=lambda _key: False,
            hooks=PoolHooks(
                lost=lambda _key, _cause, _counts: None,
                stopping=lambda _key: None,
                trouble_changed=lambda _namespace: None,
            ),
        )

    async def pass_time(self, seconds: float) -> None:
        """Let it look after its workers for so long, once a second."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.pool.tick()
            for _ in range(3):  # creations and deletions
                await asyncio.sleep(0)

    def tell(self, name: str, reason: str) -> None:
        """The worker has not started, for this reason."""
        self.pool.changed(WorkerState(NAMESPACE, name, WorkerPhase.STARTING, reason))


def in_a_life(test: Callable[[Life], Any]) -> None:
    asyncio.run(test(Life()))


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "FailedCreate"])
def test_a_worker_whose_start_is_tried_ever_more_rarely_is_replaced(reason: str) -> None:
    async def test(life: Life) -> None:
        await life.pass_time(1)
        (first,) = life.executor.created
        life.tell(first, reason)
        await life.pass_time(STUCK_SECONDS - 1)
        assert not life.executor.deleted
        await life.pass_time(5)
        assert life.executor.deleted == [first]
        _, second = life.executor.created
        life.tell(second, reason)
        await life.pass_time(STUCK_SECONDS + 5)
        assert life.executor.deleted == [first, second]

    in_a_life(test)


@pytest.mark.parametrize("reason", ["Unschedulable", ""])
def test_one_that_waits_for_room_keeps_its_place_in_the_queue(reason: str) -> None:
    async def test(life: Life) -> None:
        await life.pass_time(1)
        (first,) = life.executor.created
        life.tell(first, reason)
        await life.pass_time(10 * STUCK_SECONDS)
        assert not life.executor.deleted

    in_a_life(test)


@pytest.mark.parametrize("reason", ["InvalidImageName", "Unschedulable"])
def test_one_that_another_operator_made_may_be_made_of_settings_that_were_wrong(reason: str) -> None:
    async def test(life: Life) -> None:
        life.tell("inherited", reason)
        await life.pass_time(INHERITED_STUCK_SECONDS + 3)
        assert life.executor.deleted == ["inherited"]
        (own,) = life.executor.created
        life.tell(own, reason)
        await life.pass_time(10 * STUCK_SECONDS)
        assert life.executor.deleted == ["inherited"], "its own is as it shall be"

    in_a_life(test)


@pytest.mark.parametrize("reason", ["JobSuspended", "SchedulingGated"])
def test_one_that_a_queue_holds_back_keeps_its_place_there_whoever_made_it(reason: str) -> None:
    async def test(life: Life) -> None:
        life.tell("inherited", reason)
        await life.pass_time(10 * STUCK_SECONDS)
        assert not life.executor.deleted
        assert not life.executor.created, "another one would wait as well"
        trouble = life.pool.trouble(NAMESPACE)
        assert trouble is not None
        assert trouble.reason == "WaitingForAdmission"

    in_a_life(test)


def test_one_that_another_operator_made_and_that_is_only_on_its_way_is_waited_for() -> None:
    async def test(life: Life) -> None:
        life.tell("inherited", "")
        await life.pass_time(10 * STUCK_SECONDS)
        assert not life.executor.deleted
        assert not life.executor.created

    in_a_life(test)
