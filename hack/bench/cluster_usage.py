"""Memory and CPU time of a pod, as its own cgroup tells them: version 1 or 2, on any cluster."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cluster_release import Release

MIB: Final = 1 << 20
# Of version 2, then of version 1: the most bytes ever, the bytes now, the CPU time, the account of both.
_FILES: Final = (
    *("memory.peak", "memory.current", "memory.stat", "cpu.stat"),
    *("memory/memory.max_usage_in_bytes", "memory/memory.usage_in_bytes"),
    *("cpuacct/cpuacct.usage", "memory/memory.stat"),
)
_SCRIPT: Final = "cd /sys/fs/cgroup; grep -H '' " + " ".join(_FILES) + " 2>/dev/null; true"


@dataclass(frozen=True)
class Usage:
    """Of one pod, since it began. What it has now is without the pages of files that can be had again."""

    now_mib: float
    most_mib: float
    cpu_seconds: float


def usage(release: Release, component: str) -> dict[str, Usage]:
    """By the names of the component's pods that run; those that end meanwhile are left out."""
    pods = release.pods(component)
    with ThreadPoolExecutor(len(pods) or 1) as threads:
        return {
            pod: found
            for pod, found in zip(
                pods, threads.map(lambda pod: _usage(release.namespace, pod), pods), strict=True
            )
            if found
        }


def _usage(namespace: str, pod: str) -> Usage | None:
    command = ["kubectl", "--namespace", namespace, "exec", pod, "--", "sh", "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse(done.stdout) if done.returncode == 0 and done.stdout else None


def parse(text: str) -> Usage:
    """From lines of `file:number` and `file:name number`."""
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        file, _, value = line.partition(":")
        *name, number = value.split()
        if number.isdecimal():
            numbers["/".join([file.rpartition("/")[2], *name])] = int(number)
    if "memory.current" in numbers:
        now = numbers["memory.current"] - numbers["memory.stat/inactive_file"]
        most = numbers.get("memory.peak", numbers["memory.current"])  # Linux 5.19 is the first to have it
        cpu = numbers["cpu.stat/usage_usec"] / 1e6
    else:
        now = numbers["memory.usage_in_bytes"] - numbers["memory.stat/total_inactive_file"]
        most = numbers["memory.max_usage_in_bytes"]
        cpu = numbers["cpuacct.usage"] / 1e9
    return Usage(now / MIB, most / MIB, cpu)
