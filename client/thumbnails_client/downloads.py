"""Downloads that go on where they were: what has come is kept beside the file, until it is all there."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(slots=True)
class Part:
    """What has come of a file so far, and of which version (its ETag) it is; "" when nothing has."""

    file: BinaryIO
    path: Path
    etag: str = ""

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self.file.fileno()).st_size if self.etag else 0

    def headers(self) -> dict[str, str]:
        """What asks for the rest, or for all when it is another version by now (RFC 9110, If-Range)."""
        return {"Range": f"bytes={self.size}-", "If-Range": self.etag} if self.size else {}

    def begin(self, etag: str, *, at: int) -> None:
        """What comes now is of this version, from this byte on."""
        self.file.truncate(at)
        self.file.seek(at)
        self.etag = etag
        _write_etag(self.path, etag)

    def extend(self, chunks: Iterable[bytes]) -> None:
        """Add what comes; what has come before an error is kept."""
        for chunk in chunks:
            self.file.write(chunk)
        self.file.flush()

    def finish(self, target: Path) -> None:
        """It is all there: under its own name now."""
        self.file.flush()
        self.path.replace(target)
        _etag_path(self.path).unlink(missing_ok=True)


@contextmanager
def open_part(target: Path, address: str) -> Iterator[Part]:
    """What there is of `target`, whose content is at `address`; nobody else adds to it meanwhile.

    Raises OSError; BlockingIOError while another process is downloading it.
    """
    path = target.with_name(f".{target.name}.{hashlib.sha256(address.encode()).hexdigest()[:12]}.part")
    with _open_locked(path) as file:
        part = Part(file, path, _read_etag(path))
        try:
            yield part
        finally:
            if not part.size:  # nothing to go on from
                path.unlink(missing_ok=True)
                _etag_path(path).unlink(missing_ok=True)


def _open_locked(path: Path) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had the lock before may have finished: then this file has its own name by now.
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _etag_path(path: Path) -> Path:
    return path.with_suffix(".etag")


def _read_etag(path: Path) -> str:
    try:
        return _etag_path(path).read_text("ascii")
    except (FileNotFoundError, ValueError):
        return ""


def _write_etag(path: Path, etag: str) -> None:
    if etag:
        _etag_path(path).write_text(etag, "ascii")
    else:
        _etag_path(path).unlink(missing_ok=True)
