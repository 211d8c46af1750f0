"""`ThumbnailJob.status`: conditions are the truth, the phase is derived from them for people.

Everything here is a value; who may change it when is decided by the operator (`outcome.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from .timestamps import format_time, parse_time


class Phase(StrEnum):
    """For printing and selecting only (`kubectl get --field-selector status.phase=...`)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


# The same phases in the words of the REST contract.
REST_STATUS: Final[Mapping[Phase, str]] = {
    Phase.PENDING: "pending",
    Phase.RUNNING: "processing",
    Phase.SUCCEEDED: "complete",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
}
FINISHED_PHASES: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})


class ConditionType(StrEnum):
    """The types of conditions that a ThumbnailJob has."""

    STARTED = "Started"
    COMPLETE = "Complete"
    FAILED = "Failed"
    WEBHOOK_DELIVERED = "WebhookDelivered"
    BATCH_WEBHOOK_DELIVERED = "BatchWebhookDelivered"


class Reason(StrEnum):
    """Condition reasons that are no errors; errors bring their own (`errors.py`)."""

    # Why a job waits: Started is False
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    WORKERS_STARTING = "WorkersStarting"
    WAITING_FOR_EQUAL_JOB = "WaitingForEqualJob"
    # Started is True
    RENDERING = "Rendering"
    RETRYING = "Retrying"
    # Complete is True
    RENDERED = "Rendered"
    CACHED = "Cached"
    # Of the conditions WebhookDelivered and BatchWebhookDelivered
    DELIVERED = "Delivered"
    DELIVERY_RETRYING = "DeliveryRetrying"
    DELIVERY_FAILED = "DeliveryFailed"
    RECEIVER_GONE = "ReceiverGone"  # 410: the receiver wants no more
    FORBIDDEN_ADDRESS = "ForbiddenAddress"


@dataclass(frozen=True, slots=True)
class Condition:
    """metav1.Condition."""

    type: str
    status: bool
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form."""
        return cls(
            type=data["type"],
            status=data["status"] == "True",
            reason=data["reason"],
            message=data.get("message", ""),
            last_transition_time=parse_time(data["lastTransitionTime"]),
            observed_generation=data.get("observedGeneration"),
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form."""
        data: dict[str, Any] = {
            "type": self.type,
            "status": "True" if self.status else "False",
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": format_time(self.last_transition_time),
        }
        if self.observed_generation is not None:
            data["observedGeneration"] = self.observed_generation
        return data


def set_condition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """`conditions` with `new` in place of its type; the transition time moves only with the status.

    The rule of k8s.io/apimachinery's meta.SetStatusCondition.
    """
    for index, old in enumerate(conditions):
        if old.type == new.type:
            if old.status == new.status:
                new = replace(new, last_transition_time=old.last_transition_time)
            return (*conditions[:index], new, *conditions[index + 1 :])
    return (*conditions, new)


