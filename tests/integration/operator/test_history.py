"""A finished job past its TTL: it becomes history, then it is deleted, whatever happens in between."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_contract.errors import ObjectStoreUnavailable
from thumbnails_contract.history import HistoryKeys
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Batch, Webhook

# Of a job of a batch, with one thumbnail, whose original is still to be kept.
PUTS = 5


def history(world: Any) -> list[str]:
    return sorted(key for key in world.objects.objects if key.startswith("history/"))


def kept(world: Any, name: str) -> ThumbnailJob:
    return ThumbnailJob.parse(json.loads(world.objects.contents[f"history/thumbnails/default/jobs/{name}"]))


def upload(world: Any, name: str = "one", **spec: Any) -> None:
    world.upload(name, ttl_seconds_after_finished=0, batch=Batch("b", 0, 1), **spec)


class Watched:
    """Which jobs the controller says are gone, and how."""

    def __init__(self, world: Any) -> None:
        self.deleted: list[str] = []
        self.kept: list[str] = []
        world.controller.on_job_gone(
            deleted=lambda job: self.deleted.append(job.key.name),
            kept=lambda job: self.kept.append(job.key.name),
        )


async def test_a_job_is_history_before_it_is_deleted(operator: Any) -> None:
    async with operator() as world:
        watched = Watched(world)
        there: list[bool] = []
        world.objects.on_put = lambda _key: there.append(("thumbnails", "one") in world.store.documents)
        upload(world)
        await world.until(lambda: not world.phases())
        assert there == [True] * PUTS
        job = kept(world, "one")
        assert (job.key.name, job.status.phase, job.spec.batch) == ("one", "Succeeded", Batch("b", 0, 1))
        assert history(world) == sorted(HistoryKeys.of(job).all())
        # The document makes the entry, so it comes last.
        assert world.objects.puts[-1] == HistoryKeys.of(job).document
        await world.until(lambda: watched.kept == ["one"])
        assert watched.deleted == []
        assert world.controller.counts.value("jobs_archived_total") == 1
        assert world.controller.counts.value("jobs_deleted_total") == 1


async def test_history_has_how_the_webhook_ended(operator: Any) -> None:
    async with operator() as world:
        upload(world, webhook=Webhook("https://example.com/hook"))
        await world.until(lambda: not world.phases())
        condition = kept(world, "one").status.condition("WebhookDelivered")
        assert condition is not None
        assert condition.status


async def test_failed_and_cancelled_jobs_are_history_too(operator: Any) -> None:
    async with operator() as world:
        world.behaviour = world.failing("CorruptSource")
        upload(world, "broken")
        upload(world, "unwanted", cancel=True)
        await world.until(lambda: not world.phases())
        assert kept(world, "broken").status.phase == "Failed"
        assert kept(world, "unwanted").status.phase == "Cancelled"


async def test_an_original_that_need_not_be_kept_is_not_referred_to(operator: Any) -> None:
    async with operator(source_retention_seconds=0) as world:
        upload(world)
        await world.until(lambda: not world.phases())
        assert not any("/originals/" in key for key in history(world))


async def test_a_job_that_has_been_kept_long_enough_is_deleted_without_history(operator: Any) -> None:
    async with operator(thumbnails_keep_days=1e-9) as world:
        watched = Watched(world)
        upload(world)
        await world.until(lambda: not world.phases())
        await world.until(lambda: watched.deleted == ["one"])
        assert history(world) == []


@pytest.mark.parametrize("written", range(PUTS))
async def test_a_crash_before_all_is_written_loses_nothing(operator: Any, written: int) -> None:
    async with operator() as world:
        refused = refuse_after(world, written)
        upload(world)
        await world.until(lambda: refused)
        await world.kill()
        assert ("thumbnails", "one") in world.store.documents
        world.objects.on_put = lambda _key: None
        await world.start()
        await world.until(lambda: not world.phases())
        assert history(world) == sorted(HistoryKeys.of(kept(world, "one")).all())


async def test_a_crash_before_the_deletion_makes_nothing_twice(operator: Any) -> None:
    async with operator() as world:
        world.store.deletions_fail = True
        upload(world)
        await world.until(lambda: len(world.objects.puts) >= PUTS)
        await world.kill()
        before = history(world)
        assert ("thumbnails", "one") in world.store.documents
        world.store.deletions_fail = False
        await world.start()
        await world.until(lambda: not world.phases())
        assert history(world) == before == sorted(HistoryKeys.of(kept(world, "one")).all())


async def test_an_object_store_that_is_away_for_a_while_delays_it(operator: Any) -> None:
    async with operator() as world:
        refused = refuse_after(world, 1)
        upload(world)
        await world.until(lambda: len(refused) >= 2)
        world.objects.on_put = lambda _key: None
        await world.until(lambda: not world.phases())
        assert history(world) == sorted(HistoryKeys.of(kept(world, "one")).all())


async def test_a_job_that_is_deleted_before_all_is_written_leaves_nothing(operator: Any) -> None:
    async with operator() as world:
        refused = refuse_after(world, 2)
        upload(world)
        await world.until(lambda: refused)
        world.store.delete("thumbnails", "one")
        world.objects.on_put = lambda _key: None
        await world.until(lambda: not history(world))


async def test_a_job_that_changes_meanwhile_is_history_as_it_was_last(operator: Any) -> None:
    async with operator() as world:
        touched: list[str] = []

        def touch(key: str) -> None:
            if not touched:
                touched.append(key)
                world.touch("one")

        world.objects.on_put = touch
        upload(world)
        await world.until(lambda: not world.phases())
        assert "touched" in kept(world, "one").annotations


async def test_an_equal_job_is_still_cached_afterwards(operator: Any) -> None:
    async with operator() as world:
        upload(world, "one", content="the same")
        await world.until(lambda: not world.phases())
        world.upload("two", content="the same")
        await world.until_all_end()
        condition = world.job("two").status.condition("Complete")
        assert condition is not None
        assert condition.reason == "Cached"
        assert world.rendered == ["one"]


def refuse_after(world: Any, written: int) -> list[str]:
    """From then on the object store takes nothing; what it has refused."""
    refused: list[str] = []
    count = [0]

    def on_put(key: str) -> None:
        count[0] += 1
        if count[0] > written:
            refused.append(key)
            raise ObjectStoreUnavailable

    hook: Callable[[str], None] = on_put
    world.objects.on_put = hook
    return refused
