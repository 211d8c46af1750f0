"""Probes and metrics on a port of their own: no upload, and no limit of connections, stands in their way."""

from socket import socket
from typing import Any, Final

import falcon

from .metrics import ApiMetrics
from .problems import handle_http_error, handle_unexpected
from .resources.health import Alive, Ready
from .resources.metrics import MetricsPage
from .server import Server
from .settings import MEBIBYTE, ApiSettings

# One check of the stores at a time, and one that waits for it; the others see that we live.
_THREADS: Final = 4
_CONNECTIONS: Final = 64


def create_probe_app(ready: Ready, metrics: ApiMetrics) -> Any:
    """`/healthz`, `/readyz` and `/metrics`, for whoever may reach this port."""
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App()
    app.add_error_handler(Exception, handle_unexpected)
    app.add_error_handler(falcon.HTTPError, handle_http_error)
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", ready)
    app.add_route("/metrics", MetricsPage(metrics))
    return app


def create_probe_server(ready: Ready, metrics: ApiMetrics, listener: socket) -> Server:
    """A server of that app, to be run in a thread."""
    settings = ApiSettings(
        threads=_THREADS,
        max_waiting_requests=0,
        max_following_requests=0,
        connection_limit=_CONNECTIONS,
        max_request_bytes=1024,
        max_spool_bytes=MEBIBYTE,
        idle_timeout_seconds=30,
        shutdown_grace_seconds=1,
    )
    return Server(create_probe_app(ready, metrics), settings, [listener])
