"""What requests to a server may end with, for programs and, in words, for people."""

from collections.abc import Mapping
from typing import Any, Final

_UNAUTHORIZED: Final = 401


class ClientError(Exception):
    """What a request may end with; the message is fit for people."""


class NotAnswered(ClientError):
    """The server was not reached, or did not answer as the service does, however often it was tried."""


class TimedOut(ClientError):
    """A job has not ended in the time that `wait` was given."""


class Problem(ClientError):
    """The server's refusal: an RFC 9457 problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(document.get("reason") or f"HTTP {status}")
        self.title = str(document.get("title") or "")
        self.detail = str(document.get("detail") or "")
        super().__init__(f"{self.reason}: {self.detail or self.title}".rstrip(": "))

    @property
    def no_access(self) -> bool:
        """Whether the key is missing, wrong or revoked: no other request will do better."""
        return self.status == _UNAUTHORIZED
