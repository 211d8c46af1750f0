"""Takes parts of the running node away and gives them back, for tests of what a service makes of that.

All of it is done from outside the node, to its processes; the node's supervisor starts again what was killed.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hack.cluster import node
from hack.cluster.layout import Layout
from hack.cluster.record import Record, birth, is_alive, read_record
from hack.cluster.shell import ClusterError, run

_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0
# Sends one request, in JSON, to etcd's gateway from where it listens: the node's own loopback.
_ASK_ETCD = (
    "import sys, urllib.request as u;"
    "r = u.Request('http://127.0.0.1:2379' + sys.argv[1], sys.argv[2].encode());"
    "print(u.build_opener(u.ProxyHandler({})).open(r, timeout=10).read().decode())"
)


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The processes of the cluster that runs on this machine."""

    record: Record

    @classmethod
    def of_kubeconfig(cls, kubeconfig: Path, record_path: Path) -> Self | None:
        """The node behind a kubeconfig; None when that is another cluster's."""
        record = read_record(record_path)
        if record is None or not is_alive(record):
            return None
        found = cls(record)
        return found if kubeconfig.resolve() == found.layout.kubeconfig.resolve() else None

    @property
    def layout(self) -> Layout:
        """Where its files lie."""
        return Layout(checkout=Path(self.record.checkout), cache=Path(self.record.programs).parent)

    def run(self, *command: str) -> str:
        """Run a program in the node's namespaces; what it says."""
        return run(*node.in_node(self.record), *command)

    def pid(self, component: str) -> int | None:
        """The number, on the machine, of a component's process; None while it does not run."""
        first = node.first_process(self.record)
        for pid in map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split()):
            with suppress(OSError):
                program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
                if program == f"{self.record.programs}/{component}".encode() and birth(pid) is not None:
                    return pid
        return None

    def restart(self, component: str) -> None:
        """Kill a component, and return when another process of it runs."""
        before = self._await_pid(component)
        os.kill(before, signal.SIGKILL)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while self.pid(component) in {None, before}:
            if time.monotonic() > give_up:
                raise ClusterError(f"{component} is not started again.")
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def away(self, component: str) -> Iterator[None]:
        """Keep a component from running: whoever calls it is refused."""
        back = threading.Event()

        def hold_down() -> None:
            while not back.wait(_LOOK_SECONDS):
                if pid := self.pid(component):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        holder = threading.Thread(target=hold_down, name=f"{component} is away")
        holder.start()
        try:
            yield
        finally:
            back.set()
            holder.join()

    @contextmanager
    def frozen(self, component: str) -> Iterator[None]:
        """Stop a component's process in its tracks: whoever calls it waits."""
        with frozen([self._await_pid(component)]):
            yield

    def container_pids(self, container: str) -> list[int]:
        """The processes of a container, by the id that a pod's status has for it."""
        name = container.rpartition("/")[2]
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with suppress(OSError):
                    if name in (folder / "cgroup").read_text():
                        found.append(int(folder.name))
        if not found:
            raise ClusterError(f"No process of the container {name} runs on this machine.")
        return sorted(found)

    @contextmanager
    def store_without_space(self) -> Iterator[None]:
        """Have etcd refuse writes, as it does when its database has reached its quota (alarm NOSPACE)."""
        member = self._ask_etcd("/v3/maintenance/status", {})["header"]["member_id"]
        alarm = {"memberID": member, "alarm": "NOSPACE"}
        self._ask_etcd("/v3/maintenance/alarm", {**alarm, "action": "ACTIVATE"})
        try:
            yield
        finally:
            self._ask_etcd("/v3/maintenance/alarm", {**alarm, "action": "DEACTIVATE"})

    def _ask_etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(sys.executable, "-c", _ASK_ETCD, path, json.dumps(body)))
        return answer

    def _await_pid(self, component: str) -> int:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            pid = self.pid(component)
            if pid is not None:
                return pid
            if time.monotonic() > give_up:
                raise ClusterError(f"{component} does not run.")
            time.sleep(_LOOK_SECONDS)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Stop processes, and let those that are still there go on."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
