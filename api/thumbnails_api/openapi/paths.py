"""Every route and method: parameters, bodies, answers, and how each may fail."""

from typing import Any, Final

from thumbnails_api.pages import DEFAULT_LIMIT, MAX_LIMIT
from thumbnails_api.problems import PROBLEM_TYPE
from thumbnails_api.settings import ApiSettings
from thumbnails_api.sniff import DECODED_FORMATS
from thumbnails_api.uploads import ARCHIVE_TYPES, IMAGE_FIELD
from thumbnails_contract.errors import (
    AccountBeingErased,
    AccountNotFound,
    ArchiveTooLarge,
    CorruptSource,
    ForbiddenOrigin,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    ImageNotFound,
    InvalidArchive,
    InvalidIdempotencyKey,
    InvalidLink,
    InvalidOption,
    InvalidRequest,
    JobNotFound,
    JobStoreUnavailable,
    MissingImage,
    NoJobs,
    NotFound,
    ObjectStoreUnavailable,
    Overloaded,
    PayloadTooLarge,
    PreconditionFailed,
    QuotaExceeded,
    RangeNotSatisfiable,
    SourceTooLarge,
    ThumbnailNotFound,
    ThumbnailsError,
    Unavailable,
    UnsupportedFormat,
)
from thumbnails_contract.spec import Format
from thumbnails_contract.status import REST_STATUS

from .elements import (
    RATE_LIMITS,
    Element,
    access_errors,
    json_content,
    parameter,
    problem_responses,
    response,
    schema_ref,
    without_bodies,
)
from .schemas import ACCOUNT, BATCH_ID, JOB_ID, OUTPUT_NAME, SERVED_FORMATS, option_schemas, words

_FILE_HEADERS: Final = ("ETag", "Accept-Ranges", "Content-Disposition", "Vary", *RATE_LIMITS)
_TEXT: Final[Element] = {"type": "string"}

_JOB_ID: Final = parameter("job_id", "path", "The job.", JOB_ID)
_ACCOUNT: Final = parameter("account", "path", "The caller's own account, as every job says it.", ACCOUNT)
_PREFER_BYTES: Final = parameter(
    "Prefer", "header", "`no-redirect`: the bytes from here, not where they lie (RFC 7240).", _TEXT
)
_PREFER: Final = parameter(
    "Prefer",
    "header",
    "`wait=10`: hold the answer until the job has ended, for so many seconds at most (RFC 7240).",
    {**_TEXT, "examples": ["wait=10"]},
)
_LAST_EVENT_ID: Final = parameter(
    "Last-Event-ID", "header", "Where the follower is: the last `id` that it saw.", _TEXT
)
_IDEMPOTENCY_KEY: Final = parameter(
    "Idempotency-Key",
    "header",
    (
        "The same request sent again with the same key is answered as it was the first time"
        " (draft-ietf-httpapi-idempotency-key-header): 1 to 255 printable ASCII characters in double quotes."
    ),
    {
        **_TEXT,
        "pattern": r'^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-~]{1,255})$',
        "examples": ['"019ab3a8-7a54-7c31-9f55-0d1c6a1b2c3e"'],
    },
)
_TRACE: Final = (
    parameter(
        "traceparent",
        "header",
        "The trace that the job belongs to (W3C Trace Context): its webhook brings it back.",
        _TEXT,
    ),
    parameter("tracestate", "header", "What tracing systems say of that trace.", _TEXT),
)
_IF_NONE_MATCH: Final = parameter(
    "If-None-Match", "header", "ETags of copies that the client has: 304 when one is still good.", _TEXT
)
_CONDITIONS: Final = (
    parameter("If-Match", "header", "412 unless the ETag is one of these.", _TEXT),
    _IF_NONE_MATCH,
    parameter(
        "Range", "header", "One range of bytes (RFC 9110 section 14).", {**_TEXT, "examples": ["bytes=0-99"]}
    ),
    parameter("If-Range", "header", "The range only if the ETag is this one, otherwise the whole.", _TEXT),
)
_LINK_PARAMETERS: Final = (
    parameter("owner", "query", "Part of a signed link: whose thumbnail it is.", _TEXT),
    parameter("expires", "query", "Part of a signed link: until when, in seconds since 1970.", _TEXT),
    parameter("signature", "query", "Part of a signed link: makes it valid, in place of credentials.", _TEXT),
)


