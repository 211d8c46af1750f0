"""What a worker is told by its environment, read once in `__main__`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from thumbnails_contract.environment import Environment, InvalidSetting
from thumbnails_contract.logs import LogSettings

MIB: Final = 1 << 20
# For the supervisor, the nursery, and originals and thumbnails that wait: all that is not a renderer.
RESERVE_MIB: Final = 128
_LEAST_RENDERER_MIB: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside."""

    exchange_url: str
    exchange_token_file: str | None = None
    renderers: int = 1
    memory_bytes: int = 512 * MIB
    operator_lost_seconds: float = 90.0
    deadline_seconds: float | None = None
    log: LogSettings = field(default_factory=LogSettings)
    s3_ca_file: str | None = None  # verifies the object store in place of the system's CAs

    @property
    def renderer_bytes(self) -> int:
        """What one renderer may allocate."""
        return (self.memory_bytes - RESERVE_MIB * MIB) // self.renderers

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Read `THUMBNAILS_*`. Raises InvalidSetting."""
        read = Environment(env)
        url = read.text("THUMBNAILS_EXCHANGE_URL", "")
        if not url.startswith(("http://", "https://")):
            raise InvalidSetting("THUMBNAILS_EXCHANGE_URL: must be the http(s) address of the exchange")
        renderers = read.integer("THUMBNAILS_WORKER_RENDERERS", 1, least=1)
        least_mib = RESERVE_MIB + _LEAST_RENDERER_MIB * renderers
        memory_mib = read.integer("THUMBNAILS_WORKER_MEMORY_MIB", 512)
        if memory_mib < least_mib:
            raise InvalidSetting(
                f"THUMBNAILS_WORKER_MEMORY_MIB: must be at least {least_mib} for {renderers} renderer(s)"
            )
        return cls(
            exchange_url=url.rstrip("/"),
            exchange_token_file=read.text("THUMBNAILS_EXCHANGE_TOKEN_FILE", "") or None,
            renderers=renderers,
            memory_bytes=memory_mib * MIB,
            operator_lost_seconds=read.number("THUMBNAILS_OPERATOR_LOST_SECONDS", 90, least=1),
            deadline_seconds=read.number("THUMBNAILS_WORKER_DEADLINE_SECONDS", 0) or None,
            s3_ca_file=read.text("THUMBNAILS_S3_CA_FILE", "") or None,
            log=LogSettings.from_environment(env),
        )
