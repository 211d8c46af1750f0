"""Memory of pods and of the control plane, read from this machine's /sys and /proc."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from hack.cluster.components import CGROUP

_GROUPS: Final = Path("/sys/fs/cgroup")
_PROCESSES: Final = Path("/proc")


class Memory(NamedTuple):
    """Bytes: those that cannot be had again (the kubelet's working set), and of them those of no file."""

    working_set: int
    anonymous: int


def of_pod(uid: str, root: Path = _GROUPS) -> Memory | None:
    """All containers of a pod, by the control groups of the node; None when it is gone, or not there yet."""
    v2 = (root / "cgroup.controllers").exists()
    top = (root if v2 else root / "memory") / CGROUP / "kubepods"
    # Pods of the class Guaranteed lie at the top.
    for folder in (top, top / "burstable", top / "besteffort"):
        try:
            return _of_group(folder / f"pod{uid}", v2=v2)
        except OSError:
            continue
    return None


def _of_group(group: Path, *, v2: bool) -> Memory:
    used = int((group / ("memory.current" if v2 else "memory.usage_in_bytes")).read_text())
    numbers = _numbers((group / "memory.stat").read_text().splitlines(), " ")
    inactive, anonymous = ("inactive_file", "anon") if v2 else ("total_inactive_file", "total_rss")
    return Memory(max(0, used - numbers[inactive]), numbers[anonymous])


def of_process(pid: int, root: Path = _PROCESSES) -> Memory | None:
    """A process by itself, its files in memory included; None when it has ended."""
    try:
        lines = (root / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = _numbers((line.removesuffix(" kB") for line in lines), ":")
    if "VmRSS" not in kilobytes:  # it has ended, and nobody has asked how
        return None
    return Memory(kilobytes["VmRSS"] * 1024, kilobytes["RssAnon"] * 1024)


def _numbers(lines: Iterable[str], separator: str) -> Mapping[str, int]:
    pairs = (line.partition(separator) for line in lines)
    return {name: int(value) for name, _, value in pairs if value.strip().isdecimal()}
