"""Becomes another program that dies with the process which started it, for servers run as children.

    python -I -S leash.py <pid of the parent> program argument ...

The kernel ties the signal to the *thread* that started the child (prctl(2), PR_SET_PDEATHSIG): start
it from one that lives as long as the child should. A program of its own, since code between fork and
exec (`preexec_fn`) may deadlock when there are threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def command(*argv: str) -> list[str]:
    """The command line that runs `argv` as a child of this process, on the leash."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]


def main(argv: list[str]) -> None:
    """Ask for the signal, and become the program."""
    parent, *program = argv
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")  # before the kernel was asked to tell
    os.execv(program[0], program)  # noqa: S606 - becoming another program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
