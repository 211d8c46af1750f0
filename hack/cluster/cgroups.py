"""The cluster's own branch of the machine's control groups, version 1, 2 or both."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from hack.cluster.components import CGROUP
from hack.cluster.shell import ClusterError

_ROOT = Path("/sys/fs/cgroup")
# What the kubelet asks of version 2.
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
_EMPTYING_SECONDS = 10.0


def hierarchies(root: Path = _ROOT) -> list[Path]:
    """The top of each: one for version 2, one a controller for version 1 (and `unified` beside them)."""
    if (root / "cgroup.controllers").exists():
        return [root]
    # Names such as `cpuacct` may be links to `cpu,cpuacct`.
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not path.is_symlink()]


def make_branch(root: Path = _ROOT) -> None:
    for top in hierarchies(root):
        (top / CGROUP).mkdir(exist_ok=True)
    if (root / "cgroup.controllers").exists():
        available = (root / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in _CONTROLLERS if name in available)
        for folder in (root, root / CGROUP):
            (folder / "cgroup.subtree_control").write_text(wanted)


def join(root: Path = _ROOT) -> None:
    """Puts the calling process, and all it will start, where `remove_branch` finds them whatever happens."""
    v2 = (root / "cgroup.controllers").exists()
    group = (root if v2 else root / "pids") / CGROUP / "node"
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text("0")


def remove_branch(root: Path = _ROOT) -> None:
    """Ends what still runs in the groups, and removes them, the innermost first."""
    give_up = time.monotonic() + _EMPTYING_SECONDS
    for top in hierarchies(root):
        branch = top / CGROUP
        while branch.exists():
            folders = [branch, *(path for path in sorted(branch.rglob("*/")) if path.is_dir())]
            try:
                for folder in reversed(folders):
                    _end_processes(folder)
                    folder.rmdir()
            except OSError as error:
                if time.monotonic() > give_up:
                    raise ClusterError(f"{branch} still has processes in it.") from error
                time.sleep(0.02)


def _end_processes(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
