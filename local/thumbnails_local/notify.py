"""Wakes watchers in all processes when something was committed: one FIFO a watcher, one byte a wake-up.

SQLite tells nobody about commits of other processes. Each watcher keeps a named pipe in a folder that
all processes share; whoever commits writes a byte into every pipe there. A byte may be lost (a crash
between commit and wake-up), so watchers also look by themselves a few times a second. Pipes and not
Unix sockets, because the path of a socket may have 107 bytes only.
"""

import errno
import os
import secrets
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

_DRAIN_BYTES = 65_536
_TICK_NS = 100_000_000


class Bell:
    """One watcher's end: `wait` returns when somebody rang, or at the timeout. One thread waits."""

    def __init__(self, directory: Path) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        unborn = directory / f".{name}"
        self._path = directory / name
        os.mkfifo(unborn, 0o600)
        # Open for writing as well: without any writer, poll() would report a hang-up without end.
        self._fd = os.open(unborn, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        # Visible only now, since a pipe without a reader is taken for a dead watcher's.
        unborn.rename(self._path)
        self._closed = False
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, timeout_seconds: float) -> None:
        """Sleep until a ring, or for this long. Rings before the call count, and several are one."""
        if self._poll.poll(max(0.0, timeout_seconds) * 1000):
            with suppress(BlockingIOError):
                os.read(self._fd, _DRAIN_BYTES)

    def ring(self) -> None:
        """Wake this watcher alone, from any thread, closed or not."""
        with self._lock, suppress(BlockingIOError):  # full of wake-ups that were not seen yet
            if not self._closed:
                os.write(self._fd, b"\0")

    def close(self) -> None:
        """Take the pipe away; no other thread may be in `wait`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._path.unlink(missing_ok=True)
                os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ringer:
    """Rings every bell of a folder, from any thread of this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._lock = threading.Lock()
        self._seen_ns = 0  # the folder's mtime when its pipes were opened; 0: look again
        self._pipes: dict[str, int] = {}

    def ring(self) -> None:
        """Wake every watcher. Called for every commit, hence with as few calls to the kernel as can be."""
        with self._lock:
            if os.stat(self._directory).st_mtime_ns != self._seen_ns:  # noqa: PTH116 - for its speed
                self._open_pipes()
            for name, fd in list(self._pipes.items()):
                try:
                    os.write(fd, b"\0")
                except BlockingIOError:
                    continue  # it has not looked for long, and will
                except BrokenPipeError:
                    self._drop(name)  # closed, or dead

    def close(self) -> None:
        """Let go of the pipes."""
        with self._lock:
            self._seen_ns = 0
            for name in list(self._pipes):
                self._drop(name, unlink=False)

    def _open_pipes(self) -> None:
        changed_ns = os.stat(self._directory).st_mtime_ns  # noqa: PTH116
        for name in os.listdir(self._directory):  # noqa: PTH208
            if name.startswith(".") or name in self._pipes:
                continue
            path = f"{self._directory}/{name}"
            try:
                self._pipes[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # closed since
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._unlink(path)  # nobody reads it: its watcher died
        # The clock of a file system is coarse: what comes within the same tick leaves the same mtime.
        settled = time.time_ns() - changed_ns > _TICK_NS
        self._seen_ns = changed_ns if settled else 0

    def _drop(self, name: str, *, unlink: bool = True) -> None:
        os.close(self._pipes.pop(name))
        if unlink:
            self._unlink(f"{self._directory}/{name}")

    def _unlink(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
