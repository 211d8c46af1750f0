"""Job and pod documents in, the state of a worker out."""

from typing import Any

import pytest

from thumbnails_operator.outcome import is_disruption
from thumbnails_operator.ports import WorkerPhase, WorkerState
from thumbnails_operator.worker_state import deleted_state, newest, worker_state

Document = dict[str, Any]


def a_job(*conditions: tuple[str, str], suspend: bool = False) -> Document:
    return {
        "metadata": {"namespace": "red", "name": "w", "uid": "u"},
        "spec": {"suspend": suspend},
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "reason": reason, "message": "m"}
                for kind, reason in conditions
            ]
        },
    }


def a_pod(
    phase: str = "Pending", state: Document | None = None, *, deleting: bool = False, **status: Any
) -> Document:
    metadata: Document = {"name": "w-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    containers = [{"name": "sidecar", "state": {"running": {}}}]
    if state is not None:
        containers.append({"name": "worker", "state": state})
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": containers, **status}}


def terminated(code: int, reason: str = "Error") -> Document:
    return {"terminated": {"exitCode": code, "reason": reason, "message": "said"}}


def waiting(reason: str) -> Document:
    return {"waiting": {"reason": reason, "message": "m"}}


def condition(kind: str, status: str, reason: str) -> Document:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": "m"}]}


STARTING, RUNNING = WorkerPhase.STARTING, WorkerPhase.RUNNING
ENDED, FAILED = WorkerPhase.ENDED, WorkerPhase.FAILED
UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable")
DISRUPTED = condition("DisruptionTarget", "True", "EvictionByEvictionAPI")

TABLE = [
    # the way up
    ("just made", a_job(), None, (STARTING, "")),
    ("suspended, by Kueue for one", a_job(suspend=True), None, (STARTING, "JobSuspended")),
    ("pod made", a_job(), a_pod(), (STARTING, "")),
    ("no node", a_job(), a_pod(**UNSCHEDULABLE), (STARTING, "Unschedulable")),
    ("volumes, network", a_job(), a_pod(state=waiting("ContainerCreating")), (STARTING, "")),
    ("image missing", a_job(), a_pod(state=waiting("ErrImagePull")), (STARTING, "ErrImagePull")),
    (
        "image missing for long",
        a_job(),
        a_pod(state=waiting("ImagePullBackOff")),
        (STARTING, "ImagePullBackOff"),
    ),
    (
        "configuration",
        a_job(),
        a_pod(state=waiting("CreateContainerConfigError")),
        (STARTING, "CreateContainerConfigError"),
    ),
    ("runs", a_job(), a_pod("Running", {"running": {}}), (RUNNING, "")),
    (
        "is being deleted, and still brings results",
        a_job(),
        a_pod("Running", {"running": {}}, deleting=True),
        (RUNNING, ""),
    ),
    # ends as it should
    ("pod done, Job controller behind", a_job(), a_pod("Succeeded", terminated(0, "Completed")), (ENDED, "")),
    ("container done, kubelet behind", a_job(), a_pod("Running", terminated(0, "Completed")), (ENDED, "")),
    ("Job complete, pod gone", a_job(("Complete", "CompletionsReached")), None, (ENDED, "")),
    ("Job nearly complete", a_job(("SuccessCriteriaMet", "CompletionsReached")), None, (ENDED, "")),
    # fails
    ("out of memory", a_job(), a_pod("Failed", terminated(137, "OOMKilled")), (FAILED, "OOMKilled")),
    (
        "out of memory, kubelet behind",
        a_job(),
        a_pod("Running", terminated(137, "OOMKilled")),
        (FAILED, "OOMKilled"),
    ),
    ("crashed", a_job(), a_pod("Failed", terminated(1)), (FAILED, "Error")),
    (
        "crashed, and the Job knows it",
        a_job(("Failed", "BackoffLimitExceeded")),
        a_pod("Failed", terminated(1)),
        (FAILED, "Error"),
    ),
    ("evicted", a_job(), a_pod("Failed", terminated(137), reason="Evicted"), (FAILED, "Evicted")),
    ("node shut down", a_job(), a_pod("Failed", terminated(1), reason="Terminated"), (FAILED, "Terminated")),
    ("drained", a_job(), a_pod("Failed", terminated(143), **DISRUPTED), (FAILED, "DisruptionTarget")),
    ("deleted by somebody", a_job(), a_pod("Failed", terminated(143), deleting=True), (FAILED, "Terminated")),
    (
        "too old",
        a_job(("Failed", "DeadlineExceeded")),
        a_pod("Failed", terminated(143)),
        (FAILED, "DeadlineExceeded"),
    ),
    ("about to be too old", a_job(("FailureTarget", "DeadlineExceeded")), None, (FAILED, "DeadlineExceeded")),
    (
        "Job failed, no pod known",
        a_job(("Failed", "BackoffLimitExceeded")),
        None,
        (FAILED, "BackoffLimitExceeded"),
    ),
    ("failed with nothing to say", a_job(), a_pod("Failed"), (FAILED, "Error")),
]


@pytest.mark.parametrize(
    ("job", "pod", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_state(job: Document, pod: Document | None, expected: tuple[WorkerPhase, str]) -> None:
    state = worker_state(job, pod, pod_was_seen=pod is not None)
    assert (state.namespace, state.name) == ("red", "w")
    assert (state.phase, state.reason) == expected


def test_a_worker_that_a_queue_preempts_is_over_though_its_job_would_start_again() -> None:
    state = worker_state(a_job(suspend=True), None, pod_was_seen=True)
    assert (state.phase, state.reason) == (FAILED, "Terminated")
    assert is_disruption(state), "no picture is to blame"


def test_a_pod_that_a_queue_has_not_let_in_says_so() -> None:
    pod = a_pod()
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "m"}
    ]
    assert worker_state(a_job(), pod).reason == "SchedulingGated"


def test_a_pod_that_vanishes_takes_its_worker_along() -> None:
    assert worker_state(a_job(), None, pod_was_seen=True).reason == "Terminated"
    assert (
        worker_state(a_job(("Failed", "BackoffLimitExceeded")), None, pod_was_seen=True).reason
        == "Terminated"
    )


def test_what_events_say_counts_until_the_worker_starts() -> None:
    trouble = ("FailedCreate", "exceeded quota")
    assert worker_state(a_job(), None, trouble=trouble).reason == "FailedCreate"
    assert worker_state(a_job(), a_pod(), trouble=("FailedMount", "m")).reason == "FailedMount"
    assert worker_state(a_job(), a_pod("Running", {"running": {}}), trouble=trouble).reason == ""


def test_the_pod_itself_is_believed_before_events() -> None:
    pod = a_pod(state=waiting("ErrImagePull"))
    assert worker_state(a_job(), pod, trouble=("Failed", "m")).reason == "ErrImagePull"


def test_the_newest_pod_counts() -> None:
    old, new = a_pod(), a_pod()
    new["metadata"]["creationTimestamp"] = "2026-01-01T00:00:09Z"
    assert newest([new, old]) is new
    assert newest([]) is None


def test_a_deleted_job_blames_no_picture() -> None:
    assert deleted_state("red", "w") == WorkerState("red", "w", FAILED, "Terminated", "The Job was deleted.")
