"""The fork server: one single-threaded process, warm with Pillow, that makes renderers on request.

A process with threads must not fork: a lock that another thread holds would stay locked in the child
for ever. So the supervisor forks this nursery first of all, and never again; the nursery forks the
renderers, in milliseconds, waits for them, and says how they ended. The supervisor itself never loads
a decoder. Nothing outlives a supervisor, however that ends.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

_MESSAGE_BYTES = 4096


class NurseryLost(Exception):
    """The fork server is gone: a worker without it can only end."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """A renderer process as the supervisor sees it."""

    pid: int
    connection: socket.socket


class Nursery:
    """The supervisor's end."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._pid = pid
        self._connection = connection
        self._lock = threading.Lock()

    def is_alive(self) -> bool:
        """Whether the process is there; to be asked by the thread that started it."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def spawn(self, memory_bytes: int) -> Renderer:
        """A new renderer, with a hard limit of memory. Raises NurseryLost."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            answer = self._ask({"do": "spawn", "memoryBytes": memory_bytes}, [theirs.fileno()])
        return Renderer(answer["pid"], ours)

    def kill(self, renderer: Renderer) -> None:
        """Kill a renderer that was not yet reaped; harmless when it is dead already. Raises NurseryLost."""
        self._ask({"do": "kill", "pid": renderer.pid}, [])

    def reap(self, renderer: Renderer) -> int:
        """Kill a renderer if it still lives, and give its wait status. Raises NurseryLost."""
        renderer.connection.close()
        status: int = self._ask({"do": "reap", "pid": renderer.pid}, [])["status"]
        return status

    def _ask(self, message: dict[str, Any], files: list[int]) -> dict[str, Any]:
        with self._lock:
            try:
                socket.send_fds(self._connection, [json.dumps(message).encode()], files)
                data = self._connection.recv(_MESSAGE_BYTES)
            except OSError as error:
                raise NurseryLost from error
        if not data:
            raise NurseryLost
        answer: dict[str, Any] = json.loads(data)
        return answer


def start_nursery() -> Nursery:
    """Fork the nursery. To be called before any thread starts and before any secret is read."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run_and_exit(lambda: _serve(theirs, parent_pid))
    theirs.close()
    return Nursery(ours, pid)


def _serve(connection: socket.socket, parent_pid: int) -> None:
    """The nursery's own life: answer until the supervisor is gone."""
    from . import linux, renderer  # noqa: PLC0415 - Pillow is loaded in this process, not in the supervisor

    linux.die_with_parent(parent_pid)
    _leave_everything_behind(connection)
    linux.forbid_new_privileges()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    renderer.warm_up()
    gc.collect()
    gc.freeze()  # children share these pages instead of copying them at their first collection
    children: set[int] = set()
    while True:
        data, files, _flags, _address = socket.recv_fds(connection, _MESSAGE_BYTES, 1)
        if not data:
            return
        message = json.loads(data)
        answer: dict[str, Any] = {}
        match message["do"]:
            case "spawn":
                pid = _fork_renderer(connection, files[0], message["memoryBytes"])
                os.close(files[0])
                children.add(pid)
                answer["pid"] = pid
            case "kill" if message["pid"] in children:
                os.kill(message["pid"], signal.SIGKILL)
            case "reap":
                pid = message["pid"]
                children.remove(pid)
                # A process that is already dying keeps the status that it dies with.
                os.kill(pid, signal.SIGKILL)
                answer["status"] = os.waitpid(pid, 0)[1]
        connection.send(json.dumps(answer).encode())


def _fork_renderer(connection: socket.socket, file: int, memory_bytes: int) -> int:
    from . import linux, renderer  # noqa: PLC0415 - loaded long ago

    parent_pid = os.getpid()

    def live() -> None:
        linux.die_with_parent(parent_pid)
        connection.close()
        linux.be_killed_first()
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        meter = linux.DataMeter()
        linux.keep_freed_memory()
        linux.confine()
        # Decoders print what they think of a hostile file, and it could make them print much.
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        os.dup2(1, 2)  # /dev/null
        with socket.socket(fileno=file) as own:
            renderer.serve(own, meter)

    pid = os.fork()
    if pid == 0:
        _run_and_exit(live)
    return pid


def _leave_everything_behind(connection: socket.socket) -> None:
    """Close what was inherited but standard error and our connection; forget the environment."""
    os.environ.clear()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    keep = connection.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))


def _run_and_exit(life: Callable[[], None]) -> NoReturn:
    """Live in a forked child and never come back into the parent's code."""
    code = 1
    try:
        life()
        code = 0
    except ConnectionError:
        code = 0  # the other end is gone: nobody is left to tell
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)
