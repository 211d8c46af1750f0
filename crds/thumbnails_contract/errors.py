"""The one tree of errors: every reason that a client, a condition or a worker can name.

An error is a class. What the rest needs to know about it stands beside its name: the HTTP status,
a title that never changes, and whether the same request is worth another try. HTTP problem
documents, condition reasons and the worker's results are all made from here. The message of an
instance is public: it says what to do, and holds no path, URL, token or text of another library.
"""

from typing import ClassVar


class ThumbnailsError(Exception):
    """Something that nobody expected went wrong in the service.

    The root of the tree: `message` is public, `reason` is stable and part of the API.
    """

    reason: ClassVar[str] = "InternalError"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "Try again; if it persists, tell the operator of this service."

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = None) -> None:
        self.message = message or self.default_message
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)


# ---- what a client did ---------------------------------------------------------------------


class InvalidRequest(ThumbnailsError):
    """The request cannot be understood as one of ours."""

    reason = "InvalidRequest"
    title = "The request is not valid"
    status = 400
    default_message = "Check the request against the API description."


class MissingImage(InvalidRequest):
    """No form part `image`, or an empty one, or an empty body."""

    reason = "MissingImage"
    title = "No image file"
    default_message = "Send the picture as the form field 'image', or as the body itself."


class InvalidOption(InvalidRequest):
    """An option (width, fit, format, ...) has a value that is not allowed."""

    reason = "InvalidOption"
    title = "An option is not valid"


class InvalidArchive(InvalidRequest):
    """What begins as a ZIP, or is called one, and cannot be read as one."""

    reason = "InvalidArchive"
    title = "The ZIP cannot be read"
    default_message = "It is truncated or damaged: pack it anew, and send it whole."


class Unauthorized(ThumbnailsError):
    """No API key, or none that is valid (RFC 9110 section 15.5.2): unknown and revoked are the same."""

    reason = "Unauthorized"
    title = "A valid API key is needed"
    status = 401
    default_message = "Send the header 'Authorization: Bearer' with a valid API key."


class ForbiddenOrigin(ThumbnailsError):
    """A page of another origin, or another Host, talks to a service without login."""

    reason = "ForbiddenOrigin"
    title = "Requests from this origin are refused"
    status = 403
    default_message = "This service has no login, so it answers its own page and local programs only."


class Forbidden(ThumbnailsError):
    """The credentials are valid, and do not allow this (RFC 9110 section 15.5.4)."""

    reason = "Forbidden"
    title = "The credentials do not allow this"
    status = 403


class InsufficientScope(Forbidden):
    """The API key, or the rights of the service account, lack the scope `read` or `write` (RFC 6750)."""

    reason = "InsufficientScope"
    default_message = "The header WWW-Authenticate names the scope that is needed."

    def __init__(self, scope: str = "") -> None:
        self.scope = scope
        super().__init__(f"The scope '{scope}' is needed." if scope else "")


class InvalidLink(Forbidden):
    """A signed link with another signature than ours, for something else, or of the past."""

    reason = "InvalidLink"
    title = "The link is not valid, or not any more"
    default_message = "Ask whoever gave it to you for a new one."


class NotFound(ThumbnailsError):
    """Nothing has that name, or it belongs to somebody else: a client cannot tell which."""

    reason = "NotFound"
    title = "Not found"
    status = 404
    default_message = "There is nothing here."


class JobNotFound(NotFound):
    """No job of the caller has this id."""

    reason = "JobNotFound"
    title = "No such job"
    default_message = "The id is not valid, or there is no job with it."


class NoJobs(NotFound):
    """The caller has no job at all (the contract answers 404 then)."""

    reason = "NoJobs"
    title = "There are no jobs"
    default_message = "Post a picture to /images first."


class ThumbnailNotFound(NotFound):
    """No such job, no such output, or the thumbnail is not there (yet)."""

    reason = "ThumbnailNotFound"
    title = "No such thumbnail"
    default_message = "The id is not valid, or its thumbnail is not there (yet)."


