"""The port of the probes, as the kubelet asks it."""

import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

from thumbnails_api.accounts import AnonymousAuthenticator
from thumbnails_api.metrics import ApiMetrics
from thumbnails_api.probes import create_probe_server
from thumbnails_api.resources.health import Ready
from thumbnails_api.settings import ApiSettings
from thumbnails_api.thumbnail_cache import ThumbnailCache


def test_probes_are_answered_by_a_server_of_their_own(make_service: Callable[..., Any]) -> None:
    service = make_service()
    ready = Ready(service.store, service.objects, service.jobs, AnonymousAuthenticator())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = create_probe_server(
            ready, ApiMetrics(service.jobs, ThumbnailCache.of(ApiSettings())), listener
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            for path in ("healthz", "readyz", "metrics"):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/{path}"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    assert answer.status == 200
        finally:
            server.stop()
            thread.join()
