"""The renderer as a worker has it: nursery, forked child, datagrams and descriptors, limits and deadline."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.wire import Limits
from thumbnails_worker.messages import MAX_FILES, MAX_MESSAGE_BYTES, RenderReply, RenderRequest
from thumbnails_worker.nursery import Nursery, Renderer, start_nursery
from thumbnails_worker.settings import Settings

MIB: Final = 1 << 20
_AT_REST: Final = 6  # three standard streams, one more for tracebacks, /proc/self/statm, the connection
_SETTLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one file: a reply with its thumbnails, or how the renderer ended."""

    reply: RenderReply | None
    thumbnails: tuple[bytes, ...] = ()
    trouble: str = ""  # a death, a hang or a reply that is none

    @property
    def reason(self) -> str:
        """Why there is no picture; empty when there is one."""
        return self.reply.error.reason if self.reply is not None and self.reply.error is not None else ""


class Boundary:
    """One renderer at a time, replaced as the supervisor replaces it."""

    def __init__(self, limits: Limits, memory_bytes: int | None = None) -> None:
        """Fork the nursery: to be made before any thread starts."""
        self._limits = limits
        self._memory_bytes = memory_bytes or Settings("http://nowhere").renderer_bytes
        self._nursery: Nursery = start_nursery()
        self._renderer: Renderer = self._nursery.spawn(self._memory_bytes)

    def render(self, data: bytes, outputs: Sequence[tuple[Output, Format]]) -> Answer:
        """Have one file rendered."""
        request = RenderRequest(tuple(outputs), self._limits, self._memory_bytes)
        source = os.memfd_create("original", os.MFD_CLOEXEC)
        files: list[int] = []
        try:
            os.write(source, data) if data else None
            connection = self._renderer.connection
            connection.settimeout(self._limits.wall_seconds)
            try:
                socket.send_fds(connection, [request.to_bytes()], [source])
                message, files, _flags, _address = socket.recv_fds(connection, MAX_MESSAGE_BYTES, MAX_FILES)
            except TimeoutError:
                self.replace()
                return Answer(None, trouble="hang")
            if not message:
                return Answer(None, trouble=f"death {_words(self.replace())}")
            try:
                reply = RenderReply.from_bytes(message)
            except ValueError:
                self.replace()
                return Answer(None, trouble="reply")
            thumbnails = tuple(os.pread(file, os.fstat(file).st_size, 0) for file in files)
        except ConnectionError:
            return Answer(None, trouble=f"death {_words(self.replace())}")
        finally:
            for file in (source, *files):
                os.close(file)
        if reply.error is not None and reply.error.reason == "OutOfMemory":
            self.replace()
        return Answer(reply, thumbnails)

    def replace(self) -> int:
        """A new renderer; gives the wait status of the old one."""
        status = self._nursery.reap(self._renderer)
        self._renderer = self._nursery.spawn(self._memory_bytes)
        return status

    @property
    def pid(self) -> int:
        """Of the renderer."""
        return self._renderer.pid

    def resident_bytes(self, bound: int) -> int:
        """Memory that it has now (VmRSS); above the bound, after a while without work."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (resident := self._status("VmRSS")) > bound and time.monotonic() < deadline:
            time.sleep(0.05)
        return resident

    def most_resident_bytes(self) -> int:
        """The most that it ever had (proc(5), VmHWM)."""
        return self._status("VmHWM")

    def descriptors(self) -> int:
        """How many files the renderer has open when it waits for the next."""
        folder, fewest = Path(f"/proc/{self.pid}/fd"), 1 << 30
        deadline = time.monotonic() + _SETTLE_SECONDS
        while fewest > _AT_REST and time.monotonic() < deadline:  # it closes some after its answer
            fewest = min(fewest, len(list(folder.iterdir())))
            time.sleep(0.001)
        return fewest

    def close(self) -> None:
        """End the renderer; the nursery ends with this process."""
        self._nursery.reap(self._renderer)

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise LookupError(name)


def _words(status: int) -> str:
    return f"by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"with {os.WEXITSTATUS(status)}"
