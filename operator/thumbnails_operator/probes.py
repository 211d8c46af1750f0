"""The port for the kubelet and Prometheus: `GET /healthz`, `/readyz`, `/metrics`, of leaders and others."""

from collections.abc import Callable

from aiohttp import web

from .http_server import HttpServer
from .metrics import CONTENT_TYPE


class Probes:
    """`metrics` gives the exposition; `ready` is None, or why the process is not ready."""

    def __init__(self, metrics: Callable[[], bytes], ready: Callable[[], str | None]) -> None:
        self._metrics = metrics
        self._ready = ready
        self._server = HttpServer()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (0 takes a free one). Raises OSError when it is taken."""
        app = web.Application()
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        return await self._server.start(app, host, port)

    async def stop(self) -> None:
        """Close the connections."""
        await self._server.stop()

    async def _readyz(self, _request: web.Request) -> web.Response:
        why_not = self._ready()
        return web.Response(text=f"{why_not or 'ok'}\n", status=503 if why_not else 200)

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})
