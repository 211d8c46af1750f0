"""The few system calls that Python does not offer, for the processes that decode pictures."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once if that has happened already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def forbid_new_privileges() -> None:
    """No set-user-ID program gives this process, or its children, more rights (prctl(2))."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def be_killed_first() -> None:
    """When memory runs out, the kernel takes this process rather than the supervisor (proc(5))."""
    Path("/proc/self/oom_score_adj").write_text("500", "ascii")


def data_bytes() -> int:
    """What counts against RLIMIT_DATA now: private writable memory (field 6 of /proc/self/statm)."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * _PAGE_BYTES
