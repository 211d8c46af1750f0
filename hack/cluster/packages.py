"""What the cluster takes from Debian, installed when it is missing."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hack.cluster.progress import Progress
from hack.cluster.shell import ClusterError, run

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(packages: Mapping[str, str]) -> list[str]:
    """Names of packages whose program (by name, or by path) is not there."""
    return [
        package
        for package, sign in packages.items()
        if not (Path(sign).exists() if sign.startswith("/") else shutil.which(sign, path=_PATH))
    ]


def install(packages: Mapping[str, str], progress: Progress) -> None:
    """Installs what is missing with apt-get, without recommendations, so that no daemon comes along."""
    names = missing(packages)
    if not names:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"These programs are needed: {', '.join(packages[name] for name in names)}.")
    progress.note(f"apt-get install {' '.join(names)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install_command = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *names)
    try:
        run(*install_command, environment=environment)
    except ClusterError:
        # The lists of packages are missing, or older than the packages.
        run("apt-get", "update", "--quiet", environment=environment)
        run(*install_command, environment=environment)
    if still := missing(packages):
        raise ClusterError(f"Installed, and yet not there: {', '.join(packages[name] for name in still)}.")
