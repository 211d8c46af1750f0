"""The erasure of an account: what goes, what stays, when it is done, and what a crash in between leaves."""

import asyncio
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import pytest

from thumbnails_common.erasure import Erasure
from thumbnails_common.objectstore import NoSuchObject, ObjectFacts
from thumbnails_common.tombstone import Tombstone
from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import account_prefixes, source_key
from thumbnails_contract.spec import Spec
from thumbnails_contract.status import Status
from thumbnails_operator.counts import Counts
from thumbnails_operator.eraser import SURE_SECONDS, Eraser
from thumbnails_operator.informer import Owned
from thumbnails_operator.settings import OperatorSettings

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SHA, RECIPE = "a" * 64, "b" * 32
RUNNING, DONE = "erasures/running/team-a/shop", "erasures/done/team-a/shop"
LEAST_SECONDS = 15.0


@dataclass
class Bucket:
    """An object store in memory."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)  # raised by the next calls that change something

    def list(self, prefix: str) -> Iterator[ObjectFacts]:
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            yield ObjectFacts(key, "etag", 0, NOW)

    def get(self, key: str) -> io.BytesIO:
        if key not in self.objects:
            raise NoSuchObject
        return io.BytesIO(self.objects[key])

    def put(self, key: str, data: BinaryIO, length: int, *, content_type: str, only_if_absent: bool) -> str:
        assert not only_if_absent, "an erasure that came to its end again takes the place of the last one"
        if self.failures:
            raise self.failures.pop(0)
        self.objects[key] = data.read(length)
        return content_type

    def delete(self, keys: Iterable[str]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        for key in list(keys):
            self.objects.pop(key, None)


@dataclass
class World:
    """A bucket, jobs, and the eraser between them; it is also the Cleaner."""

    bucket: Bucket = field(default_factory=Bucket)
    jobs: list[ThumbnailJob] = field(default_factory=list)
    held: set[JobKey] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)
    namespaces: list[str] | None = None
    now: float = 0.0
    removed: list[str] = field(default_factory=list)

    async def remove(self, keys: Sequence[str]) -> None:
        self.removed += keys
        self.bucket.delete(keys)

    async def delete_job(self, job: Owned) -> None:
        self.jobs = [each for each in self.jobs if each.key != job.key]

    async def run_blocking(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)

    def eraser(self) -> Eraser:
        objects: Any = self.bucket
        return Eraser(
            objects,
            self,
            lambda: [Owned(job.key, job.uid, job.spec.account) for job in self.jobs],
            self.delete_job,
            lambda: frozenset(self.held),
            OperatorSettings(erasure_seconds=LEAST_SECONDS),
            self.counts,
            self.run_blocking,
            clock=lambda: NOW,
            monotonic=lambda: self.now,
            namespaces=self.namespaces,
        )

    def ask(self, namespace: str = "team-a", account: str = "shop") -> None:
        erasure = Erasure(namespace, account, f"id-{account}", NOW)
        self.bucket.objects[erasure.key] = erasure.to_bytes()

    def fill(self, namespace: str, account: str, name: str) -> ThumbnailJob:
        """A job, with everything that may be kept of it."""
        source = source_key(namespace, account, SHA, name)
        spec = Spec(object_key=source, account=account)
        job = ThumbnailJob(JobKey(namespace, name), f"uid-{name}", "1", 1, NOW, spec, Status())
        self.jobs.append(job)
        tombstone = Tombstone(namespace, f"{name}-before", "uid", (source,), NOW, account)
        self.bucket.objects |= {
            f"{prefix}{SHA}/{name}": b"x" for prefix in account_prefixes(namespace, account)
        } | {
            f"tombstones/{namespace}/{name}-before": tombstone.to_bytes(),
        }
        return job


@pytest.fixture
def world() -> World:
    return World()


def is_of_shop(key: str) -> bool:
    mine = (*account_prefixes("team-a", "shop"), "tombstones/team-a/one", "tombstones/team-a/two")
    return key.startswith(mine)


def look(eraser: Eraser) -> int:
    return asyncio.run(eraser.look())


def finish(world: World, eraser: Eraser) -> None:
    """Let it come to its end."""
    for _ in range(4):
        look(eraser)
        world.now += LEAST_SECONDS
    assert RUNNING not in world.bucket.objects


def test_everything_of_the_account_goes_and_nothing_else(world: World) -> None:
    for name in ("one", "two"):
        world.fill("team-a", "shop", name)
    theirs = [world.fill("team-a", "rival", "three"), world.fill("team-b", "shop", "four")]
    kept = {key: data for key, data in world.bucket.objects.items() if not is_of_shop(key)}
    world.ask()
    eraser = world.eraser()
    finish(world, eraser)
    assert world.jobs == theirs
    done = Erasure.parse(world.bucket.objects.pop(DONE))
    assert world.bucket.objects == kept
    assert (done.finished_at, done.jobs, done.objects) == (NOW, 2, 10)
    assert world.counts.value("erased_accounts_total") == 1
    assert world.counts.value("erased_objects_total") == 10
    assert look(eraser) == 0


def test_what_somebody_else_has_put_under_sources_stays(world: World) -> None:
    world.bucket.objects |= {"sources/team-a/shop/by-hand.jpg": b"x", "sources/team-a/shop/2026/a.jpg": b"x"}
    world.ask()
    finish(world, world.eraser())
    assert len(list(world.bucket.list("sources/"))) == 2


def test_it_is_done_when_nothing_was_found_for_a_while(world: World) -> None:
    world.ask()
    eraser = world.eraser()
    assert look(eraser) == 1
    world.now = LEAST_SECONDS - 1
    assert look(eraser) == 1  # an upload may be under way from before
    late = world.fill("team-a", "shop", "late")
    world.now = LEAST_SECONDS
    assert look(eraser) == 1
    assert late not in world.jobs
    world.now += 1
    assert look(eraser) == 1
    world.now += SURE_SECONDS - 0.1
    assert look(eraser) == 1
    world.now += 0.2
    assert look(eraser) == 0
    assert Erasure.parse(world.bucket.objects[DONE]).jobs == 1


def test_it_waits_for_workers_that_hold_something_of_a_job_that_is_gone(world: World) -> None:
    world.ask()
    eraser = world.eraser()
    cancelled = world.fill("team-a", "rival", "cancelled")
    world.held = {JobKey("team-a", "gone"), cancelled.key, JobKey("team-b", "gone")}
    for _ in range(3):
        assert look(eraser) == 1
        world.now += LEAST_SECONDS
    world.held.remove(JobKey("team-a", "gone"))
    assert look(eraser) == 1
    world.now += SURE_SECONDS
    assert look(eraser) == 0


@pytest.mark.parametrize("calls", range(4))
def test_whatever_fails_it_is_gone_on_with(world: World, calls: int) -> None:
    """The object store fails at one call, and then another operator leads."""
    world.fill("team-a", "shop", "one")
    world.ask()
    eraser = world.eraser()
    for _ in range(calls):
        world.bucket.failures.append(ObjectStoreUnavailable())
    for _ in range(10):
        try:
            look(eraser)
        except ObjectStoreUnavailable:
            eraser = world.eraser()
        world.now += LEAST_SECONDS
    assert Erasure.parse(world.bucket.objects[DONE]).finished_at == NOW
    assert set(world.bucket.objects) == {DONE}
    assert world.jobs == []


def test_one_that_ended_between_its_two_writes_ends_again(world: World) -> None:
    world.ask()
    world.bucket.objects[DONE] = b"of the operator that died then"
    finish(world, world.eraser())
    assert Erasure.parse(world.bucket.objects[DONE]).id == "id-shop"


def test_several_go_on_side_by_side(world: World) -> None:
    world.fill("team-a", "shop", "one")
    world.fill("team-a", "rival", "two")
    world.ask()
    world.ask(account="rival")
    eraser = world.eraser()
    assert look(eraser) == 2
    assert world.jobs == []


def test_namespaces_of_others_are_left_alone(world: World) -> None:
    world.namespaces = ["team-b"]
    world.fill("team-a", "shop", "one")
    world.ask()
    assert look(world.eraser()) == 0
    assert world.removed == []


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (RUNNING, b"no erasure"),
        (RUNNING, Erasure("team-a", "rival", "id", NOW).to_bytes()),
        ("erasures/running/team-a/../x", Erasure("team-a", "shop", "id", NOW).to_bytes()),
    ],
)
def test_what_is_no_erasure_erases_nothing(world: World, key: str, data: bytes) -> None:
    world.fill("team-a", "shop", "one")
    world.fill("team-a", "rival", "two")
    world.bucket.objects[key] = data
    assert look(world.eraser()) == 0
    assert (len(world.jobs), world.removed) == (2, [])
