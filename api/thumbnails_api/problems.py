"""Problem documents (RFC 9457) made from the one tree of errors, for every answer that is no success.

The type is `urn:thumbnails:problem:` and the reason in kebab-case: stable, and the same word as in
conditions of a ThumbnailJob. `instance` is absent: X-Request-Id names the request.
"""

import json
import logging
import re
from typing import Any, Final

import falcon

from thumbnails_common.jobstore import JobStoreError
from thumbnails_common.objectstore import NoSuchObject, ObjectExists
from thumbnails_contract.errors import (
    InsufficientScope,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ThumbnailsError,
    Unauthorized,
)

log = logging.getLogger(__name__)

PROBLEM_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:thumbnails:problem:"
# RFC 6750 section 3: the scheme is followed by at least one parameter.
CHALLENGE: Final = 'Bearer realm="thumbnails"'

# Answers of our stores that a resource should have handled: what they say is no business of clients.
INTERNAL_ERRORS: Final = (JobStoreError, NoSuchObject, ObjectExists)
_FIRST_SERVER_ERROR: Final = 500

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


def problem_type(reason: str) -> str:
    """`urn:thumbnails:problem:source-too-large` for SourceTooLarge."""
    return TYPE_PREFIX + _WORD_START.sub("-", reason).lower()


def problem_document(error: ThumbnailsError) -> dict[str, Any]:
    """The members of RFC 9457, and `reason`."""
    return {
        "type": problem_type(error.reason),
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "reason": error.reason,
    }


def problem_headers(error: ThumbnailsError) -> list[tuple[str, str]]:
    """What goes with the document of this error."""
    # A problem is of the moment: a thumbnail that is not there yet must not be "not there" for long.
    headers = [("Cache-Control", "no-store")]
    if error.status == Unauthorized.status:
        headers.append(("WWW-Authenticate", CHALLENGE))
    if isinstance(error, InsufficientScope):
        # RFC 6750 section 3.1
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'
        headers.append(("WWW-Authenticate", challenge))
    if error.retry_after_seconds is not None:
        headers.append(("Retry-After", str(error.retry_after_seconds)))
    return headers


def public_error(error: Exception) -> ThumbnailsError:
    """The error that a client may see: this one, or a bare InternalError for what nobody expected."""
    if isinstance(error, ThumbnailsError) and not isinstance(error, INTERNAL_ERRORS):
        return error
    log.error("something that nobody expected", exc_info=error)
    return ThumbnailsError()


def write_problem(resp: falcon.Response, error: ThumbnailsError, **extensions: Any) -> None:
    """Answer with this error; `extensions` are further members of the document."""
    resp.status = error.status
    resp.content_type = PROBLEM_TYPE
    resp.data = json.dumps(problem_document(error) | extensions).encode()
    resp.stream = None
    resp.context.problem = error.reason  # for the metrics
    for name, value in problem_headers(error):
        resp.set_header(name, value)


def handle_thumbnails_error(
    req: falcon.Request, resp: falcon.Response, error: ThumbnailsError, _params: dict[str, Any]
) -> None:
    """For errors of our own tree, which are public unless a store's."""
    if isinstance(error, INTERNAL_ERRORS):
        handle_unexpected(req, resp, error, _params)
        return
    if error.status >= _FIRST_SERVER_ERROR:
        log.warning("%s %s: %s: %s", req.method, req.path, error.reason, error.message)
    write_problem(resp, error)


def handle_http_error(
    _req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    """For Falcon's own errors: unknown routes, wrong methods, headers that it cannot read."""
    ours: ThumbnailsError
    if error.status_code == NotFound.status:
        ours = NotFound()
    elif error.status_code == MethodNotAllowed.status:
        ours = MethodNotAllowed()
    else:
        ours = InvalidRequest()
    write_problem(resp, ours)
    for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else ():
        resp.set_header(name, value)


def handle_unexpected(
    req: falcon.Request, resp: falcon.Response, error: BaseException, _params: dict[str, Any]
) -> None:
    """For all else: the log gets the traceback, the client a 500 and the id to ask for."""
    log.error("%s %s failed unexpectedly", req.method, req.path, exc_info=error)
    write_problem(resp, ThumbnailsError())