class ImageNotFound(NotFound):
    """The original is unknown, or was removed after its retention time."""

    reason = "ImageNotFound"
    title = "No such image"
    default_message = "The id is not valid, or its original is no longer kept."


class AccountNotFound(NotFound):
    """The caller acts for another account than this one, if it exists at all."""

    reason = "AccountNotFound"
    title = "No such account"
    default_message = "The name must be that of your own account, as every job says it."


class MethodNotAllowed(InvalidRequest):
    """The resource exists, the method does not (RFC 9110 section 15.5.6)."""

    reason = "MethodNotAllowed"
    title = "This resource has no such method"
    status = 405
    default_message = "The header Allow lists the methods that this resource has."


class PreconditionFailed(InvalidRequest):
    """An If-Match that does not hold (RFC 9110 section 15.5.13)."""

    reason = "PreconditionFailed"
    title = "A precondition does not hold"
    status = 412
    default_message = "The thumbnail has another ETag than the ones in If-Match."


class RangeNotSatisfiable(InvalidRequest):
    """A Range that begins past the end (RFC 9110 section 15.5.17)."""

    reason = "RangeNotSatisfiable"
    title = "The range is not within the file"
    status = 416
    default_message = "The header Content-Range says how many bytes there are."


class RequestTimeout(ThumbnailsError):
    """The head of a request took too long (RFC 9110 section 15.5.9); the connection ends."""

    reason = "RequestTimeout"
    title = "The request took too long"
    status = 408
    retryable = True
    default_message = "The headers of a request must come within a while; send it again."


class PayloadTooLarge(ThumbnailsError):
    """More bytes than the service takes (RFC 9110 section 15.5.14)."""

    reason = "PayloadTooLarge"
    title = "The picture has too many bytes"
    status = 413


class ArchiveTooLarge(PayloadTooLarge):
    """A ZIP with more files or more bytes of pictures than one request may bring."""

    reason = "ArchiveTooLarge"
    title = "The ZIP holds too much"
    default_message = "Send the pictures in several ZIPs."


class QuotaExceeded(ThumbnailsError):
    """A ResourceQuota of the namespace, or a limit of the account, is reached."""

    reason = "QuotaExceeded"
    title = "A quota is exhausted"
    status = 429
    retryable = True
    default_message = "Wait until earlier jobs are gone, or ask for a larger quota."

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = 10) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class RateLimited(ThumbnailsError):
    """More requests than the account, or more failed logins than an address, has in a period (RFC 6585)."""

    reason = "RateLimited"
    title = "Too many requests"
    status = 429
    retryable = True
    default_message = "Wait as long as the header Retry-After says."


class InvalidIdempotencyKey(InvalidRequest):
    """An Idempotency-Key that is empty, too long, or has characters other than printable ASCII."""

    reason = "InvalidIdempotencyKey"
    title = "The Idempotency-Key is not valid"
    default_message = "Send 1 to 255 printable ASCII characters in double quotes, such as a UUID."


class IdempotencyKeyInUse(ThumbnailsError):
    """The first request with this Idempotency-Key is still under way."""

    reason = "IdempotencyKeyInUse"
    title = "A request with this Idempotency-Key is under way"
    status = 409
    retryable = True
    default_message = "Send it again in a moment: it will be answered as the first one is."


class IdempotencyKeyReused(ThumbnailsError):
    """The Idempotency-Key came with other pictures or options before."""

    reason = "IdempotencyKeyReused"
    title = "The Idempotency-Key belongs to another request"
    status = 422
    default_message = "Use a new key for each upload; the same key is for the same pictures and options."


class AccountBeingErased(ThumbnailsError):
    """All that the account has is being erased; uploads are taken again once that is done."""

    reason = "AccountBeingErased"
    title = "The account is being erased"
    status = 409
    retryable = True
    default_message = "Uploads are taken again once that is done: GET /accounts/{account}/erasure says when."


# ---- what a picture is ---------------------------------------------------------------------


class SourceError(ThumbnailsError):
    """The picture itself is the trouble: another try will not help."""

    reason = "InvalidSource"
    title = "The picture cannot be used"
    status = 422


