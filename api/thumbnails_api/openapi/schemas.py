"""Schemas of what comes in and goes out: jobs, problems, batches, outputs, links, events."""

from enum import StrEnum
from typing import Any, Final

from thumbnails_api.options import MAX_QUALITY, MAX_TTL_SECONDS, MAX_URL_LENGTH
from thumbnails_api.problems import TYPE_PREFIX
from thumbnails_api.settings import ApiSettings
from thumbnails_contract.names import DEFAULT_OUTPUT, MAX_LABEL_LENGTH, MAX_NAME_LENGTH
from thumbnails_contract.spec import (
    DEFAULT_SIDE_PIXELS,
    MAX_OUTPUTS,
    MAX_SIDE_PIXELS,
    BatchWebhooks,
    Fit,
    Format,
    Metadata,
    Position,
    Priority,
)
from thumbnails_contract.status import REST_STATUS

from .elements import Element, public_reasons, schema_ref

EXAMPLE_ID: Final = "019ab3a8-7a54-7c31-9f55-0d1c6a1b2c3d"
_LABEL: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_COLOUR: Final = "^(transparent|#[0-9a-f]{6}([0-9a-f]{2})?)$"
_TIME: Final[Element] = {"type": "string", "format": "date-time"}
_COUNT: Final[Element] = {"type": "integer", "minimum": 0}
_PIXELS: Final[Element] = {"type": "integer", "minimum": 1}
_TRUE_OR_FALSE: Final = ("true", "false", "1", "0", "on", "off", "yes", "no", "")

JOB_ID: Final[Element] = {
    "type": "string",
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "maxLength": MAX_NAME_LENGTH,
    "examples": [EXAMPLE_ID],
}
BATCH_ID: Final[Element] = {
    "type": "string",
    "pattern": _LABEL,
    "maxLength": MAX_LABEL_LENGTH,
    "examples": [EXAMPLE_ID],
}
OUTPUT_NAME: Final[Element] = {
    "type": "string",
    "pattern": _LABEL,
    "maxLength": MAX_LABEL_LENGTH,
    "examples": [DEFAULT_OUTPUT],
}
ACCOUNT: Final[Element] = {
    "type": "string",
    "pattern": _LABEL,
    "maxLength": MAX_LABEL_LENGTH,
    "examples": ["shop"],
}
SERVED_FORMATS: Final = tuple(word.value for word in Format if word is not Format.AUTO)


def words(kind: type[StrEnum]) -> list[str]:
    """The values of an enumeration."""
    return [word.value for word in kind]


def schemas(settings: ApiSettings) -> dict[str, Element]:
    """All schemas of the components, by name."""
    return {
        "Job": _job(),
        "JobStatus": {
            "type": "string",
            "enum": list(REST_STATUS.values()),
            "description": "The last three are ends: nothing about the outcome changes any more.",
        },
        "OutputOptions": _output_options(),
        "Thumbnail": _thumbnail(),
        "JobError": _object(
            "Why the job failed, or that it was cancelled.",
            {
                "reason": {
                    "type": "string",
                    "description": "As in a problem document.",
                    "examples": ["CorruptSource"],
                },
                "message": {"type": "string"},
            },
        ),
        "BatchPlace": _object(
            "Which upload of several pictures this one came with.",
            {"id": BATCH_ID, "index": _COUNT, "size": _PIXELS},
        ),
        "Problem": _problem(),
        "Batch": _object(
            "What became of each picture, in the order of the upload.",
            {"batchId": BATCH_ID, "items": {"type": "array", "items": schema_ref("BatchItem")}},
        ),
        "BatchItem": {"anyOf": [schema_ref("Job"), schema_ref("RejectedPicture")]},
        "RejectedPicture": {
            "description": "A picture that was not taken.",
            "allOf": [schema_ref("Problem")],
            "properties": {"fileName": {"type": ["string", "null"]}},
            "required": ["fileName"],
        },
        "OutputRequest": output_request(settings),
        "Links": _links(),
        "Event": _event("job", "deleted", "reset"),
        "JobEvent": _event("job"),
        "Deleted": _object("The job is gone.", {"id": {"type": "string"}}),
        "Erasure": _object(
            "The erasure of an account.",
            {
                "id": {"type": "string"},
                "account": {"type": "string"},
                "status": {"type": "string", "enum": ["running", "done"]},
                "requestedAt": _TIME,
                "finishedAt": _or_null(_TIME),
                "jobs": {**_or_null(_COUNT), "description": "How many were erased, once it is done."},
                "objects": {**_or_null(_COUNT), "description": "Files and records, once it is done."},
            },
        ),
        "WebhookEvent": _webhook_event(),
        "BatchWebhookEvent": _batch_webhook_event(),
    }


