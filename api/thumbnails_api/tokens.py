"""Knows callers by Kubernetes tokens: a service account acts in its own namespace, as far as its RBAC goes.

The API server is asked whose token it is (TokenReview, with an audience of the REST API alone: a token for
this API is worthless elsewhere, and one for elsewhere is worthless here), and what that service account may
do with ThumbnailJobs in its namespace (SubjectAccessReview): `get` and `list` are the scope read, `create`
and `delete` the scope write. Answers are remembered for a short time, under a hash of the token.
"""

import base64
import binascii
import hashlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from thumbnails_contract.errors import Forbidden, ThumbnailsError, Unauthorized, Unavailable

from .accounts import Access, Authenticator, Caller, bearer_token
from .scopes import Scope

# RFC 7519 section 7: three parts in URL-safe base64. API keys have no dots.
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_USER_PREFIX: Final = "system:serviceaccount:"
_VERBS: Final[Mapping[Scope, Sequence[str]]] = {
    Scope.READ: ("get", "list"),
    Scope.WRITE: ("create", "delete"),
}
_REFUSED_SECONDS: Final = 10.0
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class User:
    """Whom the API server takes a token for, as a SubjectAccessReview wants to have it."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Reviews(Protocol):
    """The API server's word: `token_reviews.ClusterReviews`. Both block, and may raise Unavailable."""

    def whose(self, token: str, audience: str) -> User | None:
        """Who shows this token; None when it is nobody's, or not for this audience."""

    def may(self, user: User, namespace: str, verb: str) -> bool:
        """Whether this user may do this with ThumbnailJobs of the namespace."""


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    answer: Access | ThumbnailsError


class TokenAuthenticator:
    """See the module's text. `namespaces` are those that the service looks after (None: all)."""

    requires_login = True

    def __init__(
        self,
        reviews: Reviews,
        *,
        audience: str,
        account: str,
        namespaces: Sequence[str] | None,
        cache_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self._reviews = reviews
        self._audience = audience
        self._account = account
        self._namespaces = namespaces
        self._cache_seconds = cache_seconds
        self._monotonic = monotonic
        self._epoch = epoch
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, Future[Access]] = {}

    def glance(self, authorization: str | None) -> Access | None:
        """See the port."""
        digest = _digest(self._presentable(authorization))
        with self._lock:
            return self._recall(digest)

    def authenticate(self, authorization: str | None) -> Access:
        """The service account's namespace. Raises Unauthorized, Forbidden, Unavailable.

        Requests that show the same token at the same time ask once.
        """
        token = self._presentable(authorization)
        digest = _digest(token)
        with self._lock:
            known = self._recall(digest)
            if known is not None:
                return known
            future = self._asking.get(digest)
            if is_ours := future is None:
                future = self._asking[digest] = Future()
        assert future is not None
        if is_ours:
            self._ask(token, digest, future)
        return future.result()

    def check(self) -> None:
        """There is nothing to wait for: the API server is asked when somebody comes."""

    def _presentable(self, authorization: str | None) -> str:
        """The token, if by its own words it is for us and has not expired: others need no asking."""
        token = bearer_token(authorization) or ""
        claims = _claims(token)
        audiences, expires = claims.get("aud"), claims.get("exp")
        is_ours = self._audience in (audiences if isinstance(audiences, list) else [audiences])
        if not is_ours or not isinstance(expires, int | float) or expires <= self._epoch():
            raise Unauthorized
        return token

    def _recall(self, digest: bytes) -> Access | None:
        known = self._known.get(digest)
        if known is None or known.until <= self._monotonic():
            return None
        if isinstance(known.answer, ThumbnailsError):
            raise type(known.answer)(known.answer.message)  # a new one: it collects what it is raised through
        return known.answer

    def _ask(self, token: str, digest: bytes, future: "Future[Access]") -> None:
        try:
            answer: Access | ThumbnailsError = self._review(token)
            seconds = self._cache_seconds
        except Unavailable as error:
            answer, seconds = error, 0.0
        except (Unauthorized, Forbidden) as error:
            answer, seconds = error, min(_REFUSED_SECONDS, self._cache_seconds)
        except BaseException as error:
            with self._lock:
                del self._asking[digest]
            future.set_exception(error)
            raise
        with self._lock:
            if seconds:
                self._known[digest] = _Known(self._monotonic() + seconds, answer)
                self._known.move_to_end(digest)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            del self._asking[digest]
        if isinstance(answer, ThumbnailsError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _review(self, token: str) -> Access:
        user = self._reviews.whose(token, self._audience)
        if user is None:
            raise Unauthorized
        namespace, _, account = user.username.removeprefix(_USER_PREFIX).partition(":")
        if not user.username.startswith(_USER_PREFIX) or not account:
            raise Forbidden("Only service accounts may use this API with a token.")
        if self._namespaces is not None and namespace not in self._namespaces:
            raise Forbidden("This service does not look after the namespace of the service account.")
        scopes = frozenset(
            scope
            for scope, verbs in _VERBS.items()
            if all(self._reviews.may(user, namespace, verb) for verb in verbs)
        )
        if not scopes:
            raise Forbidden("The service account may not use ThumbnailJobs in its namespace.")
        return Access(Caller(namespace, self._account), scopes)


@dataclass(frozen=True, slots=True)
class KeysAndTokens:
    """Whoever shows a JWT is asked for by its token, all others by API keys."""

    keys: Authenticator
    tokens: TokenAuthenticator
    requires_login: bool = True

    def authenticate(self, authorization: str | None) -> Access:
        """See the port."""
        return self._of(authorization).authenticate(authorization)

    def glance(self, authorization: str | None) -> Access | None:
        """See the port."""
        return self._of(authorization).glance(authorization)

    def check(self) -> None:
        """See the port."""
        self.keys.check()

    def _of(self, authorization: str | None) -> Authenticator:
        return self.tokens if _JWT.fullmatch(bearer_token(authorization) or "") else self.keys


def _digest(token: str) -> bytes:
    # Tokens themselves are not kept in memory for longer than a request.
    return hashlib.sha256(token.encode()).digest()


def _claims(token: str) -> Mapping[str, Any]:
    """What a token says of itself, unchecked; nothing for what is no JWT."""
    parts = _JWT.fullmatch(token)
    if parts is None:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
