"""Hashes of API keys in a directory, a file each: a mounted Secret, or a folder of one's own."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .keys import ApiKey, parse_entries
from .keys_store import KeyStoreUnavailable, StoredEntries

_MAX_ENTRY_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class DirectoryKeyStore:
    """A KeyStore in `path`. Hidden files are none of ours: a mounted Secret has some, and so have editors."""

    path: Path

    def read(self, known_version: str | None = None) -> StoredEntries | None:
        """See the port. The version is made of what a listing tells: no file is read unless one changed."""
        try:
            # Listed before it is read: what changes in between is read again next time.
            version = self._version()
            if version == known_version:
                return None
            return StoredEntries(version, {path.name: _content(path) for path in self._files()})
        except OSError as error:
            raise _unavailable(error) from None

    def update(self, decide: Callable[[Mapping[str, ApiKey]], ApiKey]) -> ApiKey:
        """See the port. The directory is made when it is missing, for its owner alone."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.path):
                keys, _ = parse_entries({path.name: _content(path) for path in self._files()})
                key = decide(keys)
                self._replace(key)
                return key
        except OSError as error:
            raise _unavailable(error) from None

    def _files(self) -> list[Path]:
        try:
            return [path for path in self.path.iterdir() if not path.name.startswith(".") and path.is_file()]
        except FileNotFoundError:
            return []

    def _version(self) -> str:
        facts = []
        for path in sorted(self._files()):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            facts.append((path.name, found.st_ino, found.st_size, found.st_mtime_ns))
        return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()

    def _replace(self, key: ApiKey) -> None:
        """Whole or not at all, readable by the owner alone."""
        number, name = tempfile.mkstemp(prefix=".", dir=self.path)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(key.to_entry())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path / key.id)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _content(path: Path) -> bytes:
    """The entry; empty, and so of no use, for a file that is gone, too large, or not for us to read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_ENTRY_BYTES + 1)
    except (FileNotFoundError, PermissionError):
        return b""
    return content if len(content) <= _MAX_ENTRY_BYTES else b""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _unavailable(error: OSError) -> KeyStoreUnavailable:
    return KeyStoreUnavailable(f"the directory of keys cannot be used: {error.strerror}")
