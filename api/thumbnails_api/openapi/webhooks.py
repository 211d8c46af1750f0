"""Webhooks: what the service sends to receivers when jobs end (Standard Webhooks 1.0)."""

from typing import Any, Final

from thumbnails_contract.status import REST_STATUS, Phase

from .elements import JSON, Element, parameter, schema_ref

BATCH_EVENT: Final = "thumbnailjob.batch.completed"
# Event types of jobs, and the phase that a job ended in.
EVENTS: Final = {
    "thumbnailjob.completed": Phase.SUCCEEDED,
    "thumbnailjob.failed": Phase.FAILED,
    "thumbnailjob.cancelled": Phase.CANCELLED,
}

_DESCRIPTION: Final = """\
Sent at least once, with the same `webhook-id`, after the job says the same. Verify `webhook-signature` with
a library of Standard Webhooks before you believe it, and answer within seconds. An answer of 2xx ends the
delivery, 410 ends it too; after any other, a redirect too, it is tried again for days, less and less often.
"""

_BATCH_DESCRIPTION: Final = """\
Once for a batch, unless `batchWebhooks` was `each`; the jobs' own events come beside it unless that was
`once`. `size` counts the pictures of the upload, `jobs` those whose jobs are there at the end: the others
were refused, or deleted meanwhile. A batch whose upload broke off is told of some minutes after its last job
was made; one of which all jobs were deleted is not.

"""

_HEADERS: Final = (
    ("webhook-id", "The same for every try: what was seen already can be left.", {"type": "string"}),
    (
        "webhook-timestamp",
        "When this try was made: seconds since 1970.",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    (
        "webhook-signature",
        "`v1,` and the HMAC-SHA-256 of id, timestamp and body, in base64.",
        {"type": "string", "pattern": "^v1,"},
    ),
)


def webhooks() -> dict[str, Any]:
    """One webhook for each event."""
    found = {name: {"post": _job_event(name, phase)} for name, phase in EVENTS.items()}
    return found | {BATCH_EVENT: {"post": _batch_event()}}


def _job_event(name: str, phase: Phase) -> Element:
    status = REST_STATUS[phase]
    event = {
        "allOf": [
            schema_ref("WebhookEvent"),
            {"properties": {"type": {"const": name}, "data": {"properties": {"status": {"const": status}}}}},
        ]
    }
    operation_id = f"{name.removeprefix('thumbnailjob.')}Event"
    return _operation(operation_id, f"A job has ended: {status}", _DESCRIPTION, event)


def _batch_event() -> Element:
    event = {
        "allOf": [schema_ref("BatchWebhookEvent"), {"properties": {"type": {"const": BATCH_EVENT}}}],
    }
    return _operation(
        "batchCompletedEvent", "All jobs of a batch have ended", _BATCH_DESCRIPTION + _DESCRIPTION, event
    )


def _operation(operation_id: str, summary: str, description: str, event: Element) -> Element:
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": ["Jobs"],
        "parameters": [
            parameter(header, "header", text, schema, required=True) for header, text, schema in _HEADERS
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": event}}},
        "responses": {
            "2XX": {"description": "It was received."},
            "410": {"description": "No more deliveries of this event."},
        },
        "security": [],
    }