def paths(settings: ApiSettings, *, requires_login: bool) -> dict[str, Element]:
    """All paths. What their operations have in common is added here."""
    writer = _Writer(settings, access_errors(requires_login=requires_login), requires_login=requires_login)
    found = {
        "/images": {"post": writer.post_images()},
        "/images/{job_id}": _with_head(writer.get_image()),
        "/thumbnails/{job_id}": _with_head(writer.get_thumbnail(named=False)),
        "/thumbnails/{job_id}/{output}": _with_head(writer.get_thumbnail(named=True)),
        "/jobs": _with_head(writer.get_jobs()),
        "/jobs/{job_id}": {**_with_head(writer.get_job()), "delete": writer.delete_job()},
        "/jobs/{job_id}/links": _with_head(writer.get_links()),
        "/jobs/{job_id}/events": {"get": writer.get_job_events()},
        "/events": {"get": writer.get_events()},
        "/accounts/{account}": {"delete": writer.delete_account()},
        "/accounts/{account}/erasure": _with_head(writer.get_erasure()),
        "/presets": _with_head(writer.get_presets()),
        "/healthz": _with_head(writer.get_health()),
        "/readyz": _with_head(writer.get_readiness()),
        "/openapi.json": _with_head(writer.get_openapi()),
        "/": _with_head(writer.get_index()),
        "/assets/{name}": _with_head(writer.get_web_file("getAsset", "A file of the page at `/`", "app.js")),
        "/docs": _with_head(writer.get_docs()),
        "/docs/{name}": _with_head(
            writer.get_web_file("getDocsFile", "A file of the page at `/docs`", "docs.js")
        ),
    }
    if not requires_login:
        found["/metrics"] = _with_head(writer.get_metrics())
    return found


def _with_head(get: Element) -> dict[str, Element]:
    head = {
        **get,
        "operationId": f"head{get['operationId'].removeprefix('get').removeprefix('list')}",
        "summary": f"{get['summary']}: the headers alone",
        "responses": without_bodies(get["responses"]),
    }
    return {"get": get, "head": head}


