"""Settings of the local service, and of the parts that it starts: all checked before anything starts."""

import base64
import binascii
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from thumbnails_api.links import LinkSigner
from thumbnails_api.process_settings import read_host
from thumbnails_api.settings import ApiSettings
from thumbnails_common.s3_settings import S3Settings
from thumbnails_contract.environment import Environment, InvalidSetting
from thumbnails_contract.logs import LogSettings
from thumbnails_operator.settings import OperatorSettings

from .trouble import StartError

T = TypeVar("T")

_MAX_PORT: Final = 65_535

# What a cluster is set up for does not fit one machine: there the pool is bounded by its cores, and
# workers cost nothing but memory while they wait, so that one always does and others stay a while.
_DEFAULTS: Final[Mapping[str, Callable[[], str]]] = {
    "THUMBNAILS_MAX_WORKERS": lambda: str(_cores()),
    "THUMBNAILS_MIN_WORKERS": lambda: "1",
    "THUMBNAILS_LINGER_SECONDS": lambda: "300",
    # A bound, not a reservation: large pictures with an alpha channel need it.
    "THUMBNAILS_WORKER_MEMORY_MIB": lambda: "2048",
    "THUMBNAILS_LOG_FORMAT": lambda: "text",
    "THUMBNAILS_API_SHUTDOWN_SECONDS": lambda: "3",  # Ctrl-C shall end all within ten
}

# The signing secret of Standard Webhooks: this prefix, and 24 to 64 bytes in base64.
WEBHOOK_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of all of them
_WEBHOOK_SECRET_BYTES: Final = range(24, 65)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What concerns the launcher; `environment` is what its children get, defaults filled in."""

    port: int
    host: str | None
    """The IP address to listen on; None: loopback, IPv4 and IPv6."""
    login: bool
    """Whether API keys are asked for."""
    data: Path
    log: LogSettings
    environment: Mapping[str, str]

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `PORT` and `THUMBNAILS_*`; the settings of API and operator are checked as well.

        Raises StartError with one line that names the variable.
        """
        children = {**env}
        for variable, default in _DEFAULTS.items():
            if not children.get(variable, "").strip():
                children[variable] = default()
        if ca_file := children.get("THUMBNAILS_S3_CA_FILE", "").strip():
            children["THUMBNAILS_S3_CA_FILE"] = str(Path(ca_file).absolute())  # workers run elsewhere
        _checked(ApiSettings.from_environment, children)
        _checked(LinkSigner.from_environment, children)
        _checked(OperatorSettings.from_environment, children)
        if children.get("THUMBNAILS_S3_ENDPOINT", "").strip():
            _checked(S3Settings.from_environment, children)
        if secret := env.get("THUMBNAILS_WEBHOOK_SECRET", "").strip():
            check_webhook_secret(secret)
        host, login = _checked(_listening, env)
        return cls(
            port=_port(env.get("PORT", "").strip() or "3000"),
            host=host,
            login=login,
            data=Path(env.get("THUMBNAILS_DATA", "").strip() or ".data").absolute(),
            log=_checked(LogSettings.from_environment, children),
            environment=children,
        )


def check_webhook_secret(secret: str) -> None:
    """Raise StartError unless this is a secret in the form of Standard Webhooks; never repeats it."""
    try:
        key = base64.b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(WEBHOOK_SECRET_PREFIX) or len(key) not in _WEBHOOK_SECRET_BYTES:
        raise StartError("THUMBNAILS_WEBHOOK_SECRET: must be whsec_ followed by 24 to 64 bytes in base64")


def _listening(env: Mapping[str, str]) -> tuple[str | None, bool]:
    """Where, and whether with a login. Raises InvalidSetting for an open door without one."""
    read = Environment(env)
    login = read.choice("THUMBNAILS_LOGIN", "off", ("off", "on")) == "on"
    host: str | None = read.value("THUMBNAILS_HOST", None, read_host)
    if host is not None and not login and not ipaddress.ip_address(host).is_loopback:
        raise InvalidSetting(
            f"THUMBNAILS_HOST: must be a loopback address, not {host}, unless THUMBNAILS_LOGIN is on"
        )
    return host, login


def _checked(read: Callable[[Mapping[str, str]], T], env: Mapping[str, str]) -> T:
    try:
        return read(env)
    except ValueError as error:
        raise StartError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > _MAX_PORT:
        raise StartError(f"PORT: must be a number from 0 to {_MAX_PORT}, not {text[:20]!r}")
    return int(text)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
