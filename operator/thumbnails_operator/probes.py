"""The port for the kubelet and Prometheus: `GET /healthz`, `/readyz`, `/metrics`, of leaders and others."""

from collections.abc import Callable
from typing import Final

from aiohttp import web

from .metrics import CONTENT_TYPE

SHUTDOWN_SECONDS: Final = 0.5


class Probes:
    """`metrics` gives the exposition; `ready` is None, or why the process is not ready."""

    def __init__(self, metrics: Callable[[], bytes], ready: Callable[[], str | None]) -> None:
        self._metrics = metrics
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (0 takes a free one). Raises OSError when it is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
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

    async def _readyz(self, _request: web.Request) -> web.Response:
        why_not = self._ready()
        return web.Response(text=f"{why_not or 'ok'}\n", status=503 if why_not else 200)

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})
