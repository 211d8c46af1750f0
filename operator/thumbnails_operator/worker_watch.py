"""Keeps what is known of worker Jobs and their pods, and tells the controller what that makes of each worker.

All calls come from the operator's event loop.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from thumbnails_contract.names import WORKER_LABEL

from .lease import WorkerKey
from .ports import WorkerPhase, WorkerState
from .relist import Recorder
from .worker_state import deleted_state, newest, worker_state

Document = dict[str, Any]

# A worker that has not started after so long, and gives no reason, is looked up in the Events.
SLOW_START_SECONDS: Final = 3.0
_DELETED: Final = "DELETED"


class WorkerWatch:
    """See the module's text. `changed` is told of each new state."""

    def __init__(self, changed: Callable[[WorkerState], None], monotonic: Callable[[], float]) -> None:
        self._changed = changed
        self._monotonic = monotonic
        self._jobs: dict[WorkerKey, Document] = {}
        self._pods: dict[WorkerKey, dict[str, Document]] = {}  # by name
        self._had_pods: set[str] = set()  # uids of Jobs
        self._troubles: dict[WorkerKey, tuple[str, str]] = {}
        self._states: dict[WorkerKey, WorkerState] = {}
        self._since: dict[WorkerKey, float] = {}
        self._job_recorder, self._pod_recorder = Recorder(), Recorder()

    # ---- what the cluster says --------------------------------------------------------------

    def job_changed(self, event_type: str, job: Document) -> None:
        """A watch event of a worker Job."""
        self._job_recorder.note(event_type, job)
        key = _key_of_job(job)
        known = self._jobs.get(key)
        if event_type != _DELETED:
            self._jobs[key] = job
            self._since.setdefault(key, self._monotonic())
        elif known is None or _uid(known) != _uid(job):
            return
        else:
            self._forget(key)
            self._changed(deleted_state(key.namespace, key.name))
            return
        self._review(key)

    def pod_changed(self, event_type: str, pod: Document) -> None:
        """A watch event of a worker's pod."""
        self._pod_recorder.note(event_type, pod)
        key = _key_of_pod(pod)
        if key is None:
            return
        name, pods = pod["metadata"]["name"], self._pods.setdefault(key, {})
        if event_type != _DELETED:
            pods[name] = pod
            self._had_pods.add(job_uid(pod))
        elif name in pods and _uid(pods[name]) == _uid(pod):
            del pods[name]
        if not pods:
            del self._pods[key]
        self._review(key)

    def listing(self) -> None:
        """Lists of all Jobs and pods are about to be asked for."""
        self._job_recorder.begin()
        self._pod_recorder.begin()

    def listed(self, jobs: Iterable[Document], pods: Iterable[Document]) -> tuple[WorkerState, ...]:
        """The lists have come; the states of all workers."""
        there = {_key_of_job(job): job for job in self._job_recorder.join(jobs)}
        for key in self._jobs.keys() - there.keys():
            self._forget(key)
        self._jobs = there
        self._pods = {}
        for pod in self._pod_recorder.join(pods):
            key_of_pod = _key_of_pod(pod)
            if key_of_pod is not None:
                self._pods.setdefault(key_of_pod, {})[pod["metadata"]["name"]] = pod
                self._had_pods.add(job_uid(pod))
        self._had_pods &= {_uid(job) for job in there.values()}
        now = self._monotonic()
        for key in there:
            self._since.setdefault(key, now)
            self._states[key] = self._judge(key)
        return tuple(self._states.values())

    def not_listed(self) -> None:
        """The lists did not come."""
        self._job_recorder.drop()
        self._pod_recorder.drop()

    def said(self, key: WorkerKey, reason: str, message: str) -> None:
        """Events name the trouble of a worker that is slow to start."""
        if key in self._jobs and reason:
            self._troubles[key] = (reason, message)
            self._review(key)

    # ---- what others ask --------------------------------------------------------------------

    def slow(self) -> Iterator[tuple[WorkerKey, str, str]]:
        """Workers that should have started and do not say why they did not.

        The worker, and kind and uid of the object whose Events may tell.
        """
        now = self._monotonic()
        for key, state in self._states.items():
            # A reason that Events gave may be over: it is asked for as long as the worker does not start.
            silent = not state.reason or key in self._troubles
            if (
                state.phase is WorkerPhase.STARTING
                and silent
                and now - self._since[key] >= SLOW_START_SECONDS
            ):
                pod = newest(self._pods.get(key, {}).values())
                kind, document = ("Job", self._jobs[key]) if pod is None else ("Pod", pod)
                yield key, kind, _uid(document)

    def job(self, key: WorkerKey) -> Document | None:
        """The worker's Job."""
        return self._jobs.get(key)

    def pod(self, namespace: str, name: str) -> Document | None:
        """A worker's pod, by its own name."""
        for key, pods in self._pods.items():
            if key.namespace == namespace and name in pods:
                return pods[name]
        return None

    def counts(self) -> Counter[WorkerPhase]:
        """How many workers are in which phase."""
        return Counter(state.phase for state in self._states.values())

    # ---- inside -----------------------------------------------------------------------------

    def _review(self, key: WorkerKey) -> None:
        if key not in self._jobs:
            return  # a pod may be seen before its Job, and after it
        state = self._judge(key)
        if state != self._states.get(key):
            self._states[key] = state
            self._changed(state)

    def _judge(self, key: WorkerKey) -> WorkerState:
        job = self._jobs[key]
        state = worker_state(
            job,
            # A Job of the same name that was deleted may have left pods behind.
            newest(pod for pod in self._pods.get(key, {}).values() if job_uid(pod) == _uid(job)),
            pod_was_seen=_uid(job) in self._had_pods,
            trouble=self._troubles.get(key, ("", "")),
        )
        if state.phase is not WorkerPhase.STARTING:
            self._troubles.pop(key, None)
        return state

    def _forget(self, key: WorkerKey) -> None:
        job = self._jobs.pop(key)
        self._had_pods.discard(_uid(job))
        for known in (self._states, self._since, self._troubles):
            known.pop(key, None)


def job_uid(pod: Mapping[str, Any]) -> str:
    """The uid of the Job that made the pod; "" when none did."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("kind") == "Job" and owner.get("controller"):
            return str(owner["uid"])
    return ""


def _key_of_job(job: Document) -> WorkerKey:
    metadata = job["metadata"]
    return WorkerKey(metadata["namespace"], metadata["name"])


def _key_of_pod(pod: Document) -> WorkerKey | None:
    metadata = pod["metadata"]
    worker = (metadata.get("labels") or {}).get(WORKER_LABEL)
    return WorkerKey(metadata["namespace"], worker) if worker else None


def _uid(document: Mapping[str, Any]) -> str:
    return str(document["metadata"].get("uid", ""))
