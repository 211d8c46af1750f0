"""What is written down about the machine's one cluster, for anybody to end it after any crash."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hack.cluster.shell import ClusterError


@dataclass(frozen=True, slots=True)
class Record:
    """Whose cluster it is, its process, and what was changed on the machine for it.

    `pid` is 0 until the process runs; `born` (clock ticks since boot) tells it from a later one that has
    its number.
    """

    checkout: str
    programs: str
    pid: int = 0
    born: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def read_record(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def write_record(path: Path, record: Record) -> None:
    """Whole or not at all."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(record), indent=1))
    new.rename(path)


def remove_record(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".new").unlink(missing_ok=True)
    if path.parent.exists():
        path.parent.rmdir()


def birth(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is dead."""
    try:
        # The second field, the program's name, may itself contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(record: Record) -> bool:
    return record.pid != 0 and birth(record.pid) == record.born


@contextmanager
def only_one() -> Iterator[None]:
    """Holds off every other command on the machine; the kernel lets go when a process ends."""
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind("\0thumbnails-cluster")
        except OSError as error:
            raise ClusterError(
                "Another command of a cluster is running on this machine; wait for it to end."
            ) from error
        yield


def root_only() -> None:
    if os.geteuid() != 0:
        raise ClusterError("A cluster needs root: it makes namespaces, mounts and network links.")