def option_schemas(settings: ApiSettings) -> dict[str, Element]:
    """The options of an upload as texts of a form or a query, by name; an empty one is none."""
    side = settings.max_output_side_pixels
    options: dict[str, Element] = {
        "width": _number(
            1,
            side,
            f"Pixels. Of one side alone the other follows; without both it is {DEFAULT_SIDE_PIXELS} x"
            f" {DEFAULT_SIDE_PIXELS}.",
        ),
        "height": _number(1, side, "Pixels."),
        "fit": _words(
            Fit, Fit.COVER, "How a picture is brought into width x height, in the words of CSS and sharp."
        ),
        "position": _words(
            Position, Position.CENTER, "What `cover` keeps, or where `contain` puts the picture."
        ),
        "background": {
            "type": "string",
            "pattern": f"^$|{_COLOUR}",
            "description": (
                "`#rrggbb`, `#rrggbbaa` or `transparent`; otherwise transparent where the format can, else"
                " white."
            ),
            "examples": ["#ffffff"],
        },
        "format": {
            "type": "string",
            "pattern": f"^(({_any(Format)})(,({_any(Format)}))*)?$",
            "default": Format.AUTO.value,
            "description": (
                "One, or several with commas in between: clients are served the best that they can show."
                " `auto` keeps the original's; TIFF becomes JPEG or PNG."
            ),
            "examples": ["avif,webp,jpeg"],
        },
        "quality": _number(1, MAX_QUALITY, "Of what is written with loss; otherwise what suits the format."),
        "animated": _boolean("Whether animations stay so.", default=True),
        "withoutEnlargement": _boolean("Whether small pictures stay small.", default=False),
        "metadata": _words(Metadata, Metadata.STRIP, "What becomes of EXIF, XMP and the like."),
        "outputs": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "anyOf": [
                    {
                        "type": "array",
                        "items": schema_ref("OutputRequest"),
                        "minItems": 1,
                        "maxItems": MAX_OUTPUTS,
                    },
                    schema_ref("OutputRequest"),
                ]
            },
            "format": "thumbnails-outputs",
            "description": (
                "Several thumbnails of each picture: a JSON array of objects, each with a `name` of its own."
                " Not beside `preset` or options of one thumbnail."
            ),
            "examples": [
                '[{"name":"small","width":100},{"name":"large","width":1000,"format":["webp","jpeg"]}]'
            ],
        },
        "webhookUrl": {
            "type": "string",
            "format": "thumbnails-webhook-url",
            "maxLength": MAX_URL_LENGTH,
            "description": (
                "Who is told of the job's end, in place of the service's own receiver: an http or https URL"
                " in ASCII, without credentials and fragment."
            ),
            "examples": ["https://example.com/hook"],
        },
        "batchWebhooks": _words(
            BatchWebhooks,
            BatchWebhooks.BOTH,
            "What the receiver is told of a batch: the end of `each` job, `once` the end of all, or `both`.",
        ),
        "priority": {
            "type": "string",
            "enum": [*words(Priority), ""],
            "description": (
                "Bulk jobs never delay interactive ones. By default a batch is `bulk`, a single picture"
                " `interactive`."
            ),
        },
        "ttlSecondsAfterFinished": _number(
            0,
            MAX_TTL_SECONDS,
            "The job becomes history so long after its end; otherwise as the service is set up. It is"
            " answered as before.",
        ),
    }
    if settings.presets:
        options["preset"] = {
            "type": "string",
            "enum": [*settings.presets, ""],
            "description": (
                "A name for outputs, see `/presets`. Options of one thumbnail change a preset of one."
            ),
        }
    return options


