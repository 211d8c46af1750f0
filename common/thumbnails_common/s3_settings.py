"""Where the object store is and with which keys: read from the environment, for API and operator."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from thumbnails_contract.environment import Environment, InvalidSetting

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)  # without slots, so that the class has the defaults
class S3Settings:
    """One bucket of one S3 server, addressed path-style.

    A call is tried again until `retry_seconds` have passed; a try that is under way then may take
    `read_timeout_seconds` more (and a second for each 5 MB that it writes). `ca_file` verifies an
    `https` endpoint in place of the system's CAs. `public_endpoint` is where clients of the REST API reach
    the same server, if they may.
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
    public_endpoint: str | None = None

    def __post_init__(self) -> None:
        _check_endpoint("endpoint", self.endpoint)
        if self.public_endpoint is not None:
            _check_endpoint("public_endpoint", self.public_endpoint)
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError("bucket: must be 3 to 63 lower-case letters, digits, dots and hyphens")

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_S3_*`. Raises InvalidSetting."""
        read, prefix = Environment(env), "THUMBNAILS_S3_"
        endpoint = read.text(f"{prefix}ENDPOINT", "")
        if not endpoint:
            raise InvalidSetting(f"{prefix}ENDPOINT: must be set to the URL of an S3 server")
        try:
            return cls(
                endpoint,
                read.secret(f"{prefix}ACCESS_KEY"),
                read.secret(f"{prefix}SECRET_KEY"),
                bucket=read.text(f"{prefix}BUCKET", cls.bucket),
                region=read.text(f"{prefix}REGION", cls.region),
                ca_file=read.value(f"{prefix}CA_FILE", None, _certificates),
                connect_timeout_seconds=read.number(
                    f"{prefix}CONNECT_TIMEOUT_SECONDS", cls.connect_timeout_seconds, least=0.001
                ),
                read_timeout_seconds=read.number(
                    f"{prefix}READ_TIMEOUT_SECONDS", cls.read_timeout_seconds, least=0.001
                ),
                retry_seconds=read.number(f"{prefix}RETRY_SECONDS", cls.retry_seconds),
                connections=read.integer(f"{prefix}CONNECTIONS", cls.connections, least=1),
                large_puts=read.integer(f"{prefix}LARGE_PUTS", cls.large_puts, least=1),
                public_endpoint=read.text(f"{prefix}PUBLIC_ENDPOINT", "") or None,
            )
        except InvalidSetting:
            raise
        except ValueError as error:  # from __post_init__: "endpoint: must be ..."
            name, _, text = str(error).partition(": ")
            raise InvalidSetting(f"{prefix}{name.upper()}: {text}") from None


def _certificates(path: str) -> str | None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # of which SSLError is one
        raise ValueError("must name a file with certificates (PEM) that can be read") from None
    return path


def _check_endpoint(name: str, url: str) -> None:
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"{name}: its port must be a number up to 65535") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise ValueError(f"{name}: must be a URL like https://host:port")
    if parts.path not in {"", "/"}:
        raise ValueError(f"{name}: must not have a path, since buckets are addressed below its root")
