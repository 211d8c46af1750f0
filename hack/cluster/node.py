"""Starts the node in namespaces of its own, and ends it without leaving anything on the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from hack.cluster import api, cgroups, network
from hack.cluster.layout import SOURCES, Layout
from hack.cluster.record import Record, birth, is_alive, remove_record, write_record
from hack.cluster.shell import ClusterError, run

# One for each pod and more: the limit counts for all of a machine's processes of root together.
_SETTINGS = {"fs/inotify/max_user_instances": 8192}
_MODULES = ("overlay", "br_netfilter", "nf_tables", "veth")
_ENDING_SECONDS = 30.0


def start(layout: Layout, programs: Path) -> Record:
    """Starts the node's first process and its network link; the components come up by themselves.

    What is changed on the machine is written down before it is changed.
    """
    record = Record(
        checkout=str(layout.checkout),
        programs=str(programs),
        settings={name: (Path("/proc/sys") / name).read_text().strip() for name in _SETTINGS},
    )
    write_record(layout.record, record)
    _load_modules()
    for name, wanted in _SETTINGS.items():
        if int(record.settings[name]) < wanted:
            (Path("/proc/sys") / name).write_text(str(wanted))
    cgroups.make_branch()
    with (layout.logs / "node.log").open("a") as log:
        process = subprocess.Popen(
            [
                "unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child",
                "--mount-proc",                 sys.executable, str(SOURCES), "agent", "node",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip
    record = replace(record, pid=process.pid, born=birth(process.pid) or 0)
    write_record(layout.record, record)
    _connect(first_process(record))
    return record


def _load_modules() -> None:
    """Where they are built into the kernel, or cannot be loaded, the next step shows what is missing."""
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin:/bin")
    for module in _MODULES:
        if modprobe and not Path("/sys/module", module).exists():
            subprocess.run([modprobe, "--quiet", module], check=False)
    if not Path("/proc/sys/net/bridge").exists():
        raise ClusterError("The kernel has no br_netfilter: Services cannot work without it.")


def first_process(record: Record, timeout: float = 10.0) -> int:
    """The number, outside, of the node's process 1; waits until that is in its own network."""
    give_up = time.monotonic() + timeout
    here = Path("/proc/self/ns/net").readlink()
    while is_alive(record):
        children = _children(record.pid)
        if children and Path(f"/proc/{children[0]}/ns/net").readlink() != here:
            return children[0]
        if time.monotonic() > give_up:
            break
        time.sleep(0.01)
    raise ClusterError("The node did not start; see .cluster/logs/node.log.")


def _connect(first: int) -> None:
    run(
        "ip", "link", "add", network.HOST_LINK, "type", "veth",
        "peer", "name", network.NODE_LINK, "netns", str(first),
    )  # fmt: skip
    run("ip", "address", "add", f"{network.HOST_ADDRESS}/30", "dev", network.HOST_LINK)
    run("ip", "link", "set", network.HOST_LINK, "up")
    for addresses in (network.SERVICE_RANGE, network.POD_RANGE):
        run("ip", "route", "add", addresses, "via", network.NODE_ADDRESS)


def check_routes() -> None:
    """Raises ClusterError when the machine already uses addresses that the cluster needs."""
    ours = [ip_network(text) for text in (network.LINK_RANGE, network.SERVICE_RANGE, network.POD_RANGE)]
    for route in json.loads(run("ip", "-json", "-4", "route")):
        if route["dst"] == "default" or route.get("dev") == network.HOST_LINK:
            continue
        theirs = ip_network(route["dst"])
        for wanted in ours:
            if wanted.overlaps(theirs):
                raise ClusterError(f"The cluster needs {wanted}, but {route.get('dev')} routes {theirs}.")


def in_node(record: Record) -> tuple[str, ...]:
    """The words before a command that let it run inside the node."""
    return ("nsenter", "--target", str(first_process(record)), "--mount", "--net", "--pid", "--")


def is_healthy(layout: Layout) -> bool:
    """Whether the API server answers and the node says that it is ready."""
    try:
        client = api.client(layout, "admin")
        return api.is_ready(client) and is_node_ready(client)
    except (OSError, api.ApiError):
        return False


def is_node_ready(client: api.Client) -> bool:
    try:
        node = client.request("GET", f"/api/v1/nodes/{network.NODE_NAME}")
    except api.ApiError as error:
        if error.status == 404:
            return False
        raise
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def stop(layout: Layout, record: Record | None) -> None:
    """Ends every process of the node and undoes what was changed; also after any of it was killed.

    Without a record (somebody removed it) the machine's settings stay as they are.
    """
    if record is not None and is_alive(record):
        # Its death is its child's (--kill-child), and that one's is every process's in the namespace.
        children = _children(record.pid)
        os.kill(record.pid, signal.SIGKILL)
        _wait_for([record.pid, *children])
    if has_link():
        # The kernel takes the link down with the node's network, but only some time after.
        subprocess.run(["ip", "link", "delete", network.HOST_LINK], capture_output=True, check=False)
    cgroups.remove_branch()
    for name, value in record.settings.items() if record is not None else ():
        (Path("/proc/sys") / name).write_text(value)
    for path in layout.short_lived:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    remove_record(layout.record)


def has_link() -> bool:
    """Whether the machine's end of the link is there: the sign of a node, or of what is left of one."""
    return Path("/sys/class/net", network.HOST_LINK).exists()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _wait_for(pids: list[int]) -> None:
    """The first process of a namespace is gone only after all others are."""
    give_up = time.monotonic() + _ENDING_SECONDS
    while any(birth(pid) is not None for pid in pids):
        if time.monotonic() > give_up:
            raise ClusterError("The node's processes do not end.")
        time.sleep(0.01)
