"""Gives the node, and builds, their own view of the file system, so that nothing is left on the machine."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hack.cluster.shell import run

# Fixed paths of the kubelet, containerd, runc, CNI and iptables: private to the node, and in memory.
PRIVATE = (Path("/run"), Path("/var/lib"), Path("/var/log"))

# What the kubelet wants the whole machine's kernel to be like. It gets files that say so instead: in the
# node they lie over those of /proc, and the machine keeps its own values.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

# Those of the node's own network namespace.
_NETWORK_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}


def hidden(paths: Sequence[Path], private: Sequence[Path] = PRIVATE) -> list[Path]:
    """Those of `paths` that a private folder would hide: they are mounted again on top of it."""
    return [path for path in paths if any(path.is_relative_to(folder) for folder in private)]


def make_private(needed: Sequence[Path]) -> None:
    """Called as the first process of new mount, network and process namespaces, with /proc mounted.

    `needed` are folders of the machine that the node uses under their usual names.
    """
    run("mount", "--make-rprivate", "/")
    with ExitStack() as opened:
        # A folder stays reachable through a descriptor after something was mounted over it.
        cgroups = _open(Path("/sys/fs/cgroup"), opened)
        kept = {path: _open(path, opened) for path in hidden(needed)}
        # The old /sys shows the machine's network devices, not the node's.
        run("mount", "-t", "sysfs", "sysfs", "/sys")
        run("mount", "--no-canonicalize", "--rbind", cgroups, "/sys/fs/cgroup")
        for folder in PRIVATE:
            run("mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev", "thumbnails", folder)
        for path, source in kept.items():
            path.mkdir(parents=True, exist_ok=True)
            run("mount", "--no-canonicalize", "--rbind", source, path)
    settings = Path("/run/kernel-settings")
    for name, value in _KERNEL_SETTINGS.items():
        target = Path("/proc/sys") / name
        if target.exists():
            file = settings / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
            run("mount", "--bind", file, target)
    # Pods' mounts reach the kubelet's, and the other way round, as on any node.
    run("mount", "--make-rshared", "/")


def keep_from_machine(folders: Sequence[Path], needed: Sequence[Path], memory: Path) -> None:
    """Lets a program write into `folders` as it likes, without effect on the machine.

    In this mount namespace they look as they are, and what is written goes to `memory` (a tmpfs); below
    `needed` alone it is kept.
    """
    with ExitStack() as opened:
        kept = {path: _open(path, opened) for path in hidden(needed, folders)}
        for number, folder in enumerate(folders):
            upper, work = memory / f"upper-{number}", memory / f"work-{number}"
            upper.mkdir()
            work.mkdir()
            options = f"lowerdir={folder},upperdir={upper},workdir={work}"
            run("mount", "-t", "overlay", "-o", options, "thumbnails", folder)
        for path, source in kept.items():
            run("mount", "--no-canonicalize", "--rbind", source, path)


def set_up_network_settings() -> None:
    for name, value in _NETWORK_SETTINGS.items():
        (Path("/proc/sys") / name).write_text(value)


def _open(path: Path, opened: ExitStack) -> str:
    """A name for the folder that no later mount hides, as long as nobody resolves it (--no-canonicalize)."""
    descriptor = os.open(path, os.O_PATH)
    opened.callback(os.close, descriptor)
    return f"/proc/{os.getpid()}/fd/{descriptor}"
