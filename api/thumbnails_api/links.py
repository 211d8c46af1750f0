"""Signed links to thumbnails, for `<img src>`: whoever has one sees that thumbnail, for a while.

`/thumbnails/{id}[/{output}][?format=...]` gets three more parameters: `owner` (`<namespace>.<account>`,
whose job it is), `expires` (seconds since 1970) and `signature` (HMAC-SHA-256 of all of that, in URL-safe
base64). The first secret signs, all of them verify: so a secret is replaced by putting a new one before it,
and taking the old one away when its links have expired.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlencode

from thumbnails_contract.environment import Environment, InvalidSetting
from thumbnails_contract.errors import InvalidLink
from thumbnails_contract.names import is_label_name

from .accounts import Caller

MIN_SECRET_LENGTH: Final = 32

SIGNATURE: Final = "signature"
_OWNER: Final = "owner"
_EXPIRES: Final = "expires"
_FORMAT: Final = "format"
_NAMES: Final = frozenset({SIGNATURE, _OWNER, _EXPIRES, _FORMAT})
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
# What is signed begins with this, so that the secrets may never mean something else.
_PURPOSE: Final = "thumbnails-link-v1"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a link allows: to see this account's thumbnail at one address, so many seconds from now on."""

    caller: Caller
    seconds: int


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Makes links, and knows its own. Without a secret there are none. `secrets`: the newest first."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_LINK_SECRET`, or the file that the same with `_FILE` names.

        Without either there are no links. Raises InvalidSetting.
        """
        text = Environment(env).optional_secret("THUMBNAILS_LINK_SECRET")
        try:
            return cls.from_text(text)
        except ValueError as error:
            raise InvalidSetting(f"THUMBNAILS_LINK_SECRET: {error}") from None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From secrets with white space between. Raises ValueError for one that could be guessed."""
        secrets = text.split()
        if any(len(secret) < MIN_SECRET_LENGTH for secret in secrets):
            raise ValueError(f"must hold secrets of {MIN_SECRET_LENGTH} characters or more each")
        return cls(tuple(secret.encode() for secret in secrets))

    def sign(self, path: str, format_: str | None, caller: Caller, expires: int) -> str:
        """The path with its parameters. There must be a secret."""
        query = {} if format_ is None else {_FORMAT: format_}
        query |= {_OWNER: f"{caller.namespace}.{caller.account}", _EXPIRES: str(expires)}
        query[SIGNATURE] = _signature(self.secrets[0], path, query)
        return f"{path}?{urlencode(query)}"

    def verify(self, path: str, query: Sequence[tuple[str, str]], now: float) -> Grant:
        """What a link allows, by its path and parameters. Raises InvalidLink.

        Nothing is looked up: an answer tells nothing about jobs that there are.
        """
        values = dict(query)
        caller = _parse_owner(values.get(_OWNER, ""))
        expires = _NUMBER.fullmatch(values.get(_EXPIRES, ""))
        if caller is None or expires is None or len(values) < len(query) or not values.keys() <= _NAMES:
            raise InvalidLink
        shown = values.pop(SIGNATURE, "").encode()
        if not _any_of(
            hmac.compare_digest(_signature(key, path, values).encode(), shown) for key in self.secrets
        ):
            raise InvalidLink
        seconds = int(expires[0]) - int(now)
        if seconds <= 0:
            raise InvalidLink
        return Grant(caller, seconds)


NO_LINKS: Final = LinkSigner()


def _any_of(results: Iterable[bool]) -> bool:
    """Whether one is true; all are looked at, so that time tells nothing."""
    return any(list(results))


def _signature(secret: bytes, path: str, values: Mapping[str, str]) -> str:
    # Escaped, so that no two sets of parts are written the same.
    signed = urlencode(
        [("path", path), *((name, values.get(name, "")) for name in (_FORMAT, _OWNER, _EXPIRES))]
    )
    digest = hmac.new(secret, f"{_PURPOSE}\n{signed}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _parse_owner(text: str) -> Caller | None:
    namespace, dot, account = text.partition(".")
    # Labels have no dots: there is one way to read it.
    if not dot or not is_label_name(namespace) or not is_label_name(account):
        return None
    return Caller(namespace, account)
