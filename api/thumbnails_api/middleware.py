"""What happens to every request: an id, a line in the log, safe headers, the origin check, the caller."""

import logging
import re
import time
import uuid
from typing import Final

import falcon

from .accounts import Authenticator
from .origin import check_origin

log = logging.getLogger("thumbnails_api.access")

# Probes come from the node with whatever Host, and tell nothing about pictures.
PROBE_PATHS: Final = frozenset({"/healthz", "/readyz"})
# The page is the same for everybody: it asks for a key by itself.
_PAGE_PATHS: Final = re.compile(r"/|/assets/.*")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestLog:
    """Gives each request an id (X-Request-Id is accepted), and writes it to the log with its outcome.

    The query is left out: a webhookUrl may hold a secret.
    """

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin."""
        given = req.get_header("X-Request-Id") or ""
        req.context.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        req.context.began = time.perf_counter()
        resp.set_header("X-Request-Id", req.context.request_id)
        resp.set_header("X-Content-Type-Options", "nosniff")
        # Other ports of this machine may show thumbnails; other sites may not.
        resp.set_header("Cross-Origin-Resource-Policy", "same-site")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        """End."""
        if req.path in PROBE_PATHS and resp.status_code == falcon.http_status_to_code(falcon.HTTP_200):
            return
        milliseconds = (time.perf_counter() - req.context.began) * 1000
        log.info(
            "%s %s %d %.1fms %s", req.method, req.path, resp.status_code, milliseconds, req.context.request_id
        )


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
    """Finds out whose request it is: `req.context.access`, and `req.context.caller` for short."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raise what the authenticator raises for nobody's credentials, and InsufficientScope."""
        if req.path in PROBE_PATHS or _PAGE_PATHS.fullmatch(req.path):
            return
        access = self._authenticator.authenticate(req.get_header("Authorization"))
        access.check(req.method)
        req.context.access, req.context.caller = access, access.caller
