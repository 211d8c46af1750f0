"""Decides how far a worker is, from its Job, its pod and what Events say of them: documents in, a state out.

The pod is believed before the Job, whose controller is one to two seconds behind it: with
`backoffLimit: 0` and `restartPolicy: Never` the end of the pod is the end of the worker.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .ports import WorkerPhase, WorkerState
from .worker_job import CONTAINER

Document = Mapping[str, Any]

# A container that waits for one of these is on its way.
_ON_ITS_WAY: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
# Said of a pod or a Job that somebody deleted: no picture is to blame.
DELETED: Final = "Terminated"
_ENDED_CONDITIONS: Final = ("Complete", "SuccessCriteriaMet")
_FAILED_CONDITIONS: Final = ("Failed", "FailureTarget")


def worker_state(
    job: Document, pod: Document | None, *, pod_was_seen: bool = False, trouble: tuple[str, str] = ("", "")
) -> WorkerState:
    """The state of the worker whose Job this is.

    `pod` is its newest pod, if it has one; `pod_was_seen` that it had one. `trouble` are reason and
    message of the newest Warning about a worker that is slow to start.
    """
    metadata = job["metadata"]
    phase, reason, message = _judge(job, pod, pod_was_seen, trouble)
    return WorkerState(metadata["namespace"], metadata["name"], phase, reason, message)


def deleted_state(namespace: str, name: str) -> WorkerState:
    """The state of a worker whose Job is gone."""
    return WorkerState(namespace, name, WorkerPhase.FAILED, DELETED, "The Job was deleted.")


def newest(pods: Iterable[Document]) -> Document | None:
    """The pod that counts: a Job has several when one was lost and replaced."""
    return max(
        pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]), default=None
    )


_Verdict = tuple[WorkerPhase, str, str]


def _judge(job: Document, pod: Document | None, pod_was_seen: bool, trouble: tuple[str, str]) -> _Verdict:  # noqa: PLR0911 - a table
    conditions = _conditions(job)
    failed = next((conditions[name] for name in _FAILED_CONDITIONS if name in conditions), None)
    if failed is not None and failed.get("reason") == "DeadlineExceeded":
        return WorkerPhase.FAILED, "DeadlineExceeded", failed.get("message", "")
    ended = _ended(pod) if pod is not None else None
    if ended is not None:
        return ended
    if any(name in conditions for name in _ENDED_CONDITIONS):
        return WorkerPhase.ENDED, "", ""
    if failed is not None:
        if pod is None and pod_was_seen:
            return WorkerPhase.FAILED, DELETED, "The pod was deleted."
        return WorkerPhase.FAILED, failed.get("reason") or "Error", failed.get("message", "")
    if pod is not None:
        return _living(pod, trouble)
    if pod_was_seen:
        return WorkerPhase.FAILED, DELETED, "The pod was deleted."
    if (job.get("spec") or {}).get("suspend"):
        return WorkerPhase.STARTING, "JobSuspended", "The Job is suspended."
    return WorkerPhase.STARTING, *trouble


def _ended(pod: Document) -> _Verdict | None:  # noqa: PLR0911 - a table
    """How the pod ended; None while it lives."""
    status = pod.get("status") or {}
    container = _container(pod)
    terminated = (container.get("state") or {}).get("terminated")
    if status.get("phase") not in {"Succeeded", "Failed"} and terminated is None:
        return None
    terminated = terminated or {}
    if status.get("phase") == "Succeeded" or (
        status.get("phase") != "Failed" and terminated.get("exitCode") == 0
    ):
        return WorkerPhase.ENDED, "", ""
    message = terminated.get("message") or status.get("message", "")
    if terminated.get("reason") == "OOMKilled":
        return WorkerPhase.FAILED, "OOMKilled", message
    if status.get("reason"):  # Evicted, NodeShutdown, Terminated, DeadlineExceeded, ...
        return WorkerPhase.FAILED, status["reason"], message
    if "DisruptionTarget" in _conditions(pod):
        return WorkerPhase.FAILED, "DisruptionTarget", message
    if "deletionTimestamp" in pod["metadata"]:
        return WorkerPhase.FAILED, DELETED, message
    return WorkerPhase.FAILED, terminated.get("reason") or "Error", message


def _living(pod: Document, trouble: tuple[str, str]) -> _Verdict:
    state = _container(pod).get("state") or {}
    if "running" in state:
        return WorkerPhase.RUNNING, "", ""
    scheduled = _conditions(pod, "False").get("PodScheduled")
    if scheduled is not None:
        return WorkerPhase.STARTING, scheduled.get("reason") or "Unschedulable", scheduled.get("message", "")
    waiting = state.get("waiting") or {}
    if waiting.get("reason", "") not in _ON_ITS_WAY:
        return WorkerPhase.STARTING, waiting["reason"], waiting.get("message", "")
    return WorkerPhase.STARTING, *trouble


def _conditions(document: Document, status: str = "True") -> dict[str, Document]:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return {condition["type"]: condition for condition in conditions if condition.get("status") == status}


def _container(pod: Document) -> Document:
    statuses: Iterable[Document] = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((status for status in statuses if status.get("name") == CONTAINER), {})
