"""The operator as a whole: jobs go in, workers come and take them over HTTP, statuses come out."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thumbnails_common.objectstore import ObjectFacts
from thumbnails_contract.keys import RENDERER_VERSION
from thumbnails_contract.spec import Batch, BatchWebhooks, Format, Output, Priority, Webhook
from thumbnails_contract.status import ConditionType
from thumbnails_contract.wire import Poll, Result, WorkRequest
from thumbnails_operator.lease import WorkerKey
from thumbnails_operator.ports import WorkerIdentity
from thumbnails_operator.webhook import DeliveryResult


async def test_a_job_is_rendered_with_two_status_writes(operator: Any) -> None:
    async with operator() as world:

        async def once_started(worker: Any, item: Any) -> Result:
            await world.until(lambda: world.phases()["one"] == "Running")
            result: Result = world.render(worker, item)
            return result

        world.behaviour = once_started
        world.upload("one")
        await world.until_all_end()
        await asyncio.sleep(0.3)  # whatever else would be written
        job = world.job("one")
        assert len(world.store.status_writes) == 2
        assert job.status.phase == "Succeeded"
        complete = job.status.condition(ConditionType.COMPLETE)
        assert complete is not None
        assert complete.reason == "Rendered"
        assert job.status.observed_generation == 1
        assert [(each.name, each.width, each.height) for each in job.status.outputs] == [
            ("default", 100, 100)
        ]
        assert job.status.source is not None
        assert job.status.source.width == 640
        assert job.status.worker_job is not None
        assert job.status.worker_job.startswith("thumbnails-worker-")
        assert job.status.start_time is not None
        assert job.status.completion_time is not None
        assert job.status.attempts == 1
        await world.until(lambda: world.events.events == [("one", "Completed")])


async def test_many_jobs_of_many_accounts_all_end(operator: Any) -> None:
    async with operator(max_workers=3) as world:
        for index in range(150):
            world.upload(f"job-{index:03}", account=f"account-{index % 5}")
        await world.until_all_end(60)
        assert set(world.phases().values()) == {"Succeeded"}
        assert sorted(world.rendered) == sorted(world.phases())
        assert world.executor.most <= 3


async def test_a_worker_serves_one_namespace(operator: Any) -> None:
    async with operator(max_workers=2) as world:
        seen = []

        def behave(worker: Any, item: Any) -> Result:
            seen.append((worker.namespace, item.namespace))
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        for index in range(10):
            world.upload(f"a-{index}", namespace="red")
            world.upload(f"b-{index}", namespace="blue")
        await world.until_all_end()
        assert all(own == other for own, other in seen)
        assert {own for own, _ in seen} == {"red", "blue"}


async def test_more_namespaces_than_places_all_get_their_turn(operator: Any) -> None:
    async with operator(max_workers=1, turn_seconds=0.2) as world:
        for namespace in ("red", "green", "blue"):
            world.upload(f"job-{namespace}", namespace=namespace)
        await world.until_all_end()
        assert world.executor.most == 1


async def test_an_equal_job_later_is_cached_without_a_worker(operator: Any) -> None:
    async with operator() as world:
        world.upload("first", "same picture")
        await world.until_all_end()
        assert world.objects.heads == []  # nothing of that picture was known: nobody asks
        world.upload("second", "same picture")
        await world.until_all_end()
        assert world.rendered == ["first"]
        first, second = world.job("first").status, world.job("second").status
        complete = second.condition(ConditionType.COMPLETE)
        assert complete is not None
        assert complete.reason == "Cached"
        assert second.outputs == first.outputs
        assert second.source == first.source
        assert len(world.objects.heads) == 1


async def test_equal_jobs_at_once_are_rendered_once(operator: Any) -> None:
    async with operator() as world:
        for index in range(20):
            world.upload(f"job-{index:02}", "same picture")
        await world.until_all_end()
        assert set(world.phases().values()) == {"Succeeded"}
        assert len(world.rendered) == 1


async def test_an_equal_job_goes_on_when_the_one_it_waited_for_is_deleted(operator: Any) -> None:
    async with operator(waiting_notice_seconds=0.05) as world:
        world.behaviour = world.never
        world.upload("first", "same picture")
        await world.until(lambda: world.phases()["first"] == "Running")
        world.upload("second", "same picture")
        await world.until(lambda: world.started_reason("second") == "WaitingForEqualJob")
        world.behaviour = world.render
        world.store.delete("thumbnails", "first")
        await world.until(lambda: world.phases() == {"second": "Succeeded"})


async def test_only_what_is_not_cached_is_rendered(operator: Any) -> None:
    async with operator() as world:
        small = Output(name="small", width=10, height=10, formats=(Format.JPEG,))
        large = Output(name="large", width=90, height=90, formats=(Format.JPEG,))
        asked = []

        def behave(worker: Any, item: Any) -> Result:
            asked.append([each.output.name for each in item.outputs])
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        world.upload("first", "same picture", outputs=(small,))
        await world.until_all_end()
        world.upload("second", "same picture", outputs=(small, large))
        await world.until_all_end()
        assert asked == [["small"], ["large"]]
        assert [each.name for each in world.job("second").status.outputs] == ["small", "large"]


async def test_outputs_that_differ_in_name_alone_are_made_once(operator: Any) -> None:
    async with operator() as world:
        outputs = (Output(name="a", width=10), Output(name="b", width=10))
        world.upload("one", outputs=outputs)
        await world.until_all_end()
        made = world.job("one").status.outputs
        assert [each.name for each in made] == ["a", "b"]
        assert made[0].object_key == made[1].object_key


async def test_a_cached_thumbnail_that_is_gone_is_rendered_again(operator: Any) -> None:
    async with operator() as world:
        world.upload("first", "same picture")
        await world.until_all_end()
        world.objects.objects.clear()
        world.upload("second", "same picture")
        await world.until_all_end()
        assert world.rendered == ["first", "second"]


async def test_a_cached_thumbnail_that_is_being_deleted_is_rendered_again_afterwards(operator: Any) -> None:
    async with operator() as world:
        world.upload("first", "same picture")
        await world.until_all_end()
        world.deleting.update(world.objects.objects)
        world.upload("second", "same picture")
        await asyncio.sleep(0.5)  # in which it would be found, or rendered into the deletion
        assert world.phases()["second"] == "Pending"
        assert world.rendered == ["first"]
        world.objects.objects.clear()
        world.deleting.clear()
        await world.until_all_end()
        assert world.rendered == ["first", "second"]


async def test_a_deletion_that_begins_during_the_look_up_is_seen(operator: Any) -> None:
    async with operator() as world:
        world.upload("first", "same picture")
        await world.until_all_end()
        head = world.objects.head

        def head_and_delete(key: str) -> Any:
            facts = head(key)
            world.deleting.add(key)
            return facts

        world.objects.head = head_and_delete
        world.upload("second", "same picture")
        await world.until(lambda: world.deleting)
        await asyncio.sleep(0.3)  # in which it would be taken for a hit
        assert world.phases()["second"] == "Pending"
        world.objects.objects.clear()
        world.deleting.clear()
        await world.until_all_end()
        assert world.rendered == ["first", "second"]


@pytest.mark.parametrize(
    ("object_key", "reason"),
    [
        ("sources/elsewhere/default/picture", "ForbiddenSource"),
        ("sources/thumbnails/../elsewhere/picture", "ForbiddenSource"),
        ("sources/thumbnails/default/not-there", "SourceNotFound"),
    ],
)
async def test_a_source_that_may_not_be_or_is_not_there(operator: Any, object_key: str, reason: str) -> None:
    async with operator() as world:
        world.upload("one", object_key=object_key)
        await world.until_all_end()
        error = world.job("one").status.error
        assert error is not None
        assert error.reason == reason
        assert world.executor.manifests == []
        await world.until(lambda: world.events.events == [("one", "Failed")])


async def test_an_output_over_the_limit_fails_before_any_work(operator: Any) -> None:
    async with operator() as world:
        world.upload("one", outputs=(Output(name="huge", width=9000),))
        await world.until_all_end()
        error = world.job("one").status.error
        assert error is not None
        assert error.reason == "OutputTooLarge"
        assert "huge" in error.message
        assert world.executor.manifests == []


async def test_an_object_that_somebody_else_put_there(operator: Any) -> None:
    async with operator() as world:
        key = "sources/thumbnails/default/by-hand.jpg"
        world.objects.objects[key] = ObjectFacts(key, "an-etag", 5, datetime.now(UTC))
        world.upload("one", object_key=key)
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_an_object_store_that_is_away_is_said_and_waited_for(operator: Any) -> None:
    async with operator() as world:
        world.objects.unavailable = True
        key = "sources/thumbnails/default/by-hand.jpg"
        world.upload("one", object_key=key)
        await world.until(lambda: world.started_reason("one") == "ObjectStoreUnavailable")
        world.objects.unavailable = False
        await world.until_all_end()
        error = world.job("one").status.error
        assert error is not None
        assert error.reason == "SourceNotFound"


async def test_a_worker_that_cannot_reach_the_object_store_costs_no_attempt(operator: Any) -> None:
    async with operator(max_attempts=1) as world:
        world.behaviour = world.failing("ObjectStoreUnavailable", retry=True)
        world.upload("one")
        await world.until(lambda: world.started_reason("one") == "ObjectStoreUnavailable")
        assert world.job("one").status.phase == "Pending"
        world.behaviour = world.render
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_a_store_that_cannot_sign_for_now_loses_nothing(operator: Any) -> None:
    async with operator() as world:
        world.objects.signing_fails = True
        world.upload("one")
        await world.until(lambda: world.started_reason("one") == "ObjectStoreUnavailable")
        world.objects.signing_fails = False
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_a_broken_picture_fails_at_once_with_its_reason(operator: Any) -> None:
    async with operator() as world:
        world.behaviour = world.failing("CorruptSource")
        world.upload("one")
        await world.until_all_end()
        status = world.job("one").status
        assert status.error is not None
        assert status.error.reason == "CorruptSource"
        assert status.attempts == 1
        failed = status.condition(ConditionType.FAILED)
        assert failed is not None
        assert failed.reason == "CorruptSource"


async def test_a_picture_that_kills_renderers_ends_after_max_attempts(operator: Any) -> None:
    async with operator(max_attempts=3) as world:

        def behave(worker: Any, item: Any) -> Result:
            if item.job_name != "poison":
                result: Result = world.render(worker, item)
                return result
            failure: Result = world.failing("WorkerCrashed", retry=True)(worker, item)
            return failure

        world.behaviour = behave
        world.upload("poison")
        for index in range(10):
            world.upload(f"good-{index}")
        await world.until_all_end()
        phases = world.phases()
        assert phases.pop("poison") == "Failed"
        assert set(phases.values()) == {"Succeeded"}
        status = world.job("poison").status
        assert status.attempts == 3
        assert status.error is not None
        assert status.error.reason == "WorkerCrashed"


@pytest.mark.parametrize(("death", "reason"), [("Error", "WorkerCrashed"), ("OOMKilled", "OutOfMemory")])
async def test_a_picture_that_kills_whole_workers_costs_one_job(
    operator: Any, death: str, reason: str
) -> None:
    async with operator(max_attempts=2) as world:
        alone = []

        async def behave(worker: Any, item: Any) -> Result | None:
            if item.job_name == "poison":
                await asyncio.sleep(0.05)  # until others are held beside it
                alone.append(len(worker.holding) == 1)
                world.executor.kill(worker, death)
                return None
            await asyncio.sleep(0.01)
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        world.upload("poison")
        for index in range(12):
            world.upload(f"good-{index}")
        await world.until_all_end()
        phases = world.phases()
        assert phases.pop("poison") == "Failed"
        assert set(phases.values()) == {"Succeeded"}
        error = world.job("poison").status.error
        assert error is not None
        assert error.reason == reason
        assert alone[-1]


async def test_a_worker_that_is_disrupted_costs_no_attempt(operator: Any) -> None:
    async with operator(max_attempts=1) as world:
        world.behaviour = world.never
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        world.behaviour = world.render
        world.executor.kill(world.executor.live()[0], "Evicted")
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_a_worker_that_goes_silent_is_lost_and_deleted(operator: Any) -> None:
    async with operator(lease_seconds=0.5) as world:
        world.behaviour = world.never
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        silent = world.executor.live()[0]
        world.behaviour = world.render
        silent.task.cancel()
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"
        assert silent.name in world.executor.deleted


async def test_cancel_ends_a_running_job_and_its_work(operator: Any) -> None:
    async with operator(max_workers=1) as world:
        world.behaviour = world.never
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        worker = world.executor.live()[0]
        await world.until(lambda: worker.polls >= 2)
        world.behaviour = world.render
        world.store.patch_spec("thumbnails", "one", {"cancel": True})
        await world.until(lambda: world.phases()["one"] == "Cancelled")
        await world.until(lambda: worker.dropped)
        world.upload("two")
        await world.until_all_end()
        assert world.phases() == {"one": "Cancelled", "two": "Succeeded"}
        await world.until(lambda: ("one", "Cancelled") in world.events.events)


async def test_a_full_worker_is_told_at_once_what_to_drop(operator: Any) -> None:
    async with operator(max_workers=1) as world:
        world.behaviour = world.never
        world.executor.capacity = 1
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        worker = world.executor.live()[0]
        await world.until(lambda: worker.polls >= 2)
        world.store.patch_spec("thumbnails", "one", {"cancel": True})
        await world.until(lambda: worker.dropped)


async def test_the_answer_to_a_delivery_says_what_to_drop(operator: Any) -> None:
    async with operator() as world:
        world.executor.stuck = "Unschedulable"
        worker = WorkerIdentity("thumbnails", "by-hand", "uid")
        world.upload("one")
        poll = WorkRequest(RENDERER_VERSION, poll=Poll(1, (), 25.0))
        (item,) = (await world.controller.work(worker, poll)).items
        delivery = WorkRequest(RENDERER_VERSION)
        assert (await world.controller.work(worker, delivery)).drop == ()
        world.store.patch_spec("thumbnails", "one", {"cancel": True})
        await world.until(lambda: world.phases()["one"] == "Cancelled")
        assert (await world.controller.work(worker, delivery)).drop == (item.lease,)


async def test_a_poll_that_brings_results_and_has_no_room_is_answered_at_once(operator: Any) -> None:
    async with operator() as world:
        world.executor.stuck = "Unschedulable"
        worker = WorkerIdentity("thumbnails", "by-hand", "uid")
        world.upload("one")
        (item,) = (
            await world.controller.work(worker, WorkRequest(RENDERER_VERSION, poll=Poll(1, (), 25.0)))
        ).items
        result = world.render(world.executor, item)
        full = WorkRequest(RENDERER_VERSION, (result,), Poll(0, (item.lease,), 3600.0))
        answer = await asyncio.wait_for(world.controller.work(worker, full), 25)
        assert (answer.items, answer.stop) == ((), False)
        await world.until(lambda: world.phases()["one"] == "Succeeded")


async def test_a_suspended_job_waits_and_goes_on(operator: Any) -> None:
    async with operator() as world:
        world.upload("one", suspend=True)
        await world.until(lambda: world.started_reason("one") == "Suspended")
        assert world.executor.manifests == []
        world.store.patch_spec("thumbnails", "one", {"suspend": False})
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_suspending_a_running_job_takes_it_from_its_worker_without_an_attempt(operator: Any) -> None:
    async with operator(max_attempts=1) as world:
        world.behaviour = world.never
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        worker = world.executor.live()[0]
        world.store.patch_spec("thumbnails", "one", {"suspend": True})
        await world.until(lambda: worker.dropped)
        await world.until(lambda: world.started_reason("one") == "Suspended")
        world.behaviour = world.render
        world.store.patch_spec("thumbnails", "one", {"suspend": False})
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"
        assert world.job("one").status.attempts == 1


async def test_a_restarted_operator_leaves_running_work_where_it_is(operator: Any) -> None:
    async with operator(adoption_grace_seconds=30.0) as world:
        go = asyncio.Event()

        async def behave(worker: Any, item: Any) -> Result:
            await go.wait()
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        await world.restart()
        await world.until(
            lambda: [entry.state.name for entry in world.controller._dispatcher.entries()] == ["LEASED"]
        )
        go.set()
        await world.until_all_end()
        assert world.rendered == ["one"]
        assert world.job("one").status.attempts == 1


async def test_a_job_that_ran_is_kept_for_its_worker_for_a_while(operator: Any) -> None:
    async with operator(min_workers=2, adoption_grace_seconds=60.0) as world:
        go = asyncio.Event()

        async def behave(worker: Any, item: Any) -> Result:
            await go.wait()
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        await world.until(lambda: len(world.executor.live()) == 2)
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        owner, other = sorted(world.executor.live(), key=lambda worker: not worker.holding)
        owner.may_poll.clear()
        polls = other.polls
        await world.restart()
        await world.until(lambda: other.polls > polls and world.controller._desk._parked)
        assert not other.holding
        owner.may_poll.set()
        await world.until(lambda: world.controller._dispatcher.holds(WorkerKey(owner.namespace, owner.name)))
        go.set()
        await world.until_all_end()
        assert world.rendered == ["one"]


async def test_restarts_in_the_middle_of_a_burst_lose_nothing(operator: Any) -> None:
    async with operator(max_workers=2) as world:

        async def behave(worker: Any, item: Any) -> Result:
            await asyncio.sleep(0.005)
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        for round_ in range(4):
            for index in range(30):
                world.upload(f"job-{round_}-{index:02}")
            await asyncio.sleep(0.1)
            await world.restart()
        await world.until_all_end(60)
        assert set(world.phases().values()) == {"Succeeded"}


async def test_attempts_survive_a_restart(operator: Any) -> None:
    async with operator(max_attempts=2) as world:
        gate = asyncio.Event()

        async def behave(worker: Any, item: Any) -> Result:
            if item.lease.split("/")[3] == "2":
                await gate.wait()
            result: Result = world.failing("WorkerCrashed", retry=True)(worker, item)
            return result

        world.behaviour = behave
        world.upload("one")
        await world.until(lambda: world.job("one").status.attempts == 1)
        await world.restart()
        gate.set()
        await world.until_all_end()
        assert world.job("one").status.attempts == 2


async def test_conflicting_writes_are_decided_anew(operator: Any) -> None:
    async with operator() as world:
        world.store.conflicts_to_inject = 7
        for index in range(5):
            world.upload(f"job-{index}")
        await world.until_all_end()
        assert set(world.phases().values()) == {"Succeeded"}
        assert world.controller.counts.value("status_conflicts_total") >= 7


async def test_what_happens_is_counted(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook", max_attempts=2) as world:
        world.sender.answers = [DeliveryResult(500)]
        world.upload("one", "same")
        await world.until_all_end()
        world.upload("two", "same")
        world.upload("three", cancel=True)
        await world.until_all_end()
        world.behaviour = world.failing("WorkerCrashed", retry=True)
        world.upload("four")
        await world.until_all_end()
        value = world.controller.counts.value
        await world.until(lambda: value("webhook_attempts_total", result="Delivered") == 3)
        for phase, reason in (
            ("Succeeded", "Rendered"),
            ("Succeeded", "Cached"),
            ("Cancelled", "Cancelled"),
            ("Failed", "WorkerCrashed"),
        ):
            assert value("jobs_finished_total", phase=phase, reason=reason) == 1, reason
        assert value("job_duration_seconds_count", phase="Succeeded") == 2
        assert value("jobs_handed_out_total") == 3
        assert value("job_wait_seconds_count") == 2  # once for each job that a worker got
        assert value("attempts_failed_total", reason="WorkerCrashed") == 2
        assert value("render_duration_seconds_count", format="jpeg") == 1
        assert value("webhook_attempts_total", result="DeliveryRetrying") == 1
        assert value("webhook_duration_seconds_count") == 4


async def test_a_conflict_is_cured_without_the_watch(operator: Any) -> None:
    async with operator() as world:
        world.upload("one", suspend=True)
        await world.until(lambda: world.started_reason("one") == "Suspended")
        document = world.store.patch_spec("thumbnails", "one", {"suspend": False})
        world.store.listener = None
        world.store.conflicts_to_inject = 1
        world.controller.job_changed("MODIFIED", document)
        await world.until_all_end()


async def test_a_job_store_that_is_away_for_a_while_gets_the_results_later(operator: Any) -> None:
    async with operator() as world:
        for index in range(5):
            world.upload(f"job-{index}")
        world.store.unavailable = True
        await world.until(lambda: len(world.rendered) == 5)
        world.store.unavailable = False
        await world.until_all_end()
        assert len(world.rendered) == 5


async def test_a_missed_deletion_is_seen_by_a_relist(operator: Any) -> None:
    async with operator() as world:
        world.behaviour = world.never
        gone = []
        world.controller.on_job_gone(
            deleted=lambda job: gone.append(job.key.name), kept=lambda job: gone.append("kept")
        )
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        worker = world.executor.live()[0]
        world.store.listener = None
        world.store.delete("thumbnails", "one")
        world.controller.jobs_listed(world.store.list().items)
        assert gone == ["one"]
        assert world.controller.jobs() == ()
        await world.until(lambda: worker.dropped)


async def test_a_document_that_cannot_be_read_fails_and_hurts_nobody(operator: Any) -> None:
    async with operator() as world:
        key = world.upload("strange")
        document = world.store.documents["thumbnails", "strange"]
        document["spec"]["priority"] = "whenever"
        document["metadata"]["resourceVersion"] = "100"
        world.store.version = 100
        world.controller.job_changed("MODIFIED", document)
        world.upload("good")
        await world.until(lambda: world.phases() == {"strange": "Failed", "good": "Succeeded"})
        assert document["metadata"]["name"] == key.name
        assert world.controller.unreadable() == (key,)
        status = world.store.documents["thumbnails", "strange"]["status"]
        assert status["error"]["reason"] == "InvalidJob"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"stuck": "ErrImagePull"}, "ErrImagePull"),
        ({"stuck": "Unschedulable"}, "Unschedulable"),
        ({"dies_at_start": True}, "WorkersFailing"),
        ({"renderer_version": 999}, "OtherWorkerVersion"),
    ],
)
async def test_a_job_that_gets_no_worker_says_why(
    operator: Any, trouble: dict[str, Any], reason: str
) -> None:
    async with operator() as world:
        for name, value in trouble.items():
            setattr(world.executor, name, value)
        world.upload("one")
        await world.until(lambda: world.started_reason("one") == reason)
        condition = world.job("one").status.condition("Started")
        assert condition is not None
        assert "http" not in condition.message
        await asyncio.sleep(0.7)  # in which a loop without backoff would make a dozen
        assert len(world.executor.manifests) <= 3


async def test_a_quota_that_leaves_no_room_is_said_and_waited_for(
    operator: Any, quota_exceeded: Exception
) -> None:
    async with operator() as world:
        world.executor.create_error = quota_exceeded
        world.upload("one")
        await world.until(lambda: world.started_reason("one") == "QuotaExceeded")
        world.executor.create_error = None
        await world.until_all_end()
        assert world.job("one").status.phase == "Succeeded"


async def test_workers_linger_then_end_and_are_deleted(operator: Any) -> None:
    async with operator(linger_seconds=0.3) as world:
        world.upload("one")
        await world.until_all_end()
        await world.until(lambda: not world.executor.states)
        assert len(world.executor.deleted) == len(world.executor.manifests)
        world.upload("two")
        await world.until_all_end()


async def test_one_job_for_each_worker(operator: Any) -> None:
    async with operator(linger_seconds=0.0, items_per_worker=1) as world:
        for index in range(6):
            world.upload(f"job-{index}")
        await world.until_all_end()
        workers = [world.job(f"job-{index}").status.worker_job for index in range(6)]
        assert len(set(workers)) == 6


async def test_a_few_workers_stay_warm(operator: Any) -> None:
    async with operator(min_workers=1, linger_seconds=0.05) as world:
        await world.until(lambda: len(world.executor.live()) == 1)
        worker = world.executor.live()[0]
        await asyncio.sleep(0.5)  # far longer than the linger time
        assert world.executor.live() == [worker]


async def test_a_finished_job_is_deleted_after_its_ttl_and_webhook(operator: Any) -> None:
    async with operator() as world:
        world.upload("one", ttl_seconds_after_finished=0, webhook=Webhook("https://example.com/hook"))
        await world.until(lambda: not world.phases())
        assert len(world.sender.deliveries) == 1
        # started may have been skipped; the end, and the webhook's delivery
        assert "webhook" in world.store.status_writes[-1][1]


async def test_a_webhook_that_is_given_up_is_a_line_in_the_log(
    operator: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with operator(webhook_url="http://localhost/hook?token=secret") as world:
        world.sender.answers = [DeliveryResult(410)]
        world.upload("one")
        await world.until(lambda: "is given up" in caplog.text)
    (line,) = (record.getMessage() for record in caplog.records if "given up" in record.getMessage())
    assert line == "the webhook of thumbnails/one is given up: ReceiverGone, attempt 1 of 10: HTTP 410"


async def test_a_webhook_is_tried_again_later_even_by_another_operator(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        world.sender.answers = [DeliveryResult(500)]
        world.upload("one")
        await world.until(
            lambda: (found := world.job("one").status.condition("WebhookDelivered")) and not found.status
        )
        world.skew = timedelta(minutes=1)
        await world.restart()
        await world.until(
            lambda: (found := world.job("one").status.condition("WebhookDelivered")) and found.status
        )
        assert [each.attempt for each in world.sender.deliveries] == [1, 2]
        assert world.sender.deliveries[0].message_id == world.sender.deliveries[1].message_id


def upload_album(world: Any, count: int, **spec: Any) -> None:
    """A batch as the API makes it: its last job says how many there are."""
    webhooks = spec.pop("webhooks", BatchWebhooks.BOTH)
    for index in range(count):
        jobs = count if index == count - 1 else None
        world.upload(f"album-{index}", batch=Batch("album", index, count, jobs, webhooks), **spec)


def told(world: Any) -> list[str]:
    """Who was told of, in order."""
    data = [json.loads(each.body)["data"] for each in world.sender.deliveries]
    return [each.get("jobId") or each["batchId"] for each in data]


async def test_the_end_of_a_batch_is_told_once_beside_those_of_its_jobs(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        upload_album(world, 5)
        world.upload("alone")
        await world.until(lambda: len(told(world)) == 7)
        await asyncio.sleep(0.2)  # for one too many
        assert sorted(told(world)) == ["album", *(f"album-{index}" for index in range(5)), "alone"]
        (event,) = (json.loads(each.body) for each in world.sender.deliveries if each.of_batch)
        assert event["data"]["complete"] == 5


async def test_the_end_of_a_batch_may_be_told_in_place_of_those_of_its_jobs(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        upload_album(world, 20, webhooks=BatchWebhooks.ONCE)
        await world.until(lambda: told(world))
        assert told(world) == ["album"]
        # Two for each job, and two for the batch: how it ended, and that it was told.
        await world.until(lambda: world.job("album-0").status.condition("BatchWebhookDelivered"))
        assert len(world.store.status_writes) <= 2 * 20 + 2


@pytest.mark.parametrize("moment", ["before", "recorded", "tried"])
async def test_a_batch_is_told_of_whichever_operator_sees_its_end(operator: Any, moment: str) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        go = asyncio.Event()

        async def behave(worker: Any, item: Any) -> Result:
            await go.wait()
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        world.sender.answers = [DeliveryResult(500)] if moment == "tried" else []
        upload_album(world, 3, webhooks=BatchWebhooks.ONCE)
        if moment == "before":
            await world.until(lambda: world.job("album-0").status.phase == "Running")
            await world.restart()
            go.set()
        else:
            go.set()
            facts = world.store.status_writes
            await world.until(lambda: any("batch" in patch for _, patch in facts))
            if moment == "tried":
                await world.until(lambda: any("webhook" in (patch.get("batch") or {}) for _, patch in facts))
            world.skew = timedelta(minutes=1)
            await world.restart()
        await world.until(
            lambda: (found := world.job("album-0").status.condition("BatchWebhookDelivered")) and found.status
        )
        assert len({(each.message_id, each.body) for each in world.sender.deliveries}) == 1


async def test_a_job_that_is_deleted_while_it_waits_holds_up_no_batch(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        world.upload("album-0", batch=Batch("album", 0, 3, None, BatchWebhooks.ONCE), suspend=True)
        world.upload("album-1", batch=Batch("album", 1, 3, None, BatchWebhooks.ONCE))
        world.upload("album-2", batch=Batch("album", 2, 3, 3, BatchWebhooks.ONCE), suspend=True)
        await world.until(lambda: world.job("album-1").status.finished)
        world.store.patch_spec("thumbnails", "album-2", {"cancel": True})
        await world.until(lambda: world.job("album-2").status.finished)
        assert told(world) == []
        world.store.delete("thumbnails", "album-0")
        await world.until(lambda: told(world) == ["album"])
        data = json.loads(world.sender.deliveries[0].body)["data"]
        assert (data["jobs"], data["complete"], data["cancelled"]) == (2, 1, 1)


async def test_a_batch_that_broke_off_is_told_of_after_the_grace(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook", batch_grace_seconds=1.5) as world:
        world.upload("album-0", batch=Batch("album", 0, 3, None, BatchWebhooks.ONCE))
        await world.until(lambda: told(world) == ["album"])


async def test_jobs_stay_for_their_batch_s_webhook_and_then_go(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        world.sender.answers = [DeliveryResult(503)]
        upload_album(world, 4, webhooks=BatchWebhooks.ONCE, ttl_seconds_after_finished=0)
        await world.until(lambda: told(world) == ["album"])
        await world.until_all_end()
        await asyncio.sleep(0.2)
        assert len(world.phases()) == 4
        world.skew = timedelta(minutes=1)
        await world.restart()
        await world.until(lambda: not world.phases())
        assert told(world) == ["album", "album"]


async def test_a_bearer_that_is_deleted_leaves_word_that_all_was_told(operator: Any) -> None:
    async with operator(webhook_url="http://localhost/hook") as world:
        upload_album(world, 3, webhooks=BatchWebhooks.ONCE)
        await world.until(lambda: world.job("album-0").status.condition("BatchWebhookDelivered"))
        world.store.delete("thumbnails", "album-0")
        await world.until(lambda: world.job("album-1").status.condition("BatchWebhookDelivered"))
        await world.restart()
        await asyncio.sleep(0.3)
        assert told(world) == ["album"]


async def test_a_paused_operator_takes_results_and_hands_out_nothing(operator: Any) -> None:
    async with operator(max_workers=1) as world:
        go = asyncio.Event()

        async def behave(worker: Any, item: Any) -> Result:
            await go.wait()
            result: Result = world.render(worker, item)
            return result

        world.behaviour = behave
        world.executor.capacity = 1
        world.upload("one")
        await world.until(lambda: world.phases()["one"] == "Running")
        world.controller.pause()
        world.upload("two")
        go.set()
        await world.until(lambda: world.phases()["one"] == "Succeeded")
        (worker,) = world.executor.live()
        polls = worker.polls
        await world.until(lambda: worker.polls >= polls and world.controller._desk._parked)
        assert world.rendered == ["one"]
        assert len(world.executor.manifests) == 1
        await world.restart()
        await world.until_all_end()


async def test_interactive_jobs_overtake_an_equal_bulk_job_that_waits(operator: Any) -> None:
    async with operator(max_workers=1) as world:
        world.executor.stuck = "Unschedulable"
        world.upload("bulk", "same picture", priority=Priority.BULK)
        await world.until(lambda: world.started_reason("bulk") == "Unschedulable")
        world.upload("people", "same picture")
        await world.until(lambda: world.started_reason("people") == "Unschedulable")
        entries = [entry.key.name for entry in world.controller._dispatcher.entries()]
        assert entries == ["people"]


async def test_an_ordered_stop_writes_what_has_ended(operator: Any) -> None:
    async with operator() as world:
        for index in range(10):
            world.upload(f"job-{index}")
        await world.until(lambda: len(world.rendered) >= 1)
        await world.stop()
        written = {name for name, phase in world.phases().items() if phase == "Succeeded"}
        assert written <= set(world.rendered)
        await world.start()
        await world.until_all_end()
