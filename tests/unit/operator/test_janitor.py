"""The janitor with a bucket in memory: the order in which it looks and deletes, and what it survives."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pytest

from thumbnails_common.history import History
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectFacts
from thumbnails_common.tombstone import MAX_BYTES, Tombstone
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.history import HistoryKeys
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import idempotency_key, recipes, source_key, thumbnail_key, tombstone_key
from thumbnails_contract.spec import Batch, Spec
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Reason, Status
from thumbnails_operator.janitor import BATCH_OBJECTS, Janitor
from thumbnails_operator.settings import OperatorSettings

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)
SHA = "a" * 64


class Body(io.BytesIO):
    """An object's body, as far as anybody reads it."""


@dataclass
class Bucket:
    """An object store in memory: what it holds, what happened to it, and what goes wrong."""

    objects: dict[str, tuple[datetime, bytes]] = field(default_factory=dict)
    log: list[tuple[str, Any]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)  # raised by the next deletes
    now: datetime = NOW
    on_listed: Callable[[str], None] = lambda _key: None
    on_delete: Callable[[list[str]], None] = lambda _keys: None

    @property
    def deletions(self) -> list[list[str]]:
        return [keys for what, keys in self.log if what == "delete"]

    def add(self, *keys: str, data: bytes = b"", modified: datetime = LONG_AGO) -> None:
        for key in keys:
            self.objects[key] = (modified, data)

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> Iterator[ObjectFacts]:
        found = sorted(key for key in self.objects if key.startswith(prefix) and key > (after or ""))
        for key in found[:limit]:
            if key in self.objects:
                self.log.append(("list", key))
                yield ObjectFacts(key, "etag", len(self.objects[key][1]), self.objects[key][0])
                self.on_listed(key)

    def folders(self, prefix: str) -> Iterator[str]:
        found = (key[len(prefix) :].partition("/") for key in self.objects if key.startswith(prefix))
        return iter(sorted({f"{prefix}{name}/" for name, slash, _ in found if slash}))

    def put(self, key: str, data: BinaryIO, length: int, *, only_if_absent: bool = False, **_: Any) -> None:
        if only_if_absent and key in self.objects:
            raise ObjectExists
        self.add(key, data=data.read(length), modified=self.now)

    def get(self, key: str) -> Body:
        if key not in self.objects:
            raise NoSuchObject
        return Body(self.objects[key][1])

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self.on_delete(keys)
        if self.failures:
            raise self.failures.pop(0)
        self.log.append(("delete", keys))
        for key in keys:
            self.objects.pop(key, None)


@dataclass
class World:
    """A bucket, the jobs that are known, and the janitor between them."""

    bucket: Bucket = field(default_factory=Bucket)
    jobs: list[ThumbnailJob] = field(default_factory=list)
    unreadable: list[JobKey] = field(default_factory=list)
    held: set[JobKey] = field(default_factory=set)  # workers have something of these
    settings: OperatorSettings = field(default_factory=OperatorSettings)
    namespaces: list[str] | None = None
    before_blocking: Callable[[Any], None] = lambda _function: None
    after_blocking: Callable[[], object] = lambda: None

    @property
    def history(self) -> History:
        objects: Any = self.bucket
        return History(objects)

    async def run_blocking(self, function: Callable[..., Any], *args: Any) -> Any:
        self.before_blocking(function)
        answer = await asyncio.to_thread(function, *args)
        self.after_blocking()
        return answer

    def janitor(self) -> Janitor:
        objects: Any = self.bucket
        return Janitor(
            objects,
            lambda: iter(self.jobs),
            self.settings,
            self.run_blocking,
            lambda: NOW,
            unreadable=lambda: self.unreadable,
            held=lambda: self.held,
            namespaces=self.namespaces,
        )

    def sweep(self) -> int:
        return asyncio.run(self.janitor().sweep())


