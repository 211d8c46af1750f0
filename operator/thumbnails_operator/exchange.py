"""The HTTP server that workers take their work from: `POST /work` (see wire.py), `GET /healthz`."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web

from thumbnails_contract.errors import ThumbnailsError, Unavailable
from thumbnails_contract.wire import (
    HEARTBEAT_SECONDS,
    PROTOCOL_VERSION,
    WORK_PATH,
    WorkAnswer,
    WorkRequest,
)

from .http_server import HttpServer
from .ports import WorkerIdentifier, WorkerIdentity

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
# A token that was found good is not asked about again for so long: several requests a second come with it.
IDENTITY_SECONDS: Final = 5.0
MAX_IDENTITIES: Final = 4096
MAX_TOKEN_LENGTH: Final = 16_384
KEEPALIVE_SECONDS: Final = 90.0  # longer than a poll, so that a worker keeps its connection


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
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._source = source
        self._identifier = identifier
        self._monotonic = monotonic
        self._identities: dict[str, tuple[float, WorkerIdentity]] = {}
        self._heartbeat_seconds = heartbeat_seconds
        self._server = HttpServer()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (`port` 0 takes a free one). Raises OSError when it is taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post(WORK_PATH, self._work)
        return await self._server.start(
            app, host, port, handler_cancellation=True, keepalive_timeout=KEEPALIVE_SECONDS
        )

    async def stop(self) -> None:
        """Close the connections."""
        await self._server.stop()

    async def _work(self, request: web.Request) -> web.StreamResponse:
        try:
            worker = await self._identify(request.headers.get("Authorization", ""))
            if worker is None:
                return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
            body = await request.read()
            work = _parse(body)
            if work is None or work.protocol != PROTOCOL_VERSION:
                return web.json_response({"error": "not a request of this protocol"}, status=400)
            return await self._answer(request, asyncio.ensure_future(self._source.work(worker, work)))
        except Unavailable as error:
            seconds = str(error.retry_after_seconds or 1)
            return web.json_response({"error": error.reason}, status=503, headers={"Retry-After": seconds})
        except ThumbnailsError as error:
            logger.warning("a worker's request failed: %s", error.reason)
            return web.json_response({"error": error.reason}, status=error.status)

    async def _answer(
        self, request: web.Request, answering: asyncio.Future[WorkAnswer]
    ) -> web.StreamResponse:
        """What `answering` gives. While that takes long, spaces say that this operator is alive (wire.py)."""
        slow: web.StreamResponse | None = None
        try:
            while not (await asyncio.wait((answering,), timeout=self._heartbeat_seconds))[0]:
                if slow is None:
                    slow = web.StreamResponse()
                    slow.content_type = "application/json"
                    await slow.prepare(request)
                await slow.write(b" ")
            body = json.dumps(answering.result().to_wire()).encode()
            if slow is None:
                return web.Response(body=body, content_type="application/json")
            await slow.write_eof(body)
        except ConnectionError:
            if slow is None:
                raise
            logger.debug("a worker hung up while it waited")
        except ThumbnailsError as error:
            if slow is None:
                raise
            logger.warning("a worker's request failed: %s", error.reason)
            slow.force_close()
            if request.transport is not None:
                request.transport.abort()  # the status is sent: a broken answer is all that can be said
        finally:
            answering.cancel()
        return slow

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
