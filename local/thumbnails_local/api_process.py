"""`python -m thumbnails_local.api_process`: the API, on sockets that it inherits from the launcher."""

import logging
import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType

from thumbnails_api.app import create_app
from thumbnails_api.job_cache import JobCache
from thumbnails_api.server import Server
from thumbnails_api.settings import ApiSettings
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract import logs

from .child import LISTEN_FDS, receive_s3_settings, say_ready
from .data_folder import DataFolder
from .sqlite_store import SqliteJobStore

_log = logging.getLogger(__name__)


def main() -> None:
    """Serve until SIGTERM."""
    settings = ApiSettings.from_environment(os.environ)
    logs.configure(logs.LogSettings.from_environment(os.environ), "api")
    folder = DataFolder(Path(os.environ["THUMBNAILS_DATA"]))
    sockets = [socket.socket(fileno=int(number)) for number in os.environ[LISTEN_FDS].split(",")]
    store = SqliteJobStore(folder.jobs, durable=True)
    jobs = JobCache(store)
    jobs.start()
    objects = S3ObjectStore(receive_s3_settings())
    server = Server(create_app(store, objects, jobs, settings), settings, sockets)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()
        # In a thread, since it waits for locks: whoever waits for a job is let go at once.
        threading.Thread(target=jobs.stop, name="stop", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    jobs.wait_synced(timeout_seconds=60)
    say_ready()
    server.run()
    jobs.stop()
    store.close()
    objects.close()


if __name__ == "__main__":
    main()
