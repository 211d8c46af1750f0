"""The HTTP server that workers take their work from: `POST /work` (see wire.py), `GET /healthz`."""

import json
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web

from thumbnails_contract.errors import ThumbnailsError, Unavailable
from thumbnails_contract.wire import PROTOCOL_VERSION, WORK_PATH, WorkAnswer, WorkRequest

from .ports import WorkerIdentifier, WorkerIdentity

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
# A token that was found good is not asked about again for so long: several requests a second come with it.
IDENTITY_SECONDS: Final = 5.0
MAX_IDENTITIES: Final = 4096
MAX_TOKEN_LENGTH: Final = 16_384
SHUTDOWN_SECONDS: Final = 0.5


class WorkSource(Protocol):
    """Who answers workers: the controller."""

    async def work(self, worker: WorkerIdentity, request: WorkRequest) -> WorkAnswer:
        """Take results, and wait for something to hand out. Raises Unavailable."""


class Exchange:
    """The server. Handlers are cancelled when their client goes away, so nothing is handed to nobody."""

    def __init__(
        self,
        source: WorkSource,
        identifier: WorkerIdentifier,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._identifier = identifier
        self._monotonic = monotonic
        self._identities: dict[str, tuple[float, WorkerIdentity]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (`port` 0 takes a free one). Raises OSError when it is taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post(WORK_PATH, self._work)
        app.router.add_get("/healthz", self._healthz)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
            keepalive_timeout=90.0,  # longer than a poll, so that a worker keeps its connection
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        listening: int = runner.addresses[0][1]
        return listening

    async def stop(self) -> None:
        """Close the connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _work(self, request: web.Request) -> web.Response:
        try:
            worker = await self._identify(request.headers.get("Authorization", ""))
            if worker is None:
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
            body = await request.read()
            work = _parse(body)
            if work is None or work.protocol != PROTOCOL_VERSION:
                return web.json_response({"error": "not a request of this protocol"}, status=400)
            answer = await self._source.work(worker, work)
        except Unavailable as error:
            seconds = str(error.retry_after_seconds or 1)
            return web.json_response({"error": error.reason}, status=503, headers={"Retry-After": seconds})
        except ThumbnailsError as error:
            logger.warning("a worker's request failed: %s", error.reason)
            return web.json_response({"error": error.reason}, status=error.status)
        return web.Response(body=json.dumps(answer.to_wire()).encode(), content_type="application/json")

    async def _identify(self, authorization: str) -> WorkerIdentity | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
            return None
        now = self._monotonic()
        known = self._identities.get(token)
        if known is not None and now - known[0] < IDENTITY_SECONDS:
            return known[1]
        worker = await self._identifier.identify(token)
        if worker is None:
            self._identities.pop(token, None)
            return None
        if len(self._identities) >= MAX_IDENTITIES:
            self._identities.clear()
        self._identities[token] = (now, worker)
        return worker


def _parse(body: bytes) -> WorkRequest | None:
    try:
        return WorkRequest.parse(json.loads(body))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
