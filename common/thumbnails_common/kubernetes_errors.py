"""What an API server's refusals mean: from the HTTP status and the Status object to our errors.

Pure. Messages of a 422 are the causes of the Status (field and rule); nothing else that a server says
is shown to clients: it can hold addresses and names of users.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from thumbnails_contract.errors import JobStoreUnavailable, QuotaExceeded, ThumbnailsError

from .jobstore import AlreadyExists, Conflict, Expired, ObjectMissing, Refused

Status = Mapping[str, Any]

_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _GONE = 400, 403, 404, 409, 410
_TOO_LARGE, _INVALID, _TOO_MANY = 413, 422, 429
_MAX_RETRY_AFTER_SECONDS: Final = 60
_MAX_MESSAGE_CHARACTERS: Final = 1_000
# The API server's own word for "not this object, but a rule about all of it".
_NO_FIELD: Final = frozenset({"", "<nil>"})
_UNCHECKED: Final = "some validation rules were not checked"


def parse_status(body: bytes) -> Status:
    """The Status object of an answer; `{}` for what is none (a proxy's page, plain text)."""
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def error_of(code: int, status: Status, *, retry_after: str | None = None) -> ThumbnailsError:
    """The error that an answer of this HTTP status means."""
    if code == _GONE or _is_version_of_another_store(status):
        return Expired("The resourceVersion or continue token is too old: list again.")
    if decide := _BY_CODE.get(code):
        return decide(status)
    return JobStoreUnavailable(retry_after_seconds=retry_after_seconds(status, retry_after))


def retry_after_seconds(status: Status, header: str | None) -> int:
    """How long the server asks to wait (RFC 9110 section 10.2.3, in seconds), else some seconds."""
    asked = header or (status.get("details") or {}).get("retryAfterSeconds")
    if isinstance(asked, str):
        asked = int(asked) if asked.isdecimal() else None
    return min(max(asked, 1), _MAX_RETRY_AFTER_SECONDS) if isinstance(asked, int) else 2


def is_throttled(code: int) -> bool:
    """Whether the request was turned away before anything was done, so that it may be sent again."""
    return code == _TOO_MANY


def describe(code: int, status: Status) -> str:
    """What happened, for the log of an administrator."""
    return f"HTTP {code} {status.get('reason', '')} {str(status.get('message', ''))[:300]}".strip()


def _missing(status: Status) -> ThumbnailsError:
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        return JobStoreUnavailable("The namespace of the job does not exist.")
    if not details.get("name"):  # plain text: the API server does not know the resource at all
        return JobStoreUnavailable("ThumbnailJobs are not installed in the cluster.")
    return ObjectMissing(f'thumbnailjobs "{details["name"]}" not found')


def _forbidden(status: Status) -> ThumbnailsError:
    text = str(status.get("message", ""))
    if "exceeded quota" in text:
        return QuotaExceeded("The quota of the namespace is exhausted.")
    if "denied" in text and "request" in text:  # an admission webhook or policy
        return Refused("A policy of the cluster does not allow it.")
    return JobStoreUnavailable()


def _conflict(status: Status) -> ThumbnailsError:
    details = status.get("details") or {}
    name = details.get("name", "")
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(f'thumbnailjobs "{name}" already exists')
    if details.get("kind") == "resourcequotas":  # quota is counted with optimistic locking of its own
        return JobStoreUnavailable(retry_after_seconds=1)
    return Conflict(f'thumbnailjobs "{name}" is another one, or has been modified since')


def _is_version_of_another_store(status: Status) -> bool:
    """A resourceVersion from the future: etcd was restored from an older copy."""
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes)


def _causes(status: Status) -> str:
    lines = []
    for cause in (status.get("details") or {}).get("causes") or ():
        field, message = str(cause.get("field", "")), str(cause.get("message", ""))
        if _UNCHECKED in message:
            continue
        # "spec.a in body should be ..." repeats the field.
        message = message.replace(f"{field} in body ", "")
        lines.append(message if field in _NO_FIELD else f"{field}: {message}")
    return ", ".join(lines)[:_MAX_MESSAGE_CHARACTERS] or "A rule of the cluster does not allow it."


_BY_CODE: Final[Mapping[int, Callable[[Status], ThumbnailsError]]] = {
    _BAD_REQUEST: lambda _: Refused("The API server cannot read this as a ThumbnailJob."),
    _FORBIDDEN: _forbidden,
    _NOT_FOUND: _missing,
    _CONFLICT: _conflict,
    _TOO_LARGE: lambda _: Refused("The object is too large."),
    _INVALID: lambda status: Refused(_causes(status)),
}
