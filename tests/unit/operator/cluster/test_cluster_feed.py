"""Events on their way to the controller, and what kopf is told to watch."""

import asyncio
import itertools
from typing import Any

import kopf
import pytest

from thumbnails_common.jobstore import JobPage
from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_operator import handlers
from thumbnails_operator.cluster_executor import ClusterExecutor
from thumbnails_operator.cluster_feed import ClusterFeed
from thumbnails_operator.worker_watch import WorkerWatch

PATIENCE = 30.0
Document = dict[str, Any]


def nothing(*_: Any) -> None:
    """Do it."""


def test_kopf_writes_nothing_and_never_gives_up() -> None:
    settings = handlers.settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout is None
    backoffs: Any = settings.networking.error_backoffs
    for _ in range(2):  # it is read anew for each request
        delays = list(itertools.islice(iter(backoffs), 100))
        assert delays[0] < 1 and max(delays) <= 12


def test_only_events_are_handled_so_that_there_are_no_finalizers() -> None:
    listeners = handlers.Listeners(nothing, nothing, nothing, nothing)
    registry = handlers.registry(listeners)
    assert isinstance(registry, kopf.OperatorRegistry)
    assert not registry._changing.get_all_handlers() and not registry._spawning.get_all_handlers()
    selectors = [handler.selector for handler in registry._watching.get_all_handlers()]
    watched = {(each.group, each.version, each.any_name) for each in selectors if each}
    assert watched == {handlers.JOB, handlers.WORKER, handlers.POD}


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of whatever is looked at
            await asyncio.sleep(0.005)


def a_job(name: str, version: int = 1) -> Document:
    return {"metadata": {"namespace": "red", "name": name, "uid": name, "resourceVersion": str(version)}}


class FakeStore:
    """Pages of one job each."""

    def __init__(self, *jobs: Document) -> None:
        self.jobs = list(jobs)
        self.failures = 0

    def list(self, namespace: str | None, *, continue_token: str | None = None) -> JobPage:
        if self.failures:
            self.failures -= 1
            raise JobStoreUnavailable
        index = int(continue_token or 0)
        token = str(index + 1) if index + 1 < len(self.jobs) else None
        return JobPage(tuple(self.jobs[index : index + 1]), "1", token)


class FakeFed:
    """What a controller is told, in order; `during_list` happens while jobs are listed."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.during_list: Any = nothing

    def job_changed(self, event_type: str, document: Document) -> None:
        self.told.append((event_type, document["metadata"]["name"]))

    def jobs_listed(self, documents: Any) -> None:
        self.told.append([document["metadata"]["name"] for document in documents])

    def workers_listed(self, states: Any) -> None:
        self.told.append("workers")

    async def run_blocking(self, function: Any, *arguments: Any) -> Any:
        answer = function(*arguments)
        self.during_list()
        return answer


class FakeWatcher:
    """kopf, as tests play it."""

    def __init__(self, listeners: handlers.Listeners, ended: Any) -> None:
        self.listeners, self.end = listeners, ended
        self.started = self.stopped = False

    def start(self) -> None:
        self.started = True

    def stop(self, timeout_seconds: float) -> None:
        self.stopped = True


class Feeding:
    """A feed with all that is around it."""

    def __init__(self, api: Any, run_blocking: Any, monotonic: Any, *jobs: Document) -> None:
        self.store, self.fed = FakeStore(*jobs), FakeFed()
        self.watcher: Any = None
        watch = WorkerWatch(nothing, monotonic)
        store: Any = self.store
        self.feed = ClusterFeed(
            store=store,
            fed=self.fed,
            executor=ClusterExecutor(api, watch, run_blocking, ("red",)),
            watch=watch,
            make_watcher=self._make,
            namespaces=("red",),
            relist_seconds=3600.0,
            found_seconds=0.01,
        )

    def _make(self, listeners: handlers.Listeners, ended: Any) -> FakeWatcher:
        watcher = self.watcher = FakeWatcher(listeners, ended)
        return watcher

    async def told(self, *expected: Any) -> None:
        """Return once this was told since the last call, and nothing else."""
        await until(lambda: len(self.fed.told) >= len(expected))
        assert self.fed.told == list(expected)
        self.fed.told.clear()


@pytest.fixture
def feeding(api: Any, run_blocking: Any, monotonic: Any) -> Any:
    return lambda *jobs: Feeding(api, run_blocking, monotonic, *jobs)


def test_workers_are_known_before_jobs_and_kopf_comes_last(feeding: Any) -> None:
    async def run() -> None:
        world = feeding(a_job("a"), a_job("b"))
        await world.feed.start()
        await world.told("workers", ["a", "b"])
        assert world.watcher is None

    asyncio.run(run())


def test_a_start_waits_for_the_api_server(feeding: Any) -> None:
    async def run() -> None:
        world = feeding(a_job("a"))
        world.store.failures = 1
        await world.feed.start()
        assert world.fed.told[-1] == ["a"]

    asyncio.run(run())


def test_after_kopf_has_listed_it_is_listed_again(feeding: Any) -> None:
    """What was deleted between our list and kopf's is told by nobody."""

    async def run() -> None:
        world = feeding(a_job("a"), a_job("deleted"))
        await world.feed.start()
        running = asyncio.create_task(world.feed.run())
        await world.told("workers", ["a", "deleted"])
        del world.store.jobs[1]
        await until(lambda: world.watcher is not None and world.watcher.started)
        world.watcher.listeners.found()
        world.watcher.listeners.job("ADDED", a_job("a"))
        await world.told(("ADDED", "a"), "workers", ["a"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert world.watcher.stopped

    asyncio.run(run())


def test_events_that_come_during_a_list_are_in_it(feeding: Any) -> None:
    async def run() -> None:
        world = feeding(a_job("a"))
        world.fed.during_list = lambda: world.feed._job_changed("ADDED", a_job("new", 9))
        await world.feed.start()
        await world.told("workers", ("ADDED", "new"), ["a", "new"])

    asyncio.run(run())


def test_without_kopf_nothing_goes_on(feeding: Any) -> None:
    async def run() -> None:
        world = feeding()
        await world.feed.start()
        running = asyncio.create_task(world.feed.run())
        await until(lambda: world.watcher is not None and world.watcher.started)
        world.watcher.end()
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await asyncio.wait_for(running, PATIENCE)

    asyncio.run(run())


def test_kinds_of_events() -> None:
    seen: list[Any] = []
    listeners = handlers.Listeners(
        job=lambda kind, document: seen.append(("job", kind, document)),
        worker=lambda kind, document: seen.append(("worker", kind, document)),
        pod=lambda kind, document: seen.append(("pod", kind, document)),
        found=lambda: seen.append("found"),
    )
    registered = {
        handler.selector.any_name: handler.fn
        for handler in handlers.registry(listeners)._watching.get_all_handlers()
        if handler.selector
    }

    async def send(plural: str, kind: str | None) -> None:
        handler: Any = registered[plural]
        await handler(event={"type": kind, "object": plural}, memo=None)

    asyncio.run(send("thumbnailjobs", None))
    asyncio.run(send("jobs", "DELETED"))
    asyncio.run(send("pods", "MODIFIED"))
    assert seen == [
        "found",
        ("job", "ADDED", "thumbnailjobs"),
        ("worker", "DELETED", "jobs"),
        ("pod", "MODIFIED", "pods"),
    ]