def make_job(
    name: str,
    *,
    ended: datetime | None = None,
    sha: str = SHA,
    namespace: str = "team-a",
    batch: str | None = None,
) -> ThumbnailJob:
    spec = Spec(
        object_key=source_key(namespace, "default", sha, name), batch=Batch(batch, 0, 1) if batch else None
    )
    status = Status()
    if ended is not None:
        ((_, _, recipe),) = recipes(spec)
        key = thumbnail_key(namespace, "default", sha, recipe)
        status = Status(
            conditions=(Condition(ConditionType.COMPLETE, True, Reason.RENDERED, "", ended),),
            outputs=(OutputFacts("default", "auto", key, 1, 1, 1, "image/png", "e"),),
            completion_time=ended,
        )
    return ThumbnailJob(JobKey(namespace, name), f"uid-{name}", "1", 1, LONG_AGO, spec, status)


def source_of(job: ThumbnailJob) -> str:
    return job.spec.object_key


def thumbnail_of(job: ThumbnailJob) -> str:
    ((_, _, recipe),) = recipes(job.spec)
    return thumbnail_key(job.key.namespace, "default", source_of(job).split("/")[3], recipe)


def bury(world: World, job: ThumbnailJob, *, more: Sequence[str] = (), modified: datetime = LONG_AGO) -> str:
    """Put a job's tombstone into the bucket; its key."""
    key = tombstone_key(job.key.namespace, job.key.name)
    tombstone = Tombstone(
        job.key.namespace, job.key.name, job.uid, (source_of(job), thumbnail_of(job), *more), LONG_AGO
    )
    world.bucket.add(key, data=tombstone.to_bytes(), modified=modified)
    return key


def add_objects(world: World, job: ThumbnailJob, *, modified: datetime = NOW) -> None:
    world.bucket.add(source_of(job), thumbnail_of(job), modified=modified)


@pytest.fixture
def world() -> World:
    return World()


# ---- sweeps ---------------------------------------------------------------------------------


def test_a_sweep_leaves_what_is_needed_and_nothing_else(world: World) -> None:
    done, running, gone = (
        make_job("done", ended=LONG_AGO),
        make_job("running", sha="b" * 64),
        make_job("gone", sha="c" * 64),
    )
    world.jobs = [done, running]
    for job in (done, running, gone):
        add_objects(world, job, modified=LONG_AGO)
    world.bucket.add("sources/team-a/holiday.jpg", "somebody/else")
    assert world.sweep() == 3
    assert set(world.bucket.objects) == {
        thumbnail_of(done),  # its original is past its retention
        source_of(running),
        thumbnail_of(running),
        "sources/team-a/holiday.jpg",
        "somebody/else",
    }


def test_a_sweep_forgets_old_idempotency_keys(world: World) -> None:
    old, new = (idempotency_key("team-a", "default", sha * 64) for sha in "ab")
    world.bucket.add(old)
    world.bucket.add(new, modified=NOW)
    assert world.sweep() == 1
    assert set(world.bucket.objects) == {new}


def test_nothing_to_do_deletes_nothing(world: World) -> None:
    assert world.sweep() == 0
    assert world.bucket.deletions == []


def test_a_large_bucket_is_swept_in_parts(world: World) -> None:
    total = 3 * BATCH_OBJECTS + 7
    kept = [make_job(f"job-{index}") for index in range(0, total, 10)]
    world.jobs = list(kept)
    world.bucket.add(*(source_of(make_job(f"job-{index}")) for index in range(total)))
    assert world.sweep() == total - len(kept)
    assert set(world.bucket.objects) == {source_of(job) for job in kept}
    assert max(len(keys) for keys in world.bucket.deletions) <= BATCH_OBJECTS
    # The first part is deleted before the last one is listed: memory does not grow with the bucket.
    first_delete = next(index for index, (what, _) in enumerate(world.bucket.log) if what == "delete")
    assert first_delete <= BATCH_OBJECTS


