"""The data folder: where everything lies, and whether it can be used, by this instance alone."""

import errno
import fcntl
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thumbnails_api.keys_settings import DATA_FOLDER_KEYS

from .trouble import StartError

_PROBE_BYTES: Final = 8 << 20
# The processes of an instance that was killed end within moments, and hold the lock until then.
_PATIENCE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class DataFolder:
    """What lies where."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the launcher and its children; names the launcher's process."""
        return self.root / "lock"

    @property
    def jobs(self) -> Path:
        """The SQLite file; the pipes of its watchers lie beside it."""
        return self.root / "jobs" / "jobs.db"

    @property
    def pictures(self) -> Path:
        """The folder of the S3 server."""
        return self.root / "s3"

    @property
    def webhook_secret(self) -> Path:
        """The secret to sign webhooks with, when none is set."""
        return self.root / "webhook-secret"

    @property
    def api_keys(self) -> Path:
        """The hashes of API keys, a file each: `thumbnails-api keys` writes them while the service runs."""
        return self.root / DATA_FOLDER_KEYS

    @property
    def first_key(self) -> Path:
        """The API key that was made when there was none; whoever has read it may delete it."""
        return self.root / "first-api-key"

    @property
    def link_secret(self) -> Path:
        """The secrets to sign links with, the newest first, when none is set."""
        return self.root / "link-secret"

    @property
    def generation(self) -> Path:
        """How often an operator was started."""
        return self.root / "generation"

    @property
    def run(self) -> Path:
        """What is of no use to the next run."""
        return self.root / "run"

    @property
    def endpoint(self) -> Path:
        """The URL of the running service."""
        return self.run / "endpoint"


def open_data_folder(root: Path) -> tuple[DataFolder, int]:
    """Lock the folder, clear what an earlier run left, and see that something can be written.

    Returns the file descriptor of the lock too: whoever inherits it holds the lock as well. Raises
    StartError.
    """
    folder = DataFolder(root)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(root, error) from error
    try:
        _take(lock, root)
        for leftover in (folder.run, folder.jobs.parent / "watchers"):
            shutil.rmtree(leftover, ignore_errors=True)
        for needed in (folder.run, folder.jobs.parent, folder.pictures):
            needed.mkdir(mode=0o700, exist_ok=True)
        _probe(folder.run / "probe")
    except OSError as error:
        os.close(lock)
        raise _unusable(root, error) from error
    except StartError:
        os.close(lock)
        raise
    return folder, lock


def next_generation(path: Path) -> int:
    """One more than at the last call, for ever: written before it is used. Raises OSError."""
    try:
        generation = int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        generation = 0
    except ValueError:
        # The file was damaged. Workers of the last run are gone, so that any number will do.
        generation = int(time.time())
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(f"{generation + 1}\n", encoding="ascii")
    draft.replace(path)
    return generation + 1


def _take(lock: int, root: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            if _alive(owner) or time.monotonic() > deadline:
                raise StartError(
                    f"another instance (process {owner or 'unknown'}) uses the data folder {root}: "
                    "end it, or set THUMBNAILS_DATA to another folder"
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            break
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _alive(pid: str) -> bool:
    return pid.isdecimal() and Path("/proc", pid).exists()


def _probe(path: Path) -> None:
    """Allocate a few MiB for real, and give them back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _PROBE_BYTES)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def _unusable(root: Path, error: OSError) -> StartError:
    number = error.errno or 0
    if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        trouble = "has no space left: free some"
    elif number in {errno.EACCES, errno.EPERM, errno.EROFS}:
        trouble = "cannot be written: change its permissions"
    elif number in {errno.ENOTDIR, errno.EEXIST}:
        trouble = "is no folder: move what is there away"
    else:
        trouble = f"cannot be used: {os.strerror(number)}"
    return StartError(f"the data folder {root} {trouble}, or set THUMBNAILS_DATA to another")
