"""A ThumbnailJob as the JSON that REST clients see: no object keys, no names of workers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.names import FILE_NAME_ANNOTATION
from thumbnails_contract.spec import BatchWebhooks
from thumbnails_contract.status import REST_STATUS, ConditionType, OutputFacts, Phase, Reason
from thumbnails_contract.timestamps import format_time

_DELIVERY_STATUS: Final[Mapping[str, str]] = {
    Reason.DELIVERED: "delivered",
    Reason.DELIVERY_RETRYING: "retrying",
    Reason.DELIVERY_FAILED: "failed",
    Reason.RECEIVER_GONE: "failed",
    Reason.FORBIDDEN_ADDRESS: "failed",
}


def job_document(job: ThumbnailJob) -> dict[str, Any]:
    """The job, camelCase. What is not known yet is null, or absent when it may never be."""
    status = job.status
    phase = status.phase
    name = job.key.name
    document: dict[str, Any] = {
        "id": name,
        "status": REST_STATUS[phase],
        "imagePath": f"/images/{name}",
        "thumbnailPath": f"/thumbnails/{name}" if phase is Phase.SUCCEEDED and status.outputs else None,
        "fileName": job.annotations.get(FILE_NAME_ANNOTATION),
        "account": job.spec.account,
        "createdAt": format_time(job.created),
        "startedAt": _optional(status.start_time),
        "completedAt": _optional(status.completion_time),
        "priority": job.spec.priority.value,
        "options": [output.to_manifest() for output in job.spec.outputs],
        "outputs": [_output_document(job, output) for output in status.outputs],
    }
    if status.source is not None:
        source = status.source
        document["source"] = {
            "format": source.format,
            "width": source.width,
            "height": source.height,
            "frames": source.frames,
            "bytes": source.bytes,
        }
    if status.error is not None:
        document["error"] = {"reason": status.error.reason, "message": status.error.message}
    if job.spec.batch is not None:
        batch = job.spec.batch
        document["batch"] = {"id": batch.id, "index": batch.index, "size": batch.size}
    if (webhook := _webhook_document(job)) is not None:
        document["webhook"] = webhook
    return document


def output_path(job: ThumbnailJob, output: OutputFacts) -> str:
    """Where this thumbnail is served; its format is named only when the output has several."""
    path = f"/thumbnails/{job.key.name}/{output.name}"
    siblings = sum(other.name == output.name for other in job.status.outputs)
    return path if siblings == 1 else f"{path}?format={quote(output.format)}"


def _output_document(job: ThumbnailJob, output: OutputFacts) -> dict[str, Any]:
    return {
        "name": output.name,
        "format": output.content_type.removeprefix("image/"),
        "width": output.width,
        "height": output.height,
        "frames": output.frames,
        "bytes": output.bytes,
        "contentType": output.content_type,
        "path": output_path(job, output),
        "etag": f'"{output.etag}"',
        "thumbhash": output.thumbhash,
    }


def _webhook_document(job: ThumbnailJob) -> dict[str, Any] | None:
    """How its webhook is doing; None when nobody is to be told of it. Of the address, the host alone."""
    if job.spec.batch is not None and job.spec.batch.webhooks is BatchWebhooks.ONCE:
        return None
    condition = job.status.condition(ConditionType.WEBHOOK_DELIVERED)
    if condition is None and job.spec.webhook is None:
        return None
    delivery = job.status.webhook
    return {
        "host": urlsplit(job.spec.webhook.url).hostname if job.spec.webhook else None,
        "status": _DELIVERY_STATUS.get(condition.reason, "pending") if condition else "pending",
        "attempts": delivery.attempts if delivery else 0,
        "message": condition.message if condition else "",
    }


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
