"""Runs the service: the S3 server, the API and the operator as children, watched over until the end.

The launcher itself does no work. It holds what must outlive its children (the lock of the data folder,
the listening sockets), starts whichever of them dies again, and ends them in the right order. They end
with it, however it ends (`leash.py`).
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.errors import ObjectStoreUnavailable

from . import leash
from .child import LISTEN_FDS, READY_LINE
from .data_folder import DataFolder
from .settings import LocalSettings
from .trouble import CrashLoop, StartError
from .weed import WeedError, WeedServer

_log = logging.getLogger(__name__)

# So many starts of one child in a row that come to nothing are no accident.
_FAILED_STARTS: Final = 5
_BACKOFF_WINDOW_SECONDS: Final = 60.0
_BACKOFF_SECONDS: Final = (0.0, 0.5, 1.0, 2.0)

# Together with the S3 server's second, less than ten.
_API_STOP_SECONDS: Final = 3.5
_OPERATOR_STOP_SECONDS: Final = 4.5


class CrashCounter:
    """Says how long to wait before a child that died is started again, and when it is time to give up.

    A child that was ready and dies was killed, or met with an accident, and is started again however
    often. One that dies before it is ready, again and again, will not get better: CrashLoop. `now` is a
    monotonic clock.
    """

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._deaths: deque[float] = deque()
        self._failed_starts = 0

    def died(self, *, was_ready: bool) -> float:
        """Seconds to wait: none after the first death in a while."""
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        if self._failed_starts >= _FAILED_STARTS:
            raise CrashLoop(f"{self._name} ended {_FAILED_STARTS} times before it was ready: giving up")
        now = self._now()
        self._deaths.append(now)
        while now - self._deaths[0] > _BACKOFF_WINDOW_SECONDS:
            self._deaths.popleft()
        return _BACKOFF_SECONDS[min(len(self._deaths), len(_BACKOFF_SECONDS)) - 1]


class Child:
    """The API or the operator: is told where the S3 server is, and says when it is ready."""

    def __init__(
        self, name: str, module: str, environment: Mapping[str, str], inherited: Sequence[int]
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._command = [sys.executable, "-m", module]
        self._environment = environment
        self._inherited = tuple(inherited)
        self._process: asyncio.subprocess.Process | None = None
        self._stop_asked = asyncio.Event()

    async def keep_running(self, s3: "asyncio.Future[S3Settings]") -> None:
        """Run it, again and again, until `stop`. Raises CrashLoop."""
        crashes = CrashCounter(f"the {self.name}", time.monotonic)
        while not self._stop_asked.is_set():
            # Not shared with the terminal's process group, where Ctrl-C would reach it too early.
            process = self._process = await asyncio.create_subprocess_exec(
                *leash.command(*self._command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
                pass_fds=self._inherited,
                start_new_session=True,
            )
            talk = asyncio.create_task(self._talk(process, s3))
            status = await process.wait()
            talk.cancel()
            if self._stop_asked.is_set():
                return
            wait_seconds = crashes.died(was_ready=self.ready.is_set())
            self.ready.clear()
            _log.warning("the %s %s; starting it again", self.name, describe(status))
            await asyncio.sleep(wait_seconds)

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None:
        """End it: SIGTERM, then SIGKILL, at once when somebody is in a hurry."""
        self._stop_asked.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        ended, hurried = asyncio.create_task(process.wait()), asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            if not hurry.is_set():
                _log.warning("the %s did not end in time", self.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await ended

    async def _talk(self, process: asyncio.subprocess.Process, s3: "asyncio.Future[S3Settings]") -> None:
        """Tell it the keys by a pipe, which nobody else can read, and wait for its word."""
        settings = await asyncio.shield(s3)
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died, and is started again
            process.stdin.write(json.dumps(dataclasses.asdict(settings)).encode())
            await process.stdin.drain()
            process.stdin.close()
        while line := await process.stdout.readline():
            if line == READY_LINE:
                self.ready.set()


class Launcher:
    """One run of the service."""

    def __init__(
        self, settings: LocalSettings, folder: DataFolder, lock: int, sockets: Sequence[socket.socket]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._sockets = sockets
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._began = time.monotonic()
        descriptors = [listener.fileno() for listener in sockets]
        environment = {**settings.environment, "THUMBNAILS_DATA": str(folder.root), "PYTHONSAFEPATH": "1"}
        spool = folder.run / "spool"
        spool.mkdir()
        self._api = Child(
            "API",
            "thumbnails_local.api_process",
            {**environment, "TMPDIR": str(spool), LISTEN_FDS: ",".join(map(str, descriptors))},
            [lock, *descriptors],
        )
        self._operator = Child("operator", "thumbnails_local.operator_process", environment, [lock])
        self._weed: WeedServer | None = None
        self._weed_exits: asyncio.Queue[int] = asyncio.Queue()

    async def run(self) -> None:
        """Serve until a signal. Raises StartError when there is no S3 server, and CrashLoop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        s3: asyncio.Future[S3Settings] = loop.create_future()
        tasks = {
            asyncio.create_task(self._stop_asked.wait()),
            asyncio.create_task(self._keep_s3(s3)),
            asyncio.create_task(self._api.keep_running(s3)),
            asyncio.create_task(self._operator.keep_running(s3)),
        }
        announcement = asyncio.create_task(self._announce())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what it raised
        finally:
            announcement.cancel()
            await self._end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def _keep_s3(self, s3: "asyncio.Future[S3Settings]") -> None:
        """Start the S3 server, unless there is another, and start it again when it dies."""
        if self._settings.environment.get("THUMBNAILS_S3_ENDPOINT"):
            settings = S3Settings.from_environment(self._settings.environment)
            await asyncio.to_thread(_make_bucket, settings)
            s3.set_result(settings)
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()

        def on_exit(status: int) -> None:
            loop.call_soon_threadsafe(self._weed_exits.put_nowait, status)

        self._weed = WeedServer(self._folder.pictures, on_exit=on_exit)
        crashes = CrashCounter("the S3 server", time.monotonic)
        try:
            s3.set_result(await asyncio.to_thread(self._weed.start))
        except WeedError as error:
            raise StartError(str(error)) from error
        while True:
            status = await self._weed_exits.get()
            if self._weed.pid is not None:
                continue  # that was one of those before
            trouble, was_ready = f"the S3 server {describe(status)}", True
            while not self._stop_asked.is_set():
                wait_seconds = crashes.died(was_ready=was_ready)
                _log.warning("%s; starting it again", trouble)
                await asyncio.sleep(wait_seconds)
                try:
                    await asyncio.to_thread(self._weed.start)
                except WeedError as error:
                    trouble, was_ready = str(error), False
                else:
                    break

    async def _announce(self) -> None:
        """Tell the person at the terminal, and programs that look for a file."""
        await self._api.ready.wait()
        await self._operator.ready.wait()
        port = self._sockets[0].getsockname()[1]
        url = f"http://{_shown_host(self._settings.host)}:{port}"
        try:
            draft = self._folder.endpoint.with_suffix(".new")
            draft.write_text(f"{url}\n", encoding="ascii")
            draft.replace(self._folder.endpoint)
        except OSError as error:
            _log.warning("the data folder cannot be written: %s", error.strerror)
        signing = (
            "THUMBNAILS_WEBHOOK_SECRET"
            if self._settings.environment.get("THUMBNAILS_WEBHOOK_SECRET")
            else self._folder.webhook_secret
        )
        first = self._folder.first_key
        keys = f"THUMBNAILS_DATA={self._folder.root} thumbnails-api keys create --account default\n"
        # Its place, and not the key: logs are kept and passed on.
        place = f"The first API key is in {first}; another" if first.exists() else "An API key"
        login = f"{place}: {keys}"
        seconds = time.monotonic() - self._began
        sys.stdout.write(
            f"Thumbnails is ready on {url} after {seconds:.1f} s.\n"
            f"Data is kept in {self._folder.root}; webhooks are signed with the secret in {signing}.\n"
            f"{login if self._settings.login else ''}"
            "Ctrl-C ends it.\n"
        )
        sys.stdout.flush()

    async def _end(self) -> None:
        """The API first, so that nothing new comes; the S3 server last, since all need it."""
        for listener in self._sockets:
            listener.close()
        self._folder.endpoint.unlink(missing_ok=True)
        await self._api.stop(_API_STOP_SECONDS, self._hurry)
        await self._operator.stop(_OPERATOR_STOP_SECONDS, self._hurry)
        if self._weed is not None:
            await asyncio.to_thread(self._weed.stop, grace_seconds=0 if self._hurry.is_set() else 1)


def _make_bucket(settings: S3Settings) -> None:
    with contextlib.closing(S3ObjectStore(settings)) as objects:
        try:
            objects.ensure_bucket()
        except ObjectStoreUnavailable as error:
            raise StartError(
                f"THUMBNAILS_S3_ENDPOINT: the S3 server there cannot be used: {error.message}"
            ) from error


def _shown_host(host: str | None) -> str:
    """What this machine's own programs connect to."""
    if host is None or ipaddress.ip_address(host).is_unspecified or host == "127.0.0.1":
        return "localhost"
    return f"[{host}]" if ":" in host else host


def describe(status: int) -> str:
    """How a process ended, in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def run(settings: LocalSettings, folder: DataFolder, lock: int, sockets: Sequence[socket.socket]) -> None:
    """Serve until a signal comes. Raises StartError, CrashLoop."""
    asyncio.run(_run(settings, folder, lock, sockets))


async def _run(
    settings: LocalSettings, folder: DataFolder, lock: int, sockets: Sequence[socket.socket]
) -> None:
    await Launcher(settings, folder, lock, sockets).run()