def test_a_job_that_is_created_while_objects_are_listed_is_known_in_time(world: World) -> None:
    job = make_job("new")
    add_objects(world, job, modified=LONG_AGO)
    world.bucket.on_listed = lambda _key: world.jobs.append(job) if job not in world.jobs else None
    assert world.sweep() == 0
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job)}


def test_a_job_that_appears_while_the_others_are_looked_at_is_known_in_time(world: World) -> None:
    job, other = make_job("new"), make_job("other", sha="b" * 64)
    world.jobs = [other]
    add_objects(world, job, modified=LONG_AGO)

    def appear(function: Any) -> None:
        if function.__name__ == "add" and job not in world.jobs:
            world.jobs.append(job)

    world.before_blocking = appear
    assert world.sweep() == 0
    assert job in world.jobs


def test_jobs_are_looked_at_anew_for_each_part(world: World) -> None:
    thumbnail = thumbnail_of(make_job("a"))
    world.bucket.add(source_of(make_job("a")), thumbnail)

    def create(keys: list[str]) -> None:
        if keys == [source_of(make_job("a"))]:
            world.jobs.append(make_job("b"))  # equal: it may take the thumbnail that is there

    world.bucket.on_delete = create
    assert world.sweep() == 1
    assert set(world.bucket.objects) == {thumbnail}


def test_a_namespace_with_an_unreadable_job_is_left_alone(world: World) -> None:
    job = make_job("gone")
    add_objects(world, job, modified=LONG_AGO)
    key = bury(world, job)
    world.unreadable = [JobKey("team-a", "from-a-newer-version")]
    assert world.sweep() == 0
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job), key}


def test_other_namespaces_of_a_shared_bucket_are_left_alone(world: World) -> None:
    world.namespaces = ["team-a"]
    theirs = make_job("theirs", namespace="team-b")
    add_objects(world, theirs, modified=LONG_AGO)
    bury(world, theirs)
    assert world.sweep() == 0


# ---- tombstones ----------------------------------------------------------------------------------


def test_a_deletion_that_was_cut_short_is_finished_at_once(world: World) -> None:
    job = make_job("gone", ended=NOW)
    add_objects(world, job)
    key = bury(world, job, modified=NOW)
    assert world.sweep() == 3
    assert world.bucket.objects == {}
    assert world.bucket.deletions[-1] == [key]


def test_the_tombstone_goes_last(world: World) -> None:
    job = make_job("gone", ended=NOW)
    add_objects(world, job)
    key = bury(world, job)
    world.bucket.failures = [ObjectStoreUnavailable()]
    with pytest.raises(ObjectStoreUnavailable):
        world.sweep()
    assert key in world.bucket.objects
    assert world.sweep() == 3


@pytest.mark.parametrize("heard_of", ["it", "its end"])
def test_a_job_that_is_heard_of_late_keeps_its_tombstone(world: World, heard_of: str) -> None:
    """Else its deletion would count as done, while a worker that has it stores a thumbnail."""
    job = make_job("young")
    add_objects(world, job)
    key = bury(world, job, modified=NOW)

    def hear(function: Any) -> None:
        if function.__name__ == "of_job":
            world.jobs = [job] if heard_of == "it" else []
            world.held = {job.key} if heard_of == "its end" else set()

    world.before_blocking = hear
    assert world.sweep() == 0
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job), key}
    world.before_blocking = lambda _function: None
    world.jobs, world.held = [], set()
    assert world.sweep() == 3
    assert world.bucket.objects == {}


def test_a_job_whose_leftovers_wait_keeps_its_tombstone(world: World) -> None:
    """It may have left more than its tombstone names: what it rendered when it was deleted."""
    job = make_job("young")
    add_objects(world, job)
    key = bury(world, job, modified=NOW)
    janitor = world.janitor()
    janitor.job_deleted(job)
    assert asyncio.run(janitor.sweep()) == 0
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job), key}


