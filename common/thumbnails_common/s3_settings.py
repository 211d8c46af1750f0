"""Where the object store is and with which keys: read from the environment, for API and operator."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """One bucket of one S3 server, addressed path-style.

    A call is tried again until `retry_seconds` have passed; a try that is under way then may take
    `read_timeout_seconds` more (and a second for each 5 MB that it writes). `ca_file` verifies an
    `https` endpoint in place of the system's CAs.
    """

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str = "thumbnails"
    region: str = "us-east-1"
    ca_file: str | None = None
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 20.0
    retry_seconds: float = 10.0
    connections: int = 64  # that are kept open; more are made when needed
    large_puts: int = 4  # of more than 8 MiB, under way at once; others wait their turn

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("endpoint: its port must be a number up to 65535") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("endpoint: must be a URL like https://host:port")
        if parts.path not in {"", "/"}:
            raise ValueError("endpoint: must not have a path, since buckets are addressed below its root")
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError("bucket: must be 3 to 63 lower-case letters, digits, dots and hyphens")

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_S3_*`. Raises ValueError with one line that names the variable."""
        prefix = "THUMBNAILS_S3_"
        endpoint = env.get(f"{prefix}ENDPOINT", "")
        if not endpoint:
            raise ValueError(f"{prefix}ENDPOINT: must be set to the URL of an S3 server")
        given: dict[str, float | int | str] = {}
        for name in ("bucket", "region", "ca_file"):
            if text := env.get(prefix + name.upper()):
                given[name] = text
        for name in ("connect_timeout_seconds", "read_timeout_seconds", "retry_seconds"):
            if text := env.get(prefix + name.upper()):
                given[name] = _positive(prefix + name.upper(), text, float)
        for name in ("connections", "large_puts"):
            if text := env.get(prefix + name.upper()):
                given[name] = _positive(prefix + name.upper(), text, int)
        access_key, secret_key = _secret(env, f"{prefix}ACCESS_KEY"), _secret(env, f"{prefix}SECRET_KEY")
        try:
            return cls(endpoint, access_key, secret_key, **given)  # type: ignore[arg-type]  # checked above
        except ValueError as error:
            name, _, text = str(error).partition(": ")
            raise ValueError(f"{prefix}{name.upper()}: {text}") from None


def _secret(env: Mapping[str, str], variable: str) -> str:
    """The variable's value, or the content of the file that `<variable>_FILE` names."""
    if text := env.get(variable):
        return text
    path = env.get(f"{variable}_FILE")
    if not path:
        raise ValueError(f"{variable}: must be set, or {variable}_FILE must name a file that holds it")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}_FILE: cannot be read ({type(error).__name__})") from None
    if not text:
        raise ValueError(f"{variable}_FILE: the file is empty")
    return text


def _positive(variable: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        value = parse(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError(f"{variable}: must be a positive number, not {text!r}")
    return value
