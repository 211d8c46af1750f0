"""The node's first process: prepares the namespaces it was born into, then starts and restarts components."""

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Never

from hack.cluster import api, cgroups, mounts, network, store
from hack.cluster.components import Component, components
from hack.cluster.layout import Layout
from hack.cluster.shell import ClusterError, run

_RESTART_SECONDS = 1.0
_LINK_SECONDS = 30.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_node(layout: Layout, programs: Path) -> Never:
    """Never returns: the node ends when this process is killed, and everything in it with it."""
    cgroups.join()
    needed = (layout.checkout, layout.state, layout.cache, Path(sys.executable).resolve().parent)
    mounts.make_private(list(dict.fromkeys(path for path in needed if path.exists())))
    socket.sethostname(network.NODE_NAME)
    _bring_up_link()
    mounts.set_up_network_settings()
    supervisor = Supervisor(layout, components(layout, programs, sys.executable))
    supervisor.start("etcd", "kube-apiserver")
    # This waits for programs of its own, so it is done before anything waits for all of them.
    store.prepare(layout, programs)
    supervisor.start("containerd")
    threading.Thread(target=supervisor.start_when_ready, daemon=True).start()
    supervisor.reap()


def _bring_up_link() -> None:
    """Waits for the end of the link that is put in from outside, and gives it its address."""
    give_up = time.monotonic() + _LINK_SECONDS
    while not Path("/sys/class/net", network.NODE_LINK).exists():
        if time.monotonic() > give_up:
            raise ClusterError("The node was not given its network link.")
        time.sleep(0.01)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{network.NODE_ADDRESS}/30", "dev", network.NODE_LINK)
    run("ip", "link", "set", network.NODE_LINK, "up")
    run("ip", "route", "add", "default", "via", network.HOST_ADDRESS)


class Supervisor:
    """Starts components, and starts again what ended. One thread starts; the main one reaps.

    Processes are spawned without `subprocess`, because the first process of a namespace also inherits
    other programs' children, and waits for all of them in one place.
    """

    def __init__(self, layout: Layout, started: Sequence[Component]) -> None:
        self._layout = layout
        self._components = started
        self._running: dict[int, Component] = {}
        self._lock = threading.Lock()

    def start(self, *names: str) -> None:
        for component in self._components:
            if component.name in names:
                self._start(component)

    def start_when_ready(self) -> None:
        """The components that need the API server, once it is ready."""
        api.wait_until_ready(api.client(self._layout, "admin"))
        for component in self._components:
            if component.needs_api:
                self._start(component)

    def reap(self) -> Never:
        """Waits for the end of any process, for ever."""
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.01)
                continue
            with self._lock:
                component = self._running.pop(pid, None)
            if component is not None:
                how = os.waitstatus_to_exitcode(status)
                _log(f"{component.name} ended ({how}); it is started again")
                timer = threading.Timer(_RESTART_SECONDS, self._start, [component])
                timer.daemon = True
                timer.start()

    def _start(self, component: Component) -> None:
        log = os.open(
            self._layout.logs / f"{component.name}.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        environment = {"PATH": _PATH, "HOME": "/run", "LANG": "C.UTF-8"}
        with self._lock:  # not to be reaped before it is known
            pid = os.posix_spawn(
                component.command[0],
                component.command,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
                setsid=True,
            )
            self._running[pid] = component
        os.close(log)
        _log(f"{component.name} started ({pid})")


def _log(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", flush=True)