class UnsupportedFormat(SourceError):
    """The content is none of the formats we decode, whatever it is called."""

    reason = "UnsupportedFormat"
    title = "Not a picture of a supported format"
    status = 415
    default_message = "Send a JPEG, PNG, WebP, GIF or TIFF."


class SourceTooLarge(SourceError):
    """Over a limit: pixels, frames, bytes, scans, ..."""

    reason = "SourceTooLarge"
    title = "The picture is over a limit"


class CorruptSource(SourceError):
    """Pixel data is missing or cannot be decoded."""

    reason = "CorruptSource"
    title = "The picture is damaged"
    default_message = "The file is truncated or damaged; send it again from the original."


class SourceNotFound(SourceError):
    """The object that `spec.source.objectKey` names is not there."""

    reason = "SourceNotFound"
    title = "The original is not in the object store"
    status = 404
    default_message = "There is no object with this key; upload it before the job is created."


class ForbiddenSource(SourceError):
    """`spec.source.objectKey` names an object of another namespace or account."""

    reason = "ForbiddenSource"
    title = "The original belongs to somebody else"
    status = 403
    default_message = "A source must lie under sources/<namespace of the job>/."


class OutputTooLarge(SourceError):
    """The thumbnail that was asked for is over a limit."""

    reason = "OutputTooLarge"
    title = "The thumbnail would be over a limit"


class InvalidJob(SourceError):
    """A ThumbnailJob that this version cannot read."""

    reason = "InvalidJob"
    title = "The ThumbnailJob is not valid"


# ---- how rendering ended -------------------------------------------------------------------


class RenderError(ThumbnailsError):
    """Rendering did not end by itself."""

    reason = "RenderFailed"
    title = "The picture could not be rendered"
    status = 422


class OutOfMemory(RenderError):
    """The renderer, or the whole worker, ran out of memory with this picture."""

    reason = "OutOfMemory"
    title = "Rendering needs more memory than a worker has"
    default_message = "Send a smaller picture, or give workers more memory."


class WorkerCrashed(RenderError):
    """The process that had this picture died."""

    reason = "WorkerCrashed"
    title = "The renderer died with this picture"
    retryable = True
    default_message = "The file may be damaged in a way that breaks its decoder."


class DeadlineExceeded(RenderError):
    """Rendering took longer than the limit."""

    reason = "DeadlineExceeded"
    title = "Rendering took too long"
    default_message = "Send a smaller picture, or raise the limit of seconds."


class WorkerLost(RenderError):
    """A worker went silent or ended while it held the job."""

    reason = "WorkerLost"
    title = "The worker was lost"
    retryable = True


class Cancelled(RenderError):
    """The job's owner cancelled it."""

    reason = "Cancelled"
    title = "The job was cancelled"
    default_message = "spec.cancel was set."


# ---- what is away --------------------------------------------------------------------------


class Unavailable(ThumbnailsError):
    """Something we need is away for now; nothing was stored, so the same request may be sent again."""

    reason = "Unavailable"
    title = "The service is not available for now"
    status = 503
    retryable = True
    default_message = "Try again in a moment."

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = 2) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class ObjectStoreUnavailable(Unavailable):
    """The S3 server does not answer, or not usefully."""

    reason = "ObjectStoreUnavailable"
    title = "The object store is not available for now"


class JobStoreUnavailable(Unavailable):
    """The API server (or SQLite) does not answer, or not usefully."""

    reason = "JobStoreUnavailable"
    title = "The job store is not available for now"


class Overloaded(Unavailable):
    """Too many uploads at once: the spool of bodies is full."""

    reason = "Overloaded"
    title = "Too many uploads at once"


def error_classes() -> dict[str, type[ThumbnailsError]]:
    """Every error by its reason: what docs, problem types and the worker's results look up."""
    found: dict[str, type[ThumbnailsError]] = {}
    todo: list[type[ThumbnailsError]] = [ThumbnailsError]
    while todo:
        cls = todo.pop()
        found[cls.reason] = cls
        todo.extend(cls.__subclasses__())
    return found
