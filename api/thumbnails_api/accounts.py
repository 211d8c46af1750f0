"""Who calls: the port that turns credentials into an account, and two of its ways: API keys, and no login."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from thumbnails_contract.errors import InsufficientScope, Unauthorized, Unavailable
from thumbnails_contract.names import DEFAULT_ACCOUNT, DEFAULT_NAMESPACE

from .keys import digest_of, key_id_of
from .scopes import ALL_SCOPES, Scope, scope_needed

# RFC 9110 section 11.1 and RFC 6750 section 2.1: the scheme is case-insensitive, then one or more spaces.
# Tokens of Kubernetes have one to two thousand characters.
_BEARER: Final = re.compile(r"bearer +([!-~]{1,8192})", re.IGNORECASE)
# What a presented key is compared with when there is no such key: the hash of nothing that anybody has.
_NOBODY: Final = bytes(32)


def bearer_token(authorization: str | None) -> str | None:
    """The token in an `Authorization` header; None for another scheme, or none."""
    shown = _BEARER.fullmatch(authorization or "")
    return shown[1] if shown else None


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a request acts for. An account belongs to exactly one namespace."""

    namespace: str
    account: str


@dataclass(frozen=True, slots=True)
class Access:
    """What credentials give: the account to act for, and what may be done there."""

    caller: Caller
    scopes: frozenset[Scope] = ALL_SCOPES

    def check(self, method: str) -> None:
        """Raise InsufficientScope unless requests with this method are allowed."""
        needed = scope_needed(method)
        if needed not in self.scopes:
            raise InsufficientScope(needed)


@dataclass(frozen=True, slots=True)
class Credential:
    """What is needed to know one key: the SHA-256 of it, and what it gives."""

    digest: bytes
    access: Access

    def __repr__(self) -> str:
        return f"Credential({self.access})"


class Authenticator(Protocol):
    """Knows callers by what they show."""

    @property
    def requires_login(self) -> bool:
        """Whether credentials are needed; without, only local programs are answered (`origin.py`)."""

    def authenticate(self, authorization: str | None) -> Access:
        """What this `Authorization` header gives. Raises a ThumbnailsError for nobody's."""

    def glance(self, authorization: str | None) -> Access | None:
        """The same from memory alone, without waiting; None when somebody else would have to be asked."""

    def check(self) -> None:
        """Raise Unavailable as long as nobody can be known."""


@dataclass(frozen=True, slots=True)
class AnonymousAuthenticator:
    """Everybody is the same account, whatever they show."""

    caller: Caller = Caller(DEFAULT_NAMESPACE, DEFAULT_ACCOUNT)
    requires_login: bool = False

    def authenticate(self, authorization: str | None) -> Access:  # noqa: ARG002 - the port's signature
        """Everything, for the one caller there is."""
        return Access(self.caller)

    glance = authenticate

    def check(self) -> None:
        """There is nothing to wait for."""


class Credentials(Protocol):
    """The valid keys of the moment: `keys_watch.KeyWatch`."""

    @property
    def by_id(self) -> Mapping[str, Credential] | None:
        """By key id, without revoked ones; None as long as they are not known."""


@dataclass(frozen=True, slots=True)
class KeyAuthenticator:
    """Knows callers by their API keys; cheap, since `credentials` has them in memory.

    Unknown ids, wrong secrets and revoked keys take the same steps and get the same answer.
    """

    credentials: Credentials
    requires_login: bool = True

    def authenticate(self, authorization: str | None) -> Access:
        """What the key gives. Raises Unauthorized; Unavailable as long as keys are not known."""
        known = self._known()
        key = bearer_token(authorization) or ""
        credential = known.get(key_id_of(key) or "")
        is_right = hmac.compare_digest(digest_of(key), credential.digest if credential else _NOBODY)
        if credential is None or not is_right:
            raise Unauthorized
        return credential.access

    glance = authenticate

    def check(self) -> None:
        """Raise Unavailable as long as keys are not known."""
        self._known()

    def _known(self) -> Mapping[str, Credential]:
        known = self.credentials.by_id
        if known is None:
            raise Unavailable("The API keys cannot be read just now.")
        return known