def test_a_tombstone_takes_nothing_that_another_job_needs(world: World) -> None:
    job, equal = make_job("gone", ended=NOW), make_job("equal")
    world.jobs = [equal]
    add_objects(world, job)
    add_objects(world, equal)
    bury(world, job)
    world.sweep()
    assert set(world.bucket.objects) == {thumbnail_of(job), source_of(equal)}


def test_a_deletion_under_way_is_left_to_whoever_does_it(world: World) -> None:
    job = make_job("going", ended=NOW)
    world.jobs = [job]
    add_objects(world, job)
    bury(world, job, modified=NOW)
    assert world.sweep() == 0


def test_a_deletion_that_never_happened_is_forgotten(world: World) -> None:
    job = make_job("alive", ended=NOW)
    world.jobs = [job]
    add_objects(world, job)
    bury(world, job)
    assert world.sweep() == 1
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job)}


@pytest.mark.parametrize("data", [b"", b"{}", b"x" * (MAX_BYTES + 1)])
def test_what_is_no_tombstone_goes_after_the_grace_period(
    world: World, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world.bucket.add("tombstones/team-a/old", data=data)
    world.bucket.add("tombstones/team-a/young", data=data, modified=NOW)
    assert world.sweep() == 1
    assert set(world.bucket.objects) == {"tombstones/team-a/young"}
    assert "tombstones/team-a/old" in caplog.text


def test_a_tombstone_under_another_name_deletes_nothing(world: World) -> None:
    job = make_job("photo", ended=NOW)
    add_objects(world, job)
    data = Tombstone("team-a", "photo", "uid", (source_of(job), thumbnail_of(job)), LONG_AGO).to_bytes()
    world.bucket.add("tombstones/team-b/photo", data=data)
    world.sweep()
    assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job)}


def test_a_tombstone_that_vanishes_between_listing_and_reading_is_no_error(world: World) -> None:
    key = bury(world, make_job("gone"))
    world.bucket.on_listed = lambda listed: world.bucket.objects.pop(listed, None) and None
    assert world.sweep() == 0
    assert key not in world.bucket.objects


# ---- deleted jobs ------------------------------------------------------------------------------------


def quiet() -> OperatorSettings:
    """Settings with which only the first sweep falls into a test."""
    return OperatorSettings(sweep_interval_seconds=100_000)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Janitor]:
    janitor = world.janitor()
    task = asyncio.create_task(janitor.run())
    try:
        yield janitor
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is one of the world outside
            await asyncio.sleep(0.01)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_what_a_deleted_job_leaves_is_deleted_promptly(world: World) -> None:
    async def scenario() -> None:
        job, other = make_job("gone", ended=NOW), make_job("other", sha="b" * 64)
        world.settings, world.jobs = quiet(), [other]
        add_objects(world, job)
        add_objects(world, other)
        async with running(world) as janitor:
            key = bury(world, job, modified=NOW)
            janitor.job_deleted(job)
            await until(lambda: key not in world.bucket.objects)
            assert set(world.bucket.objects) == {source_of(other), thumbnail_of(other)}

    run(scenario())


def test_a_deleted_job_leaves_what_equal_jobs_share(world: World) -> None:
    async def scenario() -> None:
        job, equal = make_job("gone", ended=NOW), make_job("equal")
        world.settings, world.jobs = quiet(), [equal]
        add_objects(world, job)
        add_objects(world, equal)
        async with running(world) as janitor:
            janitor.job_deleted(job)
            await until(lambda: source_of(job) not in world.bucket.objects)
            assert set(world.bucket.objects) == {thumbnail_of(job), source_of(equal)}

    run(scenario())


def test_it_makes_no_difference_whether_the_job_is_forgotten_before_or_after(world: World) -> None:
    async def scenario() -> None:
        job = make_job("gone", ended=NOW)
        world.settings, world.jobs = quiet(), [job]
        add_objects(world, job)
        async with running(world) as janitor:
            janitor.job_deleted(job)
            await until(lambda: not world.bucket.objects)

    run(scenario())