def output_request(settings: ApiSettings) -> Element:
    """One thumbnail of `outputs`, as JSON has it."""
    side = {"type": ["integer", "null"], "minimum": 1, "maximum": settings.max_output_side_pixels}
    some_formats = {"type": "array", "items": {"enum": words(Format)}, "minItems": 1}
    return {
        "type": "object",
        "description": "One thumbnail that is asked for.",
        "properties": {
            "name": {**OUTPUT_NAME, "default": DEFAULT_OUTPUT},
            "width": side,
            "height": side,
            "fit": {"enum": [*words(Fit), None], "default": Fit.COVER.value},
            "position": {"enum": [*words(Position), None], "default": Position.CENTER.value},
            "background": {"type": ["string", "null"], "pattern": _COLOUR},
            "format": {"anyOf": [{"enum": words(Format)}, some_formats, {"type": "null"}]},
            "quality": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_QUALITY},
            "animated": {"type": ["boolean", "null"], "default": True},
            "withoutEnlargement": {"type": ["boolean", "null"], "default": False},
            "metadata": {"enum": [*words(Metadata), None], "default": Metadata.STRIP.value},
        },
        "additionalProperties": False,
    }


def _object(description: str, properties: dict[str, Element], *, optional: tuple[str, ...] = ()) -> Element:
    """An object whose properties are always there, but for the optional ones."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _or_null(schema: Element) -> Element:
    return {**schema, "type": [schema["type"], "null"]}


def _any(kind: type[StrEnum]) -> str:
    return "|".join(words(kind))


def _number(least: int, most: int, description: str) -> Element:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _words(kind: type[StrEnum], default: StrEnum, description: str) -> Element:
    return {
        "type": "string",
        "enum": [*words(kind), ""],
        "default": default.value,
        "description": description,
    }


def _boolean(description: str, *, default: bool) -> Element:
    return {
        "type": "string",
        "enum": list(_TRUE_OR_FALSE),
        "default": "true" if default else "false",
        "description": description,
    }


def _job() -> Element:
    path: Element = {"type": "string", "format": "uri-reference"}
    return _object(
        "One picture, and what became of it. What is not known yet is null; what may never be is absent.",
        {
            "id": {**JOB_ID, "description": "Newer ones are greater: UUIDv7."},
            "status": schema_ref("JobStatus"),
            "imagePath": {**path, "description": "The original, as long as it is kept."},
            "thumbnailPath": {**_or_null(path), "description": "The first thumbnail, once it is there."},
            "fileName": {"type": ["string", "null"], "description": "What the client calls the picture."},
            "account": {"type": "string"},
            "createdAt": _TIME,
            "startedAt": _or_null(_TIME),
            "completedAt": _or_null(_TIME),
            "priority": {"type": "string", "enum": words(Priority)},
            "options": {
                "type": "array",
                "items": schema_ref("OutputOptions"),
                "description": "What was asked for, with every default.",
            },
            "outputs": {
                "type": "array",
                "items": schema_ref("Thumbnail"),
                "description": "What is there.",
            },
            "source": _object(
                "What the original turned out to be; width and height as it is shown.",
                {
                    "format": {"type": "string", "examples": ["jpeg"]},
                    "width": _PIXELS,
                    "height": _PIXELS,
                    "frames": _PIXELS,
                    "bytes": _COUNT,
                },
            ),
            "error": schema_ref("JobError"),
            "batch": schema_ref("BatchPlace"),
            "webhook": _object(
                "How telling of the job's end is doing.",
                {
                    "host": {
                        "type": ["string", "null"],
                        "description": "Of the job's own URL; null for the service's receiver.",
                    },
                    "status": {"type": "string", "enum": ["pending", "retrying", "delivered", "failed"]},
                    "attempts": _COUNT,
                    "message": {"type": "string"},
                },
            ),
        },
        optional=("source", "error", "batch", "webhook"),
    )


def _output_options() -> Element:
    side = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE_PIXELS}
    return _object(
        "One thumbnail that was asked for. Without width or height the picture's shape says it.",
        {
            "name": OUTPUT_NAME,
            "width": side,
            "height": side,
            "fit": {"type": "string", "enum": words(Fit)},
            "position": {"type": "string", "enum": words(Position)},
            "background": {"type": "string"},
            "formats": {"type": "array", "items": {"type": "string", "enum": words(Format)}, "minItems": 1},
            "quality": {"type": "integer", "minimum": 1, "maximum": MAX_QUALITY},
            "animated": {"type": "boolean"},
            "withoutEnlargement": {"type": "boolean"},
            "metadata": {"type": "string", "enum": words(Metadata)},
        },
        optional=("width", "height", "background", "quality"),
    )


def _thumbnail() -> Element:
    return _object(
        "One thumbnail that is there.",
        {
            "name": OUTPUT_NAME,
            "format": {"type": "string", "enum": list(SERVED_FORMATS)},
            "width": _PIXELS,
            "height": _PIXELS,
            "frames": _PIXELS,
            "bytes": _COUNT,
            "contentType": {"type": "string", "enum": [f"image/{word}" for word in SERVED_FORMATS]},
            "path": {"type": "string", "format": "uri-reference"},
            "etag": {"type": "string", "description": "As the header ETag, with its quotes."},
            "thumbhash": {
                "type": ["string", "null"],
                "description": (
                    "A placeholder of some 25 bytes in base64 (ThumbHash), until the thumbnail is loaded."
                ),
            },
        },
    )


def _problem() -> Element:
    return _object(
        "RFC 9457, with the reason in one word.",
        {
            "type": {"type": "string", "format": "uri", "pattern": f"^{TYPE_PREFIX}[a-z-]+$"},
            "title": {"type": "string", "description": "Always the same for a reason."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What to do, in words; may change."},
            "reason": {"type": "string", "enum": public_reasons()},
        },
    )


def _links() -> Element:
    path: Element = {"type": "string", "format": "uri-reference"}
    return _object(
        "Links that need no credentials, for pages that people see.",
        {
            "id": JOB_ID,
            "expiresAt": _TIME,
            "thumbnailPath": path,
            "outputs": {
                "type": "array",
                "items": _object(
                    "Of one output; with a format, of that one of several.",
                    {
                        "name": OUTPUT_NAME,
                        "format": {"enum": [*words(Format), None]},
                        "path": path,
                    },
                ),
            },
        },
    )


def _event(*names: str) -> Element:
    data = {
        "job": schema_ref("Job"),
        "deleted": schema_ref("Deleted"),
        "reset": {"type": "object", "maxProperties": 0},
    }
    return _object(
        "One event of a stream.",
        {
            "id": {"type": "string", "pattern": "^[0-9]+$", "description": "For `Last-Event-ID`."},
            "event": {"type": "string", "enum": list(names)},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [data[name] for name in names]},
            },
        },
    )


def _webhook_event() -> Element:
    thumbnail = _object(
        "One thumbnail.",
        {
            "name": OUTPUT_NAME,
            "format": {
                "type": "string",
                "enum": words(Format),
                "description": "The word that was asked for.",
            },
            "width": _PIXELS,
            "height": _PIXELS,
            "bytes": _COUNT,
            "contentType": {"type": "string"},
            "path": {"type": "string", "format": "uri-reference"},
        },
    )
    data: dict[str, Any] = {
        "jobId": JOB_ID,
        "status": schema_ref("JobStatus"),
        "thumbnailPath": {"type": ["string", "null"], "format": "uri-reference"},
        "imagePath": {"type": "string", "format": "uri-reference"},
        "jobPath": {"type": "string", "format": "uri-reference"},
        "outputs": {"type": "array", "items": thumbnail},
        "error": schema_ref("JobError"),
        "batch": schema_ref("BatchPlace"),
    }
    return _object(
        "What a webhook says.",
        {
            "type": {"type": "string"},
            "timestamp": {**_TIME, "description": "When the job ended."},
            "data": _object("About the job.", data, optional=("error", "batch")),
        },
    )


def _batch_webhook_event() -> Element:
    return _object(
        "What the webhook of a batch says.",
        {
            "type": {"type": "string"},
            "timestamp": {**_TIME, "description": "When the last job ended."},
            "data": _object(
                "About the batch.",
                {
                    "batchId": BATCH_ID,
                    "size": {**_PIXELS, "description": "Pictures of the upload."},
                    "jobs": {**_PIXELS, "description": "Their jobs, that are there at the end."},
                    "complete": _COUNT,
                    "failed": _COUNT,
                    "cancelled": _COUNT,
                    "jobsPath": {"type": "string", "format": "uri-reference"},
                },
            ),
        },
    )
