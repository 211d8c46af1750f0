"""`python -m thumbnails_local.api_process`: the API, on sockets that it inherits from the launcher."""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType

from thumbnails_api.accounts import KeyAuthenticator
from thumbnails_api.job_cache import JobCache
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_api.keys_settings import KeySettings
from thumbnails_api.keys_watch import KeyWatch
from thumbnails_api.links import LinkSigner
from thumbnails_api.service import create_service
from thumbnails_api.settings import ApiSettings
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract import logs
from thumbnails_contract.environment import Environment
from thumbnails_contract.names import DEFAULT_NAMESPACE

from .child import LISTEN_FDS, receive_s3_settings, say_ready
from .credentials import load_or_create
from .data_folder import DataFolder
from .settings import LocalSettings
from .sqlite_store import SqliteJobStore

_log = logging.getLogger(__name__)


def main() -> None:
    """Serve until SIGTERM."""
    settings = ApiSettings.from_environment(os.environ)
    logs.configure(logs.LogSettings.from_environment(os.environ), "api")
    login = LocalSettings.from_environment(os.environ).login
    folder = DataFolder(Path(os.environ["THUMBNAILS_DATA"]))
    sockets = [socket.socket(fileno=int(number)) for number in os.environ[LISTEN_FDS].split(",")]
    store = SqliteJobStore(folder.jobs, durable=True)
    jobs = JobCache(store)
    jobs.start()
    s3 = receive_s3_settings()
    public = Environment(os.environ).text("THUMBNAILS_S3_PUBLIC_ENDPOINT", s3.endpoint)
    objects = S3ObjectStore(replace(s3, public_endpoint=public))
    keys = _follow_keys(folder) if login else None
    authenticator = KeyAuthenticator(keys) if keys is not None else None
    server = create_service(
        store, objects, jobs, settings, sockets, authenticator=authenticator, signer=_signer(folder)
    ).server

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
    if keys is not None:
        keys.stop()
    store.close()
    objects.close()


def _signer(folder: DataFolder) -> LinkSigner:
    """With the secret that is set, or one that is made once and kept in the data folder."""
    signer = LinkSigner.from_environment(os.environ)
    if signer.secrets:
        return signer
    text = load_or_create(folder.link_secret, lambda: f"{secrets.token_urlsafe(48)}\n")
    try:
        return LinkSigner.from_text(text)
    except ValueError as error:
        sys.exit(f"thumbnails: {folder.link_secret}: {error}")


def _follow_keys(folder: DataFolder) -> KeyWatch:
    """The keys in the data folder: as in a cluster, but for where they are."""
    directory = KeySettings.from_environment(os.environ).directory or folder.api_keys
    keys = KeyWatch(DirectoryKeyStore(directory), service_namespace=DEFAULT_NAMESPACE)
    keys.start()
    return keys


if __name__ == "__main__":
    main()
