"""What happens to every request: an id, a line in the log, safe headers, the origin check, the caller."""

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import falcon

from thumbnails_contract import logs
from thumbnails_contract.errors import Unauthorized
from thumbnails_contract.tracing import TraceContext

from .accounts import Access, Authenticator
from .addresses import Network, client_address
from .links import SIGNATURE, LinkSigner
from .metrics import ApiMetrics
from .origin import SAFE_METHODS, check_origin
from .rate_limits import FailedLogins, RequestLimit, headers_of
from .scopes import Scope

log = logging.getLogger("thumbnails_api.access")

# Probes come from the node with whatever Host, and tell nothing about pictures.
PROBE_PATHS: Final = frozenset({"/healthz", "/readyz"})
# Pages are the same for everybody: they ask for a key by themselves.
_PAGE_PATHS: Final = re.compile(r"/|/assets/.*|/docs(?:/.*)?|/openapi\.json")
_SIGNED: Final = re.compile(rf"(?:^|&){SIGNATURE}=")
_RANDOM_BYTES: Final = 24
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestLog:
    """Gives each request an id (X-Request-Id is accepted), and writes it to the log with its outcome.

    So has each a trace, of its own when it brings none: `req.context.trace`. All that is logged meanwhile
    names both. The query is left out: a webhookUrl may hold a secret.
    """

    def __init__(self, metrics: ApiMetrics, random: Callable[[int], bytes] = os.urandom) -> None:
        self._metrics = metrics
        self._random = random

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin."""
        given = req.get_header("X-Request-Id") or ""
        req.context.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        trace = TraceContext.parse(req.get_header("traceparent"), req.get_header("tracestate"))
        req.context.trace = trace or TraceContext.begin(self._random(_RANDOM_BYTES))
        req.context.bound = logs.bind(requestId=req.context.request_id, traceId=req.context.trace.trace_id)
        req.context.began = time.perf_counter()
        self._metrics.began()
        resp.set_header("X-Request-Id", req.context.request_id)
        resp.set_header("X-Content-Type-Options", "nosniff")
        # Other ports of this machine may show thumbnails; other sites may not.
        resp.set_header("Cross-Origin-Resource-Policy", "same-site")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        """End."""
        seconds = time.perf_counter() - req.context.began
        received = req.content_length or 0
        self._metrics.answered(req.method, req.uri_template, resp.status_code, seconds, received)
        reason = getattr(resp.context, "problem", None)
        if reason is not None:
            self._metrics.refused(reason)
        if req.path not in PROBE_PATHS or resp.status_code != HTTPStatus.OK:
            log.info("%s %s %d %.1fms", req.method, req.path, resp.status_code, seconds * 1000)
        logs.unbind(req.context.bound)


class OriginGuard:
    """Refuses other web pages, as long as there is no login."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raise ForbiddenOrigin for requests of strangers."""
        if req.path in PROBE_PATHS:
            return
        check_origin(
            req.method,
            host=req.get_header("Host"),
            scheme=req.scheme,
            origin=req.get_header("Origin"),
            fetch_site=req.get_header("Sec-Fetch-Site"),
            fetch_mode=req.get_header("Sec-Fetch-Mode"),
            fetch_dest=req.get_header("Sec-Fetch-Dest"),
        )


class Authentication:
    """Finds out whose request it is: `req.context.access`, and `req.context.caller` for short.

    A signed link is as good as a key, for one thumbnail: then `req.context.link_seconds` says how long it
    is valid still; it is None otherwise.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        signer: LinkSigner,
        clock: Callable[[], datetime],
        *,
        failed_logins: FailedLogins,
        trusted_proxies: Sequence[Network],
    ) -> None:
        self._authenticator = authenticator
        self._signer = signer
        self._clock = clock
        self._failed_logins = failed_logins
        self._trusted_proxies = trusted_proxies

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raise what the authenticator raises for nobody's credentials, and who else is not let in."""
        req.context.link_seconds = None
        if req.path in PROBE_PATHS or _PAGE_PATHS.fullmatch(req.path):
            return
        access = self._follow_link(req) or self._authenticate(req)
        access.check(req.method)
        req.context.access, req.context.caller = access, access.caller

    def _follow_link(self, req: falcon.Request) -> Access | None:
        """What a signed link gives; None when the request is none."""
        is_link = req.path.startswith("/thumbnails/") and _SIGNED.search(req.query_string)
        if not is_link or req.method not in SAFE_METHODS:
            return None
        query = parse_qsl(req.query_string, keep_blank_values=True)
        grant = self._signer.verify(req.path, query, self._clock().timestamp())
        req.context.link_seconds = grant.seconds
        return Access(grant.caller, frozenset({Scope.READ}))

    def _authenticate(self, req: falcon.Request) -> Access:
        authorization = req.get_header("Authorization")
        try:
            access = self._authenticator.glance(authorization)
            if access is None:
                # It costs somebody a question: not for those who had their tries.
                self._failed_logins.check(self._address(req))
                access = self._authenticator.authenticate(authorization)
        except Unauthorized:
            if authorization is not None:
                self._failed_logins.failed(self._address(req))
            raise
        return access

    def _address(self, req: falcon.Request) -> str:
        return client_address(req.remote_addr, req.get_header("X-Forwarded-For"), self._trusted_proxies)


class RateLimiting:
    """Counts requests of accounts, and says in each answer what is left: `req.context.usages`.

    Resources add what they count themselves. Signed links cost their account nothing: strangers use them.
    """

    def __init__(self, limit: RequestLimit) -> None:
        self._limit = limit

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raise RateLimited."""
        req.context.usages = []
        caller = getattr(req.context, "caller", None)
        if caller is not None and req.context.link_seconds is None:
            self._limit.charge(caller, req.context.usages)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        """Tell."""
        for name, value in headers_of(getattr(req.context, "usages", ())):
            resp.set_header(name, value)