class _Writer:
    """Writes operations, for a service with these settings."""

    def __init__(
        self, settings: ApiSettings, access: tuple[type[ThumbnailsError], ...], *, requires_login: bool
    ) -> None:
        self._settings = settings
        self._access = access
        self._requires_login = requires_login

    # ---- images ----------------------------------------------------------------------------------

    def post_images(self) -> Element:
        """`POST /images`."""
        options = option_schemas(self._settings)
        batch_members = {
            "batchId": _TEXT,
            "items": {"type": "array", "items": schema_ref("RejectedPicture")},
        }
        errors = (
            MissingImage,
            InvalidOption,
            InvalidArchive,
            InvalidIdempotencyKey,
            IdempotencyKeyInUse,
            IdempotencyKeyReused,
            AccountBeingErased,
            PayloadTooLarge,
            ArchiveTooLarge,
            UnsupportedFormat,
            SourceTooLarge,
            CorruptSource,
            QuotaExceeded,
            Overloaded,
            ObjectStoreUnavailable,
            JobStoreUnavailable,
        )
        job_links = {
            name: {"operationId": operation, "parameters": {"job_id": "$response.body#/id"}}
            for name, operation in (
                ("job", "getJob"),
                ("events", "getJobEvents"),
                ("original", "getImage"),
                ("deletion", "deleteJob"),
            )
        }
        headers = ("Preference-Applied", "Idempotency-Replayed", *RATE_LIMITS)
        refused = problem_responses(*self._access, *errors)
        for element in refused.values():
            # Of several pictures of which none was taken the worst one's status is the answer's.
            content = element["content"][PROBLEM_TYPE]
            content["schema"] = {**content["schema"], "properties": batch_members}
        return self._operation(
            "postImages",
            "Images",
            "Upload pictures",
            (
                f"One `{IMAGE_FIELD}` part, or a picture as the body itself, is answered with its job;"
                " several parts, or a ZIP in place of a picture, with a batch: 201 when all were taken, 207"
                " when some, the worst one's problem when none. Each file in a ZIP is a picture of the batch;"
                " folders and what systems leave in them (`__MACOSX`, `.DS_Store`) are passed over."
                " What a file is, its content decides, not the type that it is declared as."
                " Options come as form fields, as query parameters, or both: fields win, and an empty"
                " value is none."
            ),
            parameters=[
                _PREFER,
                _IDEMPOTENCY_KEY,
                *_TRACE,
                *(
                    parameter(name, "query", schema["description"], schema)
                    for name, schema in options.items()
                ),
            ],
            requestBody={"required": True, "content": self._upload_content(options)},
            responses={
                "201": response(
                    "All pictures were taken.",
                    json_content({"anyOf": [schema_ref("Job"), schema_ref("Batch")]}),
                    headers=("Location", *headers),
                    links=job_links,
                ),
                "207": response("Some were taken.", json_content(schema_ref("Batch")), headers=headers),
                **refused,
            },
        )

    def _upload_content(self, options: dict[str, Element]) -> Element:
        picture = {"type": "string", "contentMediaType": "application/octet-stream"}
        form = {
            "type": "object",
            "properties": {
                IMAGE_FIELD: {
                    "type": "array",
                    "items": picture,
                    "minItems": 1,
                    "maxItems": self._settings.max_images,
                    "description": f"A picture of at most {self._settings.max_upload_bytes} bytes and"
                    f" {self._settings.max_pixels} pixels, or several; or a ZIP of at most"
                    f" {self._settings.max_archive_entries} of them.",
                },
                **options,
            },
            "required": [IMAGE_FIELD],
            # Forms have fields of their own, which mean nothing here.
            "additionalProperties": _TEXT,
        }
        types = [*_source_types(), *ARCHIVE_TYPES, "application/octet-stream"]
        return {
            "multipart/form-data": {"schema": form},
            **{name: {} for name in types},
        }

    def get_image(self) -> Element:
        """`GET /images/{job_id}`."""
        return self._operation(
            "getImage",
            "Images",
            "The original, as it was uploaded",
            "It is kept for some time after the job's end.",
            parameters=[_JOB_ID, *_CONDITIONS],
            responses=self._file_responses([*_source_types(), "application/octet-stream"], ImageNotFound),
        )

    # ---- thumbnails ------------------------------------------------------------------------------

    def get_thumbnail(self, *, named: bool) -> Element:
        """`GET /thumbnails/{job_id}` and `GET /thumbnails/{job_id}/{output}`."""
        output = [parameter("output", "path", "The name of the output.", OUTPUT_NAME)] if named else []
        prefer = [_PREFER_BYTES] if self._settings.redirect_seconds else []
        operation = self._operation(
            "getThumbnailOfOutput" if named else "getThumbnail",
            "Thumbnails",
            "A thumbnail of one output" if named else "The first thumbnail",
            (
                "Of an output with several formats it is the one that `Accept` names and likes best,"
                " otherwise the first one. The bytes never change. With a signed link no credentials are"
                " needed."
            ),
            parameters=[
                _JOB_ID,
                *output,
                parameter(
                    "format", "query", "This one of several formats.", {**_TEXT, "enum": words(Format)}
                ),
                *_LINK_PARAMETERS,
                *_CONDITIONS,
                *prefer,
            ],
            responses=self._file_responses(
                [f"image/{word}" for word in SERVED_FORMATS], ThumbnailNotFound, InvalidLink
            )
            | (self._redirect() if self._settings.redirect_seconds else {}),
        )
        if self._requires_login:
            operation["security"] = [{"bearer": []}, {"link": []}]
        return operation

    @staticmethod
    def _redirect() -> Element:
        text = (
            "The file is there, at the object store, for a while. Not so with `Prefer: no-redirect`, and for"
            " the page at `/`."
        )
        return {"307": response(text, headers=("Location", "Vary", *RATE_LIMITS))}

    def _file_responses(self, types: list[str], *errors: type[ThumbnailsError]) -> Element:
        content: dict[str, Element] = {name: {} for name in types}
        refused = problem_responses(
            *self._access, *errors, PreconditionFailed, RangeNotSatisfiable, ObjectStoreUnavailable
        )
        refused["416"]["headers"]["Content-Range"] = {"$ref": "#/components/headers/Content-Range"}
        return {
            "200": response("The file.", content, headers=_FILE_HEADERS),
            "206": response("The range of it.", content, headers=(*_FILE_HEADERS, "Content-Range")),
            "304": response("The client's copy is still good.", headers=("ETag", "Vary", *RATE_LIMITS)),
            **refused,
        }

    # ---- jobs ------------------------------------------------------------------------------------

    def get_jobs(self) -> Element:
        """`GET /jobs`."""
        statuses = {
            "type": "array",
            "items": {"type": "string", "enum": list(REST_STATUS.values())},
            "minItems": 1,
        }
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        return self._operation(
            "listJobs",
            "Jobs",
            "Jobs, newest first",
            "Follow `Link` to the next page. 404 only when there is no job at all.",
            parameters=[
                parameter("status", "query", "Those alone.", statuses, style="form", explode=False),
                parameter(
                    "batch", "query", "Those of this batch alone: the `batchId` of an upload.", BATCH_ID
                ),
                parameter("limit", "query", "How many at most.", limit),
                parameter(
                    "cursor",
                    "query",
                    "Where the page begins, from the `Link` of the one before.",
                    {**_TEXT, "format": "thumbnails-cursor"},
                ),
            ],
            responses={
                "200": response(
                    "A page.",
                    json_content({"type": "array", "items": schema_ref("Job")}),
                    headers=("Link", *RATE_LIMITS),
                ),
                **problem_responses(
                    *self._access, InvalidOption, NoJobs, JobStoreUnavailable, ObjectStoreUnavailable
                ),
            },
        )

    def get_job(self) -> Element:
        """`GET /jobs/{job_id}`."""
        job_id = "$response.body#/id"
        links = {
            "thumbnail": {"operationId": "getThumbnail", "parameters": {"job_id": job_id}},
            "thumbnailOfOutput": {
                "operationId": "getThumbnailOfOutput",
                "parameters": {"job_id": job_id, "output": "$response.body#/outputs/0/name"},
            },
            "links": {"operationId": "getJobLinks", "parameters": {"job_id": job_id}},
        }
        return self._operation(
            "getJob",
            "Jobs",
            "One job",
            "With `Prefer: wait`, once it has ended.",
            parameters=[_JOB_ID, _PREFER],
            responses={
                "200": response(
                    "The job.",
                    json_content(schema_ref("Job")),
                    headers=("Preference-Applied", *RATE_LIMITS),
                    links=links,
                ),
                **problem_responses(*self._access, JobNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
            },
        )

    def delete_job(self) -> Element:
        """`DELETE /jobs/{job_id}`."""
        errors = (JobNotFound, JobStoreUnavailable, ObjectStoreUnavailable)
        return self._operation(
            "deleteJob",
            "Jobs",
            "Delete a job, with its original and its thumbnails",
            (
                "From 204 on nothing of it can be had any more; its objects are removed within seconds."
                " With `Prefer: wait`, 204 says that they are gone, and 202 that they will be: ask again,"
                " until 204 or 404. What is being made of it is dropped."
            ),
            parameters=[_JOB_ID, _PREFER],
            responses={
                "202": response(
                    "It is gone, but not yet all of its objects.",
                    json_content(schema_ref("Deleted")),
                    headers=("Preference-Applied", *RATE_LIMITS),
                ),
                "204": response("It is gone.", headers=("Preference-Applied", *RATE_LIMITS)),
                **problem_responses(*self._access, *errors),
            },
        )

    def get_links(self) -> Element:
        """`GET /jobs/{job_id}/links`."""
        most, default = self._settings.link_max_seconds, self._settings.link_seconds
        seconds = {
            "type": "integer",
            "minimum": 1,
            "maximum": max(1, most),
            "default": max(1, min(default, most)),
        }
        return self._operation(
            "getJobLinks",
            "Jobs",
            "Signed links to a job's thumbnails",
            (
                "For `<img src>`: whoever has a link sees that thumbnail until it expires. Links can be given"
                " out before the thumbnails are there. 404 `NotFound` where the service gives out none."
            ),
            parameters=[_JOB_ID, parameter("seconds", "query", "How long they are valid.", seconds)],
            responses={
                "200": response("The links.", json_content(schema_ref("Links")), headers=RATE_LIMITS),
                **problem_responses(
                    *self._access,
                    InvalidOption,
                    JobNotFound,
                    NotFound,
                    JobStoreUnavailable,
                    ObjectStoreUnavailable,
                ),
            },
        )

    def get_job_events(self) -> Element:
        """`GET /jobs/{job_id}/events`."""
        return self._operation(
            "getJobEvents",
            "Jobs",
            "What happens to one job, as Server-Sent Events",
            (
                "For an EventSource. Each answer is short, and says by `retry:` when to come again. The event"
                " `job` has the job as its data."
            ),
            parameters=[_JOB_ID, _LAST_EVENT_ID],
            responses={
                "200": _event_stream("JobEvent"),
                "204": response("The follower has seen the job's end: no more will happen."),
                **problem_responses(*self._access, JobNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
            },
        )

    def get_events(self) -> Element:
        """`GET /events`."""
        return self._operation(
            "getEvents",
            "Jobs",
            "What happens to all jobs, as Server-Sent Events",
            (
                "For an EventSource: from now on, or since `Last-Event-ID`. Each answer is short, and says by"
                " `retry:` when to come again. Events are `job` (its data is a Job), `deleted` (`Deleted`),"
                " and `reset`: too much was missed, list the jobs anew."
            ),
            parameters=[_LAST_EVENT_ID],
            responses={
                "200": _event_stream("Event"),
                **problem_responses(*self._access, JobStoreUnavailable, ObjectStoreUnavailable),
            },
        )

    # ---- accounts --------------------------------------------------------------------------------

    def delete_account(self) -> Element:
        """`DELETE /accounts/{account}`."""
        return self._operation(
            "deleteAccount",
            "Accounts",
            "Erase all that the account has",
            (
                "Its jobs, originals, thumbnails, and what is remembered of its uploads. It takes some"
                " seconds at least; until it is done uploads are refused (`AccountBeingErased`). The account"
                " itself, its keys and the secret that its webhooks are signed with stay. Asking again while"
                " it runs changes nothing."
            ),
            parameters=[_ACCOUNT],
            responses={
                "202": response(
                    "It has begun.",
                    json_content(schema_ref("Erasure")),
                    headers=("Location", *RATE_LIMITS),
                    links={
                        "erasure": {
                            "operationId": "getAccountErasure",
                            "parameters": {"account": "$response.body#/account"},
                        }
                    },
                ),
                **problem_responses(*self._access, AccountNotFound, ObjectStoreUnavailable),
            },
        )

    def get_erasure(self) -> Element:
        """`GET /accounts/{account}/erasure`."""
        return self._operation(
            "getAccountErasure",
            "Accounts",
            "Whether the account's erasure is done",
            "The one that runs, or the last one of some weeks. 404 `NotFound` when there was none.",
            parameters=[_ACCOUNT],
            responses={
                "200": response("How far it is.", json_content(schema_ref("Erasure")), headers=RATE_LIMITS),
                **problem_responses(*self._access, AccountNotFound, NotFound, ObjectStoreUnavailable),
            },
        )

    # ---- the service -----------------------------------------------------------------------------

    def get_presets(self) -> Element:
        """`GET /presets`."""
        outputs = {"type": "array", "items": schema_ref("OutputOptions")}
        return self._operation(
            "getPresets",
            "Service",
            "Outputs by name, for `preset`",
            "As the administrator has set them.",
            responses={
                "200": response(
                    "The outputs of each preset.",
                    json_content({"type": "object", "additionalProperties": outputs}),
                    headers=RATE_LIMITS,
                ),
                **problem_responses(*self._access),
            },
        )

    def get_health(self) -> Element:
        """`GET /healthz`."""
        return self._public(
            "getHealth",
            "Service",
            "Whether requests are answered at all",
            "For a liveness probe.",
            responses={"200": response("They are.", json_content(_constant("ok")))},
        )

    def get_readiness(self) -> Element:
        """`GET /readyz`."""
        checks = {"type": "object", "additionalProperties": _TEXT, "description": "What is wrong, by part."}
        return self._public(
            "getReadiness",
            "Service",
            "Whether all parts of the service answer",
            "For a readiness probe.",
            responses={
                "200": response("They do.", json_content(_constant("ready"))),
                **problem_responses(Unavailable, extensions={"503": {"checks": checks}}),
            },
        )

    def get_metrics(self) -> Element:
        """`GET /metrics`, where there is no login."""
        return self._operation(
            "getMetrics",
            "Service",
            "Metrics for Prometheus",
            "Where there is a login they are on the probes' port.",
            responses={
                "200": response("The metrics.", {"text/plain": {"schema": _TEXT}}, headers=RATE_LIMITS),
                **problem_responses(*self._access),
            },
        )

    def get_openapi(self) -> Element:
        """`GET /openapi.json`."""
        return self._public(
            "getOpenapi",
            "Service",
            "This document",
            "OpenAPI 3.1.",
            parameters=[_IF_NONE_MATCH],
            responses=self._web_responses(
                json_content({"type": "object", "required": ["openapi", "info", "paths"]})
            ),
        )

    # ---- pages -----------------------------------------------------------------------------------

    def get_index(self) -> Element:
        """`GET /`."""
        index = {
            "type": "object",
            "properties": {
                "name": {"const": "thumbnails"},
                "version": _TEXT,
                "links": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "format": "uri-reference"},
                },
            },
            "required": ["name", "version", "links"],
        }
        return self._public(
            "getIndex",
            "Pages",
            "The page for browsers, and where to go for programs",
            "`Accept` decides.",
            parameters=[_IF_NONE_MATCH],
            responses=self._web_responses({**json_content(index), "text/html": {"schema": _TEXT}}, "Vary"),
        )

    def get_docs(self) -> Element:
        """`GET /docs`."""
        return self._public(
            "getDocs",
            "Pages",
            "This document as a page",
            "For people.",
            parameters=[_IF_NONE_MATCH],
            responses=self._web_responses({"text/html": {"schema": _TEXT}}),
        )

    def get_web_file(self, operation_id: str, summary: str, example: str) -> Element:
        """A file of a page."""
        types = ("text/html", "text/css", "text/javascript", "image/svg+xml")
        content = {name: {"schema": _TEXT} for name in types}
        return self._public(
            operation_id,
            "Pages",
            summary,
            "They are the same for everybody.",
            parameters=[
                parameter("name", "path", "The file.", {**_TEXT, "examples": [example]}),
                _IF_NONE_MATCH,
            ],
            responses={**self._web_responses(content), **problem_responses(NotFound, *self._public_errors())},
        )

    def _web_responses(self, content: Element, *headers: str) -> Element:
        return {
            "200": response("All of it.", content, headers=("ETag", *headers)),
            "304": response("The client's copy is still good.", headers=("ETag", *headers)),
            **problem_responses(*self._public_errors()),
        }

    def _public_errors(self) -> tuple[type[ThumbnailsError], ...]:
        """How pages fail: they are of no account, so nothing is counted or looked up."""
        return tuple(
            error for error in self._access if error in {InvalidRequest, ThumbnailsError, ForbiddenOrigin}
        )

    # ---- all -------------------------------------------------------------------------------------

    def _operation(self, operation_id: str, tag: str, summary: str, description: str, **more: Any) -> Element:
        return {
            "operationId": operation_id,
            "tags": [tag],
            "summary": summary,
            "description": description,
            **more,
        }

    def _public(self, operation_id: str, tag: str, summary: str, description: str, **more: Any) -> Element:
        operation = self._operation(operation_id, tag, summary, description, **more)
        return {**operation, "security": []} if self._requires_login else operation


def _source_types() -> list[str]:
    return [f"image/{word}" for word in DECODED_FORMATS]


def _event_stream(name: str) -> Element:
    """The schema is that of one event: OpenAPI 3.1 has no word for streams."""
    content = {"text/event-stream": {"schema": schema_ref(name)}}
    return response("What happened, and when to ask again.", content, headers=RATE_LIMITS)


def _constant(status: str) -> Element:
    return {"type": "object", "properties": {"status": {"const": status}}, "required": ["status"]}
