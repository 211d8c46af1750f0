"""What the API has to know when it runs by itself: where it listens, for which namespaces, how it ends."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from thumbnails_common.namespaces import read_namespaces
from thumbnails_contract.environment import Environment, InvalidSetting, shown
from thumbnails_contract.names import DEFAULT_NAMESPACE

_LOCALHOST: Final = "127.0.0.1"
_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of the process around the app. A port of 0 is any free one."""

    host: str = _LOCALHOST
    port: int = 3000
    probe_port: int = 8080
    drain_seconds: float = 5.0
    """After SIGTERM: requests still come until every node has heard that this replica is not ready."""

    namespaces: tuple[str, ...] | None = (DEFAULT_NAMESPACE,)
    """Whose jobs are listed; None: those of the whole cluster."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str], *, requires_login: bool) -> Self:
        """From `PORT` and `THUMBNAILS_*`. Raises InvalidSetting, also for an open door without a login."""
        read, defaults = Environment(env), cls()
        host = read.value("THUMBNAILS_HOST", defaults.host, read_host)
        if not requires_login and not ipaddress.ip_address(host).is_loopback:
            raise InvalidSetting(
                f"THUMBNAILS_HOST: must be a loopback address, not {shown(host)}, unless there is a login "
                "(THUMBNAILS_API_KEYS_SECRET, THUMBNAILS_API_KEYS_DIR or THUMBNAILS_API_TOKEN_AUDIENCE)"
            )
        return cls(
            host=host,
            port=read.integer("PORT", defaults.port, most=_MAX_PORT),
            probe_port=read.integer("THUMBNAILS_PROBE_PORT", defaults.probe_port, most=_MAX_PORT),
            drain_seconds=read.number("THUMBNAILS_DRAIN_SECONDS", defaults.drain_seconds, most=300),
            namespaces=read_namespaces(read),
        )


def read_host(text: str) -> str:
    """An IP address from its text, or `localhost`. Raises ValueError."""
    if text == "localhost":
        return _LOCALHOST
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"must be an IP address, not {shown(text)}") from None
