"""What the operator needs of the world besides the two stores: workers, identities, secrets, events.

In Kubernetes these are Jobs, TokenReview, Secrets and Events; on one machine they are child
processes, tokens in files, a file and the log. The world tells the operator of changes by calling
`Controller.job_changed` and `Controller.worker_changed` on its event loop.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from thumbnails_contract.job import JobKey

Manifest = dict[str, Any]


class WorkerPhase(StrEnum):
    """How far a worker Job is."""

    STARTING = "Starting"
    RUNNING = "Running"
    ENDED = "Ended"  # by itself, as it should
    FAILED = "Failed"  # in any other way


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker Job as the executor sees it.

    `reason` says why it fails or does not start, in the words of Kubernetes: OOMKilled,
    DeadlineExceeded, Error, Evicted, Unschedulable, ErrImagePull, FailedCreate, ...
    """

    namespace: str
    name: str
    phase: WorkerPhase
    reason: str = ""
    message: str = ""


class Executor(Protocol):
    """Runs worker Jobs. Names are ours and unique, so both calls can be repeated."""

    async def create(self, manifest: Manifest) -> None:
        """Start a worker from a batch/v1 Job manifest (`worker_job.py`); one that is there is no error.

        Raises QuotaExceeded, or Unavailable.
        """

    async def delete(self, namespace: str, name: str) -> None:
        """End a worker (SIGTERM, then SIGKILL) and forget it; one that is gone is no error."""

    async def list(self) -> tuple[WorkerState, ...]:
        """All workers that were not deleted."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """Who calls the exchange: the worker Job, and which incarnation (pod UID, or process) of it."""

    namespace: str
    name: str
    uid: str


class WorkerIdentifier(Protocol):
    """Knows workers by their tokens."""

    async def identify(self, token: str) -> WorkerIdentity | None:
        """The worker whose token this is; None for any other. Raises Unavailable."""


class SigningSecrets(Protocol):
    """Secrets to sign webhooks with, in the form of Standard Webhooks: `whsec_` and base64."""

    async def get(self, namespace: str, account: str, secret_name: str | None) -> str:
        """The secret named in the job, or else the account's own.

        Raises InvalidJob when a named one is not there or has another type.
        """


class EventSink(Protocol):
    """Tells people what happens to a job (`kubectl describe`)."""

    def emit(self, key: JobKey, uid: str, *, warning: bool, reason: str, message: str) -> None:
        """Record an event, soon and at most once; never raises, never blocks."""
