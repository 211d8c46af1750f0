"""API keys by server, in a file that nobody else can read, for `thumbnails login` and all that follow it."""

import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ClientError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class UnsafeKeyFile(ClientError):
    """Others can read or change the file, or it is no file of keys."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A JSON object: the key of each server's URL."""

    path: Path

    @classmethod
    def of_user(cls, env: Mapping[str, str]) -> "KeyFile":
        """In the user's configuration folder (XDG Base Directory Specification)."""
        config = env.get("XDG_CONFIG_HOME")
        folder = Path(config) if config else Path.home() / ".config"
        return cls(folder / "thumbnails" / "keys.json")

    def key_for(self, url: str) -> str | None:
        """The key of this server; None when there is none. Raises UnsafeKeyFile, OSError."""
        return self._read().get(_server(url))

    def keep(self, url: str, key: str) -> None:
        """From now on this is the key of this server. Raises UnsafeKeyFile, OSError."""
        self._write(self._read() | {_server(url): key})

    def forget(self, url: str) -> bool:
        """Whether there was one. Raises UnsafeKeyFile, OSError."""
        keys = self._read()
        had = keys.pop(_server(url), None) is not None
        if had:
            self._write(keys)
        return had

    def _read(self) -> dict[str, str]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        with os.fdopen(descriptor, encoding="utf-8") as file:
            # Of the file that is open: another cannot take its place in between.
            if os.fstat(descriptor).st_mode & _OTHERS:
                raise UnsafeKeyFile(f"Others can read {self.path}: chmod 600 it, and think of new keys.")
            try:
                keys = json.load(file)
            except ValueError:
                keys = None
        if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
            raise UnsafeKeyFile(f"{self.path} is no file of keys: move it away.")
        return keys

    def _write(self, keys: Mapping[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(keys, file, indent=1)
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _server(url: str) -> str:
    return url.rstrip("/")
