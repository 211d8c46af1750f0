"""Running other programs, and saying what went wrong in words when they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from os import PathLike

Argument = str | PathLike[str]


class ClusterError(Exception):
    """Something that the person at the terminal can understand and act on; shown without a traceback."""


class CommandFailed(ClusterError):
    """Another program ended with a failure; the message has the end of what it said."""


def run(
    *command: Argument,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: PathLike[str] | None = None,
) -> str:
    """Runs a program to its end and gives its standard output; raises CommandFailed when it fails."""
    words: Sequence[str] = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]} is not installed.") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]
        lines = "".join(f"\n  {line}" for line in said)
        raise CommandFailed(f"{' '.join(words[:6])} failed (exit code {done.returncode}):{lines}")
    return done.stdout
