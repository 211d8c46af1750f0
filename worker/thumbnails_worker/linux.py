"""The few system calls that Python does not offer, for the processes that decode pictures."""

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
# linux/landlock.h and the table of system calls, which is the same on all architectures since 5.1
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_EXECUTE, _READ_FILE, _READ_DIRECTORY = 1 << 0, 1 << 2, 1 << 3
_TCP_BIND, _TCP_CONNECT = 1 << 0, 1 << 1
_NETWORK_SINCE: Final = 4  # version of the interface

# malloc.h of glibc; a block of more than M_MMAP_THRESHOLD (32 MiB at most) is given back when freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_BYTES, _KEPT_BYTES = 32 << 20, 128 << 20

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM_BYTES: Final = 256  # seven numbers, at most

_KILLED_BEFORE: Final = 500  # of 1,000: so much of the machine's memory it seems to use in addition
_KILLED_FIRST: Final = 1000
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
    """When memory runs out, the kernel takes this process rather than the supervisor (proc(5)).

    In a pod that may use more than it requests, every process begins near the end of the scale.
    """
    score = Path("/proc/self/oom_score_adj")
    inherited = int(score.read_text("ascii"))
    score.write_text(str(min(inherited + _KILLED_BEFORE, _KILLED_FIRST)), "ascii")


def keep_freed_memory() -> None:
    """Let malloc keep what one picture frees for the next one, up to 128 MiB, where it is glibc's.

    Otherwise the buffers of each large picture are new pages that the kernel has to clear: for a WebP of
    twelve megapixels that is a third of its CPU time.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        _libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Give back what malloc keeps (malloc_trim(3))."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))


class DataMeter:
    """Tells what counts against RLIMIT_DATA, also once this process can open no file any more."""

    def __init__(self) -> None:
        """To be made by the process that it is to measure."""
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def data_bytes(self) -> int:
        """Private writable memory now (field 6 of /proc/self/statm)."""
        return int(os.pread(self._statm, _STATM_BYTES, 0).split()[5]) * _PAGE_BYTES


def confine() -> bool:
    """Take away what a renderer never needs: opening files, and TCP (Landlock, landlock(7)).

    Installed Python code can still be read, since libraries import some modules late. Descriptors that
    are open already stay so. Gives False where the kernel has no Landlock; needs no_new_privs.
    """
    abi = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if abi < 1:
        return False
    files, network = _files_handled(abi), _TCP_BIND | _TCP_CONNECT if abi >= _NETWORK_SINCE else 0
    attributes = struct.pack("=QQ", files, network)[: 16 if network else 8]
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    # Not sys.path: that may hold the working directory, with whatever lies there.
    packages = {path for module in list(sys.modules.values()) for path in getattr(module, "__path__", ())}
    for path in filter(os.path.isdir, {sys.prefix, sys.base_prefix, *packages}):
        directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIRECTORY | _EXECUTE, directory)
        _libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
        os.close(directory)
    restricted: int = _libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return restricted == 0


def _files_handled(abi: int) -> int:
    """All access rights to files that this kernel knows: each version of the interface added one."""
    rights = 13 + sum(abi >= since for since in (2, 3, 5))  # REFER, TRUNCATE, IOCTL_DEV
    return (1 << rights) - 1
