"""Secrets of this machine's own making: files in the data folder, made once, for their owner's eyes."""

import json
import logging
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_log = logging.getLogger(__name__)

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """The keys of the S3 server that runs as a child."""

    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The keys in the file at `path`, made if it is not there. Raises OSError, or ValueError."""
        text = load_or_create(path, lambda: json.dumps(_random_keys()))
        try:
            document = json.loads(text)
            return cls(str(document["accessKey"]), str(document["secretKey"]))
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path} does not hold S3 keys; move it away, and new ones are made") from None


def load_or_create(path: Path, make: Callable[[], str]) -> str:
    """The text of the file at `path`; when it is not there, made by `make` and written, mode 0600.

    Of two that create it at once, both get the same text, and a crash leaves all of it or nothing. A
    file that others may read is closed to them. Raises OSError.
    """
    if not path.exists():
        write_private(path, make(), replace=False)
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & ~_OWNER_ONLY:
        path.chmod(_OWNER_ONLY)
        _log.warning("%s was open to others; it is not any more", path.name)
    return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file at once, mode 0600; with `replace` false, one that is there stays as it is."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            try:
                os.link(draft, path)  # unlike a rename, a link fails when the name is taken
            except FileExistsError:
                _log.debug("%s was made by another process meanwhile", path.name)
    finally:
        draft.unlink(missing_ok=True)


def _random_keys() -> dict[str, str]:
    return {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
