"""Pieces of an OpenAPI document that many operations share: references, headers, problems, parameters."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from thumbnails_api.problems import PROBLEM_TYPE
from thumbnails_contract.errors import (
    Forbidden,
    ForbiddenOrigin,
    InsufficientScope,
    InvalidRequest,
    RateLimited,
    ThumbnailsError,
    Unauthorized,
    Unavailable,
    error_classes,
)

Element = dict[str, Any]

JSON: Final = "application/json"
RATE_LIMITS: Final = ("RateLimit-Policy", "RateLimit")


def schema_ref(name: str) -> Element:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _header(description: str, schema: Element) -> Element:
    return {"description": description, "schema": schema}


_TEXT: Final[Element] = {"type": "string"}
HEADERS: Final[Element] = {
    "X-Request-Id": _header("The request in the service's log.", {"type": "string", "maxLength": 64}),
    "Cache-Control": _header("Who may keep the answer, and for how long (RFC 9111).", _TEXT),
    "Retry-After": _header(
        "After so many seconds another try makes sense.", {"type": "integer", "minimum": 0}
    ),
    "WWW-Authenticate": _header("What credentials are needed (RFC 6750).", _TEXT),
    "RateLimit-Policy": _header(
        "The limits of the account (draft-ietf-httpapi-ratelimit-headers): `q` in `w` seconds. Absent where"
        " there are none.",
        _TEXT,
    ),
    "RateLimit": _header("What is left (`r`), and in how many seconds all is allowed again (`t`).", _TEXT),
    "Location": _header(
        "The job, the erasure, or the thumbnail.", {"type": "string", "format": "uri-reference"}
    ),
    "Preference-Applied": _header("What was granted of `Prefer` (RFC 7240).", _TEXT),
    "Idempotency-Replayed": _header(
        "The answer of an earlier request with this Idempotency-Key.", {"type": "string", "const": "true"}
    ),
    "Link": _header("`rel=next`: the next page (RFC 8288). Absent on the last one.", _TEXT),
    "ETag": _header("A strong validator of the bytes.", {"type": "string", "pattern": '^"[^"]*"$'}),
    "Vary": _header("What else the answer depends on.", _TEXT),
    "Accept-Ranges": _header("`bytes`: ranges are served.", {"type": "string", "const": "bytes"}),
    "Content-Disposition": _header("`inline`, with a file name to save it under.", _TEXT),
    "Content-Range": _header("Which bytes of how many these are.", _TEXT),
}


def response(
    description: str,
    content: Mapping[str, Element] | None = None,
    *,
    headers: Iterable[str] = (),
    links: Element | None = None,
) -> Element:
    """A response; every one of the service names the request, and says who may keep it."""
    names = ("X-Request-Id", "Cache-Control", *headers)
    element: Element = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if content is not None:
        element["content"] = dict(content)
    if links is not None:
        element["links"] = links
    return element


def json_content(schema: Element, **more: Any) -> Element:
    """The content of a response, or a body, in JSON."""
    return {JSON: {"schema": schema, **more}}


def problem_responses(*errors: type[ThumbnailsError], extensions: Element | None = None) -> Element:
    """A response for each status of these errors; each says which reasons it may have.

    `extensions` are schemas of further members, by status.
    """
    by_status: dict[int, list[type[ThumbnailsError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {
        str(status): _problem(status, classes, (extensions or {}).get(str(status)))
        for status, classes in sorted(by_status.items())
    }


def _problem(status: int, classes: list[type[ThumbnailsError]], extension: Element | None) -> Element:
    reasons = {
        "properties": {"status": {"const": status}, "reason": {"enum": [error.reason for error in classes]}}
    }
    schema: Element = {"allOf": [schema_ref("Problem"), reasons]}
    if extension is not None:
        schema["properties"] = extension
    headers = [*RATE_LIMITS]
    if any(issubclass(error, Unauthorized | InsufficientScope) for error in classes):
        headers.append("WWW-Authenticate")
    if any(error.retryable for error in classes):
        headers.append("Retry-After")
    text = "; ".join(dict.fromkeys(f"`{error.reason}`: {error.title}" for error in classes))
    return response(f"{text}.", {PROBLEM_TYPE: {"schema": schema}}, headers=headers)


def access_errors(*, requires_login: bool) -> tuple[type[ThumbnailsError], ...]:
    """How a request that is fine in itself may end wherever it goes, but at pages and probes."""
    everywhere = (InvalidRequest, RateLimited, ThumbnailsError, Unavailable)
    if requires_login:
        return (*everywhere, Unauthorized, Forbidden, InsufficientScope)
    return (*everywhere, ForbiddenOrigin)


def without_bodies(responses: Element) -> Element:
    """The same responses to HEAD."""
    return {
        status: {name: value for name, value in element.items() if name not in {"content", "links"}}
        for status, element in responses.items()
    }


def parameter(
    name: str, place: str, description: str, schema: Element, *, required: bool = False, **more: Any
) -> Element:
    """A parameter; those in paths are always required."""
    element: Element = {"name": name, "in": place, "description": description, "schema": schema, **more}
    if required or place == "path":
        element["required"] = True
    return element


def public_reasons() -> list[str]:
    """Every reason that a problem document may have: answers of our stores are for our own code."""
    return sorted(
        reason
        for reason, error in error_classes().items()
        if error.__module__.startswith("thumbnails_contract")
    )