def test_equal_jobs_that_are_deleted_together_leave_nothing(world: World) -> None:
    async def scenario() -> None:
        world.settings = quiet()
        jobs = [make_job(f"job-{index}", ended=NOW) for index in range(250)]
        for job in jobs:
            add_objects(world, job)
        async with running(world) as janitor:
            for job in jobs:
                janitor.job_deleted(job)
            await until(lambda: not world.bucket.objects)

    run(scenario())


def test_an_unreadable_job_delays_the_deletion_and_keeps_the_tombstone(world: World) -> None:
    async def scenario() -> None:
        job = make_job("gone", ended=NOW)
        elsewhere = make_job("elsewhere", ended=NOW, namespace="team-b")
        world.settings, world.unreadable = quiet(), [JobKey("team-a", "x")]
        add_objects(world, job)
        add_objects(world, elsewhere)
        key = bury(world, job)
        async with running(world) as janitor:
            janitor.job_deleted(job)
            janitor.job_deleted(elsewhere)
            await until(lambda: source_of(elsewhere) not in world.bucket.objects)
            await until(
                lambda: any(keys[0].startswith("tombstones/team-b") for keys in world.bucket.deletions)
            )
            assert set(world.bucket.objects) == {source_of(job), thumbnail_of(job), key}

    run(scenario())


def test_an_object_is_known_to_be_on_its_way_out(world: World) -> None:
    async def scenario() -> None:
        job = make_job("gone", ended=NOW)
        world.settings = quiet()
        add_objects(world, job)
        seen: list[bool] = []
        async with running(world) as janitor:
            world.bucket.on_delete = lambda _keys: seen.append(janitor.deleting(thumbnail_of(job)))
            janitor.job_deleted(job)
            await until(lambda: not world.bucket.objects and len(seen) == 2)
            assert seen == [True, False]  # the objects, the tombstone
            await until(lambda: not janitor.deleting(thumbnail_of(job)))

    run(scenario())


# ---- trouble ------------------------------------------------------------------------------------------


def test_deletions_wait_until_the_store_is_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        job = make_job("gone", ended=NOW)
        world.settings = quiet()
        add_objects(world, job)
        world.bucket.failures = [ObjectStoreUnavailable("secret detail")]
        async with running(world) as janitor:
            janitor.job_deleted(job)
            await until(lambda: not world.bucket.objects)
        assert not world.bucket.failures

    run(scenario())
    assert "ObjectStoreUnavailable" in caplog.text
    assert "secret detail" not in caplog.text


@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), RuntimeError("a defect")])
def test_a_sweep_that_fails_is_followed_by_another(world: World, error: Exception) -> None:
    async def scenario() -> None:
        world.settings = OperatorSettings(sweep_interval_seconds=0.05)
        add_objects(world, make_job("gone"), modified=LONG_AGO)
        world.bucket.failures = [error]
        async with running(world):
            await until(lambda: not world.bucket.objects)

    run(scenario())


def test_a_defect_in_a_deletion_does_not_end_the_janitor(world: World) -> None:
    async def scenario() -> None:
        first, second = make_job("first", ended=NOW), make_job("second", ended=NOW, sha="b" * 64)
        world.settings = quiet()
        add_objects(world, second)
        world.bucket.failures = [RuntimeError("a defect")]
        async with running(world) as janitor:
            janitor.job_deleted(first)
            await until(lambda: not world.bucket.failures)
            janitor.job_deleted(second)
            await until(lambda: not world.bucket.objects)

    run(scenario())


def test_sweeps_are_repeated(world: World) -> None:
    async def scenario() -> None:
        world.settings = OperatorSettings(sweep_interval_seconds=0.05)
        async with running(world):
            for name in ("one", "two"):
                add_objects(world, make_job(name), modified=LONG_AGO)
                await until(lambda: not world.bucket.objects)

    run(scenario())


# ---- history --------------------------------------------------------------------------------

DAY = timedelta(days=1)


