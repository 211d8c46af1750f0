"""What a worker is told by its environment, read once in `__main__`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

MIB: Final = 1 << 20
# For the supervisor, the nursery, and originals and thumbnails that wait: all that is not a renderer.
RESERVE_MIB: Final = 128
_LEAST_RENDERER_MIB: Final = 64
_LOG_LEVELS: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})


class InvalidSetting(ValueError):
    """A variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside."""

    exchange_url: str
    exchange_token_file: str | None = None
    renderers: int = 1
    memory_bytes: int = 512 * MIB
    operator_lost_seconds: float = 90.0
    deadline_seconds: float | None = None
    log_level: str = "INFO"

    @property
    def renderer_bytes(self) -> int:
        """What one renderer may allocate."""
        return (self.memory_bytes - RESERVE_MIB * MIB) // self.renderers

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Read `THUMBNAILS_*`. Raises InvalidSetting."""
        url = env.get("THUMBNAILS_EXCHANGE_URL", "")
        if not url.startswith(("http://", "https://")):
            raise InvalidSetting("THUMBNAILS_EXCHANGE_URL must be the http(s) address of the exchange")
        renderers = int(_number(env, "THUMBNAILS_WORKER_RENDERERS", 1, at_least=1))
        memory_mib = int(_number(env, "THUMBNAILS_WORKER_MEMORY_MIB", 512, at_least=1))
        least = RESERVE_MIB + _LEAST_RENDERER_MIB * renderers
        if memory_mib < least:
            raise InvalidSetting(
                f"THUMBNAILS_WORKER_MEMORY_MIB must be at least {least} for {renderers} renderer(s)"
            )
        deadline = None
        if env.get("THUMBNAILS_WORKER_DEADLINE_SECONDS"):
            deadline = _number(env, "THUMBNAILS_WORKER_DEADLINE_SECONDS", 0, at_least=1)
        level = env.get("THUMBNAILS_LOG_LEVEL", "INFO").upper()
        if level not in _LOG_LEVELS:
            raise InvalidSetting(f"THUMBNAILS_LOG_LEVEL must be one of {', '.join(sorted(_LOG_LEVELS))}")
        return cls(
            exchange_url=url.rstrip("/"),
            exchange_token_file=env.get("THUMBNAILS_EXCHANGE_TOKEN_FILE") or None,
            renderers=renderers,
            memory_bytes=memory_mib * MIB,
            operator_lost_seconds=_number(env, "THUMBNAILS_OPERATOR_LOST_SECONDS", 90, at_least=1),
            deadline_seconds=deadline,
            log_level=level,
        )


def _number(env: Mapping[str, str], name: str, default: float, *, at_least: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not at_least <= value < float("inf"):
        raise InvalidSetting(f"{name} must be a number of at least {at_least:g}, not {text!r}")
    return value
