"""A process of its own with the API over stores that keep nothing: prints its port, ends on SIGTERM."""

import importlib.util
import os
import signal
import socket
import sys
from pathlib import Path

from thumbnails_api.app import create_app
from thumbnails_api.job_cache import JobCache
from thumbnails_api.server import Server
from thumbnails_api.settings import ApiSettings


def main() -> None:
    """Serve until SIGTERM."""
    spec = importlib.util.spec_from_file_location("stores", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    stores = importlib.util.module_from_spec(spec)
    sys.modules["stores"] = stores
    spec.loader.exec_module(stores)
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    store = stores.SmallJobStore()
    settings = ApiSettings.from_environment(os.environ)
    jobs = JobCache(store)
    server = Server(create_app(store, stores.DiscardingObjectStore(), jobs, settings), settings, [listener])
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    jobs.start()
    print(listener.getsockname()[1], flush=True)
    server.run()
    store.close()
    jobs.stop()


if __name__ == "__main__":
    main()
