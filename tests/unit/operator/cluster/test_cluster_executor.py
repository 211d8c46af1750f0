"""Worker Jobs through an API server."""

import asyncio
from typing import Any

import pytest

from thumbnails_contract.errors import QuotaExceeded, ThumbnailsError, Unavailable
from thumbnails_operator.cluster_api import ApiError
from thumbnails_operator.cluster_executor import ClusterExecutor, FailedCreate
from thumbnails_operator.ports import WorkerPhase, WorkerState
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.worker_job import worker_job
from thumbnails_operator.worker_watch import SLOW_START_SECONDS, WorkerWatch

JOBS = "/apis/batch/v1/namespaces/red/jobs"
PODS = "/api/v1/namespaces/red/pods"
EVENTS = "/api/v1/namespaces/red/events"
MANIFEST = worker_job(OperatorSettings(), "red", "w")


@pytest.fixture
def told() -> list[WorkerState]:
    return []


@pytest.fixture
def watch(told: list[WorkerState], monotonic: Any) -> WorkerWatch:
    return WorkerWatch(told.append, monotonic)


@pytest.fixture
def executor(api: Any, watch: WorkerWatch, run_blocking: Any) -> ClusterExecutor:
    return ClusterExecutor(api, watch, run_blocking, ("red",))


def create(executor: ClusterExecutor) -> None:
    asyncio.run(executor.create(MANIFEST))


def test_a_job_is_created_and_once_only(api: Any, executor: ClusterExecutor) -> None:
    create(executor)
    create(executor)
    assert list(api.objects) == [f"{JOBS}/w"]


def test_a_deleted_job_is_gone_and_may_be_deleted_again(api: Any, executor: ClusterExecutor) -> None:
    create(executor)
    for _ in range(2):
        asyncio.run(executor.delete("red", "w"))
    assert not api.objects


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (ApiError(403, "Forbidden", 'jobs "w" is forbidden: exceeded quota: small'), QuotaExceeded),
        (ApiError(403, "Forbidden", "jobs is forbidden: User cannot create"), FailedCreate),
        (ApiError(422, "Invalid", "spec.x: Required"), FailedCreate),
        (Unavailable(), Unavailable),
    ],
)
def test_why_a_job_is_not_created(
    api: Any, executor: ClusterExecutor, refusal: Exception, error: type[ThumbnailsError]
) -> None:
    api.refuse["POST", JOBS] = refusal
    with pytest.raises(error) as raised:
        create(executor)
    assert "User" not in raised.value.message and "small" not in raised.value.message


def test_a_job_that_may_not_be_deleted_is_an_error(api: Any, executor: ClusterExecutor) -> None:
    api.refuse["DELETE", f"{JOBS}/w"] = ApiError(403, "Forbidden", "no right")
    with pytest.raises(ThumbnailsError):
        asyncio.run(executor.delete("red", "w"))


def test_the_list_is_of_our_jobs_with_their_pods(api: Any, executor: ClusterExecutor) -> None:
    create(executor)
    api.store(f"{JOBS}/of-others", {"metadata": {"namespace": "red", "name": "of-others"}})
    api.store(
        f"{PODS}/w-x",
        {
            "metadata": {
                "namespace": "red",
                "name": "w-x",
                "labels": {"thumbnails.dev/worker": "w"},
                "ownerReferences": [{"kind": "Job", "controller": True, "uid": f"uid-{JOBS}/w"}],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "worker", "state": {"running": {}}}],
            },
        },
    )
    assert asyncio.run(executor.list()) == (WorkerState("red", "w", WorkerPhase.RUNNING),)


def test_a_list_that_fails_changes_nothing(api: Any, executor: ClusterExecutor, watch: WorkerWatch) -> None:
    create(executor)
    asyncio.run(executor.list())
    api.away = True
    with pytest.raises(Unavailable):
        asyncio.run(executor.list())
    assert watch.counts() == {WorkerPhase.STARTING: 1}


def test_a_job_without_a_pod_says_what_its_newest_warning_says(
    api: Any, executor: ClusterExecutor, told: list[WorkerState], monotonic: Any
) -> None:
    create(executor)
    asyncio.run(executor.list())
    for number, (reason, time) in enumerate(
        {"Old": "2026-01-01T00:00:01Z", "FailedCreate": "2026-01-01T00:00:02Z"}.items()
    ):
        api.store(f"{EVENTS}/e{number}", {"reason": reason, "message": "m", "lastTimestamp": time})
    asyncio.run(executor.ask_events())
    assert not told
    monotonic.now += SLOW_START_SECONDS
    asyncio.run(executor.ask_events())
    assert [state.reason for state in told] == ["FailedCreate"]


def test_events_that_may_not_be_read_are_done_without(
    api: Any, executor: ClusterExecutor, told: list[WorkerState], monotonic: Any
) -> None:
    create(executor)
    asyncio.run(executor.list())
    monotonic.now += SLOW_START_SECONDS
    api.refuse["LIST", EVENTS] = ApiError(403, "Forbidden", "no right")
    asyncio.run(executor.ask_events())
    assert not told