def find_condition(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((condition for condition in conditions if condition.type == type_), None)


def derive_phase(conditions: tuple[Condition, ...]) -> Phase:
    """The phase that these conditions say."""
    phase = Phase.PENDING
    for condition in conditions:
        if not condition.status:
            continue
        if condition.type == ConditionType.COMPLETE:
            return Phase.SUCCEEDED
        if condition.type == ConditionType.FAILED:
            phase = Phase.CANCELLED if condition.reason == "Cancelled" else Phase.FAILED
        elif condition.type == ConditionType.STARTED and phase is Phase.PENDING:
            phase = Phase.RUNNING
    return phase


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the worker found the original to be; `width` and `height` as displayed (oriented)."""

    format: str
    width: int
    height: int
    frames: int
    bytes: int
    sha256: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's (and the wire's) form."""
        return cls(
            data["format"],
            data["width"],
            data["height"],
            data["frames"],
            data["bytes"],
            data.get("sha256"),
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form."""
        data: dict[str, Any] = {
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            "bytes": self.bytes,
        }
        if self.sha256 is not None:
            data["sha256"] = self.sha256
        return data


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """One thumbnail that is there. `format` is the word that was asked for; `contentType` what it is."""

    name: str
    format: str
    object_key: str
    width: int
    height: int
    bytes: int
    content_type: str
    etag: str
    frames: int = 1
    thumbhash: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form."""
        return cls(
            name=data["name"],
            format=data["format"],
            object_key=data["objectKey"],
            width=data["width"],
            height=data["height"],
            bytes=data["bytes"],
            content_type=data["contentType"],
            etag=data["etag"],
            frames=data.get("frames", 1),
            thumbhash=data.get("thumbhash"),
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form."""
        data: dict[str, Any] = {
            "name": self.name,
            "format": self.format,
            "objectKey": self.object_key,
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            "bytes": self.bytes,
            "contentType": self.content_type,
            "etag": self.etag,
        }
        if self.thumbhash is not None:
            data["thumbhash"] = self.thumbhash
        return data


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """Why a job failed, in public words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """How far the delivery of the webhook is: attempts made, and when the next one is due."""

    attempts: int
    next_attempt_time: datetime | None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form."""
        return cls(data["attempts"], _optional_time(data.get("nextAttemptTime")))

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form."""
        data: dict[str, Any] = {"attempts": self.attempts}
        if self.next_attempt_time is not None:
            data["nextAttemptTime"] = format_time(self.next_attempt_time)
        return data


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """How a batch ended: how many jobs in which way, when, and how far the delivery of its webhook is."""

    complete: int
    failed: int
    cancelled: int
    completion_time: datetime
    webhook: DeliveryFacts | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form."""
        webhook = data.get("webhook")
        return cls(
            complete=data["complete"],
            failed=data["failed"],
            cancelled=data["cancelled"],
            completion_time=parse_time(data["completionTime"]),
            webhook=DeliveryFacts.parse(webhook) if webhook else None,
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form."""
        data: dict[str, Any] = {
            "complete": self.complete,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "completionTime": format_time(self.completion_time),
        }
        if self.webhook is not None:
            data["webhook"] = self.webhook.to_manifest()
        return data


@dataclass(frozen=True, slots=True)
class Status:
    """The whole of `status`."""

    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None
    source: SourceFacts | None = None
    outputs: tuple[OutputFacts, ...] = ()
    worker_job: str | None = None
    attempts: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    error: ErrorFacts | None = None
    webhook: DeliveryFacts | None = None
    batch: BatchFacts | None = None

    @property
    def phase(self) -> Phase:
        """Derived from the conditions."""
        return derive_phase(self.conditions)

    @property
    def finished(self) -> bool:
        """Whether the job has ended, in whatever way: nothing about its outcome changes any more."""
        return self.phase in FINISHED_PHASES

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type, if there is one."""
        return find_condition(self.conditions, type_)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the manifest's form; `{}` for a new job."""
        source, error = data.get("source"), data.get("error")
        webhook, batch = data.get("webhook"), data.get("batch")
        return cls(
            conditions=tuple(Condition.parse(item) for item in data.get("conditions", ())),
            observed_generation=data.get("observedGeneration"),
            source=SourceFacts.parse(source) if source else None,
            outputs=tuple(OutputFacts.parse(item) for item in data.get("outputs", ())),
            worker_job=data.get("workerJob"),
            attempts=data.get("attempts", 0),
            start_time=_optional_time(data.get("startTime")),
            completion_time=_optional_time(data.get("completionTime")),
            error=ErrorFacts(error["reason"], error["message"]) if error else None,
            webhook=DeliveryFacts.parse(webhook) if webhook else None,
            batch=BatchFacts.parse(batch) if batch else None,
        )

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's form, with the fields that are there for printing only."""
        start, completion, webhook = self.start_time, self.completion_time, self.webhook
        duration = (completion - start).total_seconds() if completion and start else None
        data: dict[str, Any] = {
            "phase": self.phase.value,
            "observedGeneration": self.observed_generation,
            "conditions": [condition.to_manifest() for condition in self.conditions],
            "source": self.source.to_manifest() if self.source else None,
            "outputs": [output.to_manifest() for output in self.outputs],
            "outputsSummary": summarize_outputs(self.outputs),
            "workerJob": self.worker_job,
            "attempts": self.attempts,
            "startTime": format_time(start) if start else None,
            "completionTime": format_time(completion) if completion else None,
            "duration": format_duration(duration) if duration is not None else None,
            "error": {"reason": self.error.reason, "message": self.error.message} if self.error else None,
            "webhook": webhook.to_manifest() if webhook else None,
            "batch": self.batch.to_manifest() if self.batch else None,
        }
        return {key: value for key, value in data.items() if value not in (None, [], "", 0)}


def status_patch(old: Mapping[str, Any], new: Status) -> dict[str, Any]:
    """The merge patch that turns the manifest `old` of a status into `new`; `{}` when nothing changes.

    Fields that `new` no longer has become null (RFC 7396 deletes them). `duration` is kept when the
    times that it was computed from are the same, since those are stored in whole seconds.
    """
    wanted = new.to_manifest()
    same_times = all(old.get(name) == wanted.get(name) for name in ("startTime", "completionTime"))
    if same_times and "duration" in old:
        wanted["duration"] = old["duration"]
    patch: dict[str, Any] = {key: value for key, value in wanted.items() if old.get(key) != value}
    patch.update({key: None for key in old if key not in wanted})
    return patch


def summarize_outputs(outputs: tuple[OutputFacts, ...]) -> str:
    """`100x100 jpeg, 720x587 webp`: one short line for a printer column."""
    return ", ".join(
        f"{output.width}x{output.height} {output.content_type.removeprefix('image/')}" for output in outputs
    )


def format_duration(seconds: float) -> str:
    """`40ms`, `1.2s`, `61s`: short, for a printer column."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    one_decimal_below = 10
    return f"{seconds:.1f}s" if seconds < one_decimal_below else f"{round(seconds)}s"


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