def archive(world: World, job: ThumbnailJob, *, with_original: bool = False) -> None:
    """Make a job history that was one of the known jobs, or never seen."""
    world.history.put(job, with_original=with_original)
    if job in world.jobs:
        world.jobs.remove(job)


def left_of_history(world: World) -> list[str]:
    return [key for key in world.bucket.objects if key.startswith("history/")]


def test_thumbnails_that_history_refers_to_stay_and_others_go(world: World) -> None:
    old, gone = make_job("old", ended=LONG_AGO), make_job("gone", ended=LONG_AGO, sha="b" * 64)
    for job in (old, gone):
        add_objects(world, job, modified=LONG_AGO)
    archive(world, old)
    assert world.sweep() == 3
    assert thumbnail_of(old) in world.bucket.objects
    assert not {source_of(old), source_of(gone), thumbnail_of(gone)} & set(world.bucket.objects)


def test_many_thumbnails_are_compared_with_history_in_parts(world: World) -> None:
    jobs = [make_job(f"job-{number}", ended=LONG_AGO, sha=f"{number:064x}") for number in range(1_300)]
    for job in jobs:
        world.bucket.add(thumbnail_of(job))
    for job in jobs[::3]:
        archive(world, job)
    assert world.sweep() == len(jobs) - len(jobs[::3])
    assert {key for key in world.bucket.objects if key.startswith("thumbnails/")} == {
        thumbnail_of(job) for job in jobs[::3]
    }


def test_the_history_of_another_account_or_namespace_keeps_nothing(world: World) -> None:
    elsewhere = make_job("old", ended=LONG_AGO, namespace="team-b")
    archive(world, elsewhere)
    mine = make_job("old", ended=LONG_AGO)
    world.bucket.add(thumbnail_of(mine), thumbnail_of(elsewhere))
    assert world.sweep() == 1
    assert thumbnail_of(elsewhere) in world.bucket.objects


def test_originals_stay_for_their_time_also_when_their_job_is_history(world: World) -> None:
    recent = make_job("recent", ended=NOW - DAY + timedelta(minutes=1))
    past = make_job("past", ended=NOW - DAY - timedelta(minutes=1), sha="b" * 64)
    for job in (recent, past):
        add_objects(world, job, modified=LONG_AGO)
        archive(world, job, with_original=True)
    assert world.sweep() == 2  # an original, and what said that it stays
    assert source_of(recent) in world.bucket.objects
    assert source_of(past) not in world.bucket.objects
    assert len([key for key in left_of_history(world) if "/originals/" in key]) == 1


def test_history_ends_with_its_thumbnails_after_the_days_that_they_are_kept(world: World) -> None:
    world.settings = OperatorSettings(thumbnails_keep_days=30)
    old = make_job("old", ended=NOW - timedelta(days=31), batch="b")
    young = make_job("young", ended=NOW - timedelta(days=29), sha="b" * 64)
    for job in (old, young):
        add_objects(world, job, modified=LONG_AGO)
        archive(world, job)
    world.sweep()
    assert set(left_of_history(world)) == set(HistoryKeys.of(young).all()) - {HistoryKeys.of(young).original}
    assert {key for key in world.bucket.objects if key.startswith("thumbnails/")} == {thumbnail_of(young)}


def test_history_stays_for_ever_when_no_days_are_set(world: World) -> None:
    old = make_job("old", ended=LONG_AGO)
    world.bucket.add(thumbnail_of(old))
    archive(world, old)
    assert world.sweep() == 0


def test_a_place_that_leads_nowhere_goes_unless_its_job_is_becoming_history(world: World) -> None:
    world.settings = OperatorSettings(thumbnails_keep_days=30)
    dangling, moving, fresh = (make_job(name, ended=LONG_AGO) for name in ("dangling", "moving", "fresh"))
    world.jobs = [moving]
    for job in (dangling, moving):
        world.bucket.add(HistoryKeys.of(job).time)
    world.bucket.add(HistoryKeys.of(fresh).time, modified=NOW)
    world.sweep()
    assert set(left_of_history(world)) == {HistoryKeys.of(job).time for job in (moving, fresh)}


