"""A small HTTP server on the operator's event loop, for the exchange and the probes."""

from typing import Any, Final

from aiohttp import web

SHUTDOWN_SECONDS: Final = 0.5


class HttpServer:
    """Listens from `start` to `stop`, and can be started again."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    async def start(self, app: web.Application, host: str, port: int, **options: Any) -> int:
        """Listen; the port (`port` 0 takes a free one). `options` are the runner's.

        Raises OSError when the port is taken.
        """
        app.router.add_get("/healthz", _healthz)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, **options)
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


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
