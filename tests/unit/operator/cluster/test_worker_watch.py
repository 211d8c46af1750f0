"""What the controller is told of workers."""

from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_operator.lease import WorkerKey
from thumbnails_operator.ports import WorkerPhase, WorkerState
from thumbnails_operator.worker_watch import SLOW_START_SECONDS, WorkerWatch

Document = dict[str, Any]
KEY = WorkerKey("red", "w")


def a_job(version: int = 1, uid: str = "job-1", name: str = "w") -> Document:
    return {
        "metadata": {"namespace": "red", "name": name, "uid": uid, "resourceVersion": str(version)},
        "spec": {},
    }


def a_pod(phase: str = "Pending", *, name: str = "w-x", job: str = "job-1", **state: Any) -> Document:
    return {
        "metadata": {
            "namespace": "red",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "5",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"thumbnails.dev/worker": "w"},
            "ownerReferences": [{"kind": "Job", "controller": True, "uid": job}],
        },
        "status": {"phase": phase, "containerStatuses": [{"name": "worker", "state": state}]},
    }


RUNNING_POD = a_pod("Running", running={})


@pytest.fixture
def told() -> list[WorkerState]:
    return []


@pytest.fixture
def watch(told: list[WorkerState], monotonic: Callable[[], float]) -> WorkerWatch:
    return WorkerWatch(told.append, monotonic)


def test_each_new_state_is_told_once(watch: WorkerWatch, told: list[WorkerState]) -> None:
    watch.job_changed("ADDED", a_job())
    watch.pod_changed("ADDED", a_pod())
    watch.pod_changed("MODIFIED", RUNNING_POD)
    watch.pod_changed("MODIFIED", RUNNING_POD)
    watch.job_changed("MODIFIED", a_job(2))
    assert [state.phase for state in told] == [WorkerPhase.STARTING, WorkerPhase.RUNNING]


def test_a_pod_may_be_seen_before_its_job(watch: WorkerWatch, told: list[WorkerState]) -> None:
    watch.pod_changed("ADDED", RUNNING_POD)
    assert told == []
    watch.job_changed("ADDED", a_job())
    assert [state.phase for state in told] == [WorkerPhase.RUNNING]


def test_a_pod_that_is_deleted_is_a_worker_that_ended(watch: WorkerWatch, told: list[WorkerState]) -> None:
    watch.job_changed("ADDED", a_job())
    watch.pod_changed("ADDED", RUNNING_POD)
    watch.pod_changed("DELETED", RUNNING_POD)
    assert (told[-1].phase, told[-1].reason) == (WorkerPhase.FAILED, "Terminated")


def test_a_job_that_is_deleted_is_a_worker_that_ended(watch: WorkerWatch, told: list[WorkerState]) -> None:
    watch.job_changed("ADDED", a_job())
    watch.job_changed("DELETED", a_job(9))
    assert (told[-1].phase, told[-1].reason) == (WorkerPhase.FAILED, "Terminated")
    assert watch.job(KEY) is None
    assert not watch.counts()


def test_the_end_of_an_older_namesake_is_none_of_the_new_one(
    watch: WorkerWatch, told: list[WorkerState]
) -> None:
    watch.job_changed("ADDED", a_job(uid="job-2"))
    watch.job_changed("DELETED", a_job(uid="job-1"))
    watch.pod_changed("ADDED", a_pod("Failed", job="job-1"))
    assert [state.phase for state in told] == [WorkerPhase.STARTING]


def test_a_list_finds_what_was_missed(watch: WorkerWatch) -> None:
    watch.job_changed("ADDED", a_job(name="gone"))
    watch.listing()
    assert [state.phase for state in watch.listed([a_job()], [RUNNING_POD])] == [WorkerPhase.RUNNING]
    assert watch.counts() == {WorkerPhase.RUNNING: 1}
    watch.listing()
    (state,) = watch.listed([a_job()], [])
    assert (state.phase, state.reason) == (WorkerPhase.FAILED, "Terminated")


def test_a_worker_made_while_the_list_was_on_its_way_is_kept(watch: WorkerWatch) -> None:
    watch.listing()
    watch.job_changed("ADDED", a_job(9))
    assert [state.name for state in watch.listed([], [])] == ["w"]


def test_workers_that_are_slow_to_start_are_asked_about(watch: WorkerWatch, monotonic: Any) -> None:
    watch.job_changed("ADDED", a_job())
    assert not list(watch.slow())
    monotonic.now += SLOW_START_SECONDS
    assert list(watch.slow()) == [(KEY, "Job", "job-1")]
    watch.pod_changed("ADDED", a_pod(waiting={"reason": "ContainerCreating"}))
    assert list(watch.slow()) == [(KEY, "Pod", "uid-w-x")]
    watch.pod_changed("MODIFIED", a_pod(waiting={"reason": "ErrImagePull"}))
    assert not list(watch.slow())


def test_what_events_say_is_told_and_forgotten_when_it_is_over(
    watch: WorkerWatch, told: list[WorkerState], monotonic: Any
) -> None:
    watch.job_changed("ADDED", a_job())
    watch.said(KEY, "FailedCreate", "exceeded quota")
    assert told[-1].reason == "FailedCreate"
    monotonic.now += SLOW_START_SECONDS
    assert list(watch.slow())  # there may be another reason by now
    watch.pod_changed("ADDED", RUNNING_POD)
    assert (told[-1].phase, told[-1].reason) == (WorkerPhase.RUNNING, "")
    watch.said(WorkerKey("red", "unknown"), "FailedCreate", "")
    assert len(told) == 3


def test_pods_are_found_by_name(watch: WorkerWatch) -> None:
    watch.pod_changed("ADDED", RUNNING_POD)
    assert watch.pod("red", "w-x") is RUNNING_POD
    assert watch.pod("blue", "w-x") is None
    watch.pod_changed("DELETED", RUNNING_POD)
    assert watch.pod("red", "w-x") is None


def test_pods_of_others_are_let_alone(watch: WorkerWatch) -> None:
    pod = a_pod()
    pod["metadata"]["labels"] = {}
    watch.pod_changed("ADDED", pod)
    assert watch.pod("red", "w-x") is None
