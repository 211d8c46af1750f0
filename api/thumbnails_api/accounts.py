"""Who calls: the port that turns credentials into an account, and the one for a service without login."""

from dataclasses import dataclass
from typing import Protocol

from thumbnails_contract.names import DEFAULT_ACCOUNT, DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a request acts for. An account belongs to exactly one namespace."""

    namespace: str
    account: str


class Authenticator(Protocol):
    """Knows callers by what they show."""

    @property
    def requires_login(self) -> bool:
        """Whether credentials are needed; without, only local programs are answered (`origin.py`)."""

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller with this `Authorization` header. Raises a ThumbnailsError for nobody's."""


@dataclass(frozen=True, slots=True)
class AnonymousAuthenticator:
    """Everybody is the same account, whatever they show."""

    caller: Caller = Caller(DEFAULT_NAMESPACE, DEFAULT_ACCOUNT)
    requires_login: bool = False

    def authenticate(self, authorization: str | None) -> Caller:  # noqa: ARG002 - the port's signature
        """The one caller there is."""
        return self.caller