def test_history_of_a_namespace_that_is_not_ours_is_left_alone(world: World) -> None:
    world.settings = OperatorSettings(thumbnails_keep_days=30)
    world.namespaces = ["team-b"]
    job = make_job("old", ended=LONG_AGO)
    archive(world, job, with_original=True)
    before = left_of_history(world)
    assert world.sweep() == 0
    assert left_of_history(world) == before


def test_a_tombstone_of_history_takes_all_with_it(world: World) -> None:
    job = make_job("old", ended=LONG_AGO, batch="b")
    other = make_job("other", ended=LONG_AGO, batch="b")  # of the same picture
    add_objects(world, job)
    for each in (job, other):
        archive(world, each, with_original=True)
    entry = HistoryKeys.of(job).all()
    bury(world, job, more=entry)
    world.history.hide(job)
    world.sweep()
    assert not {*entry, source_of(job)} & set(world.bucket.objects)
    assert not any(key.startswith("tombstones/") for key in world.bucket.objects)
    assert thumbnail_of(job) in world.bucket.objects
    bury(world, other, more=HistoryKeys.of(other).all())
    world.sweep()
    assert thumbnail_of(job) not in world.bucket.objects
    assert left_of_history(world) == []


def test_a_tombstone_leaves_the_history_of_a_later_job_of_that_name(world: World) -> None:
    old, new = make_job("one", ended=LONG_AGO), replace(make_job("one", ended=NOW), uid="uid-new")
    archive(world, new)
    bury(world, old, more=HistoryKeys.of(old).all())
    world.sweep()
    assert world.history.get("team-a", "default", "one") == new


def test_a_tombstone_may_not_speak_of_the_history_of_another_namespace(world: World) -> None:
    other = make_job("other", ended=LONG_AGO, namespace="team-b")
    archive(world, other)
    before = left_of_history(world)
    bury(world, make_job("gone"), more=before)
    world.sweep()
    assert left_of_history(world) == before


def test_what_a_deleted_job_leaves_stays_when_history_refers_to_it(world: World) -> None:
    old, deleted = make_job("old", ended=LONG_AGO), make_job("deleted", ended=NOW)
    archive(world, old)
    add_objects(world, deleted)

    async def scenario() -> None:
        async with running(world) as janitor:
            janitor.job_deleted(deleted)
            await until(lambda: source_of(deleted) not in world.bucket.objects)

    run(scenario())
    assert thumbnail_of(deleted) in world.bucket.objects


def test_a_job_that_comes_and_becomes_history_during_a_sweep_keeps_its_thumbnail(world: World) -> None:
    job = make_job("quick", ended=NOW)
    world.bucket.add(thumbnail_of(job))
    janitor = world.janitor()

    def come_and_go() -> None:
        archive(world, job)
        janitor.job_kept(job)

    def before(function: Any) -> None:
        if function.__name__ == "held_thumbnails":  # whose answer does not know of it
            world.after_blocking = come_and_go

    world.before_blocking = before
    asyncio.run(janitor.sweep())
    assert left_of_history(world)
    assert thumbnail_of(job) in world.bucket.objects


def test_the_deletion_of_a_job_of_history_does_not_wait_for_the_next_sweep(world: World) -> None:
    world.settings = OperatorSettings(sweep_interval_seconds=1_000_000, tombstone_seconds=0.05)
    job = make_job("old", ended=LONG_AGO)

    async def scenario() -> None:
        async with running(world):
            await asyncio.sleep(0.2)  # the first sweep has been
            world.bucket.add(thumbnail_of(job), modified=NOW)
            world.history.put(job, with_original=False)
            bury(world, job, more=HistoryKeys.of(job).all(), modified=NOW)
            await until(lambda: not world.bucket.objects)

    run(scenario())
