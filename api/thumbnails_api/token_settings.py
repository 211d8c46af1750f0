"""Whether Kubernetes tokens are taken, and for which account, read from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from thumbnails_contract.environment import Environment, shown
from thumbnails_contract.names import DEFAULT_ACCOUNT, is_label_name


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """`audience` None: no tokens are taken."""

    audience: str | None = None
    account: str = DEFAULT_ACCOUNT
    """The account, in its own namespace, that a service account acts for."""

    cache_seconds: float = 30.0
    """How long what the API server said is believed: a revoked right may count so much longer."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From the environment. Raises InvalidSetting."""
        read, defaults = Environment(env), cls()
        return cls(
            audience=read.value("THUMBNAILS_API_TOKEN_AUDIENCE", defaults.audience, str),
            account=read.value("THUMBNAILS_API_TOKEN_ACCOUNT", defaults.account, _account),
            cache_seconds=read.number("THUMBNAILS_API_TOKEN_CACHE_SECONDS", defaults.cache_seconds, most=60),
        )


def _account(text: str) -> str:
    if not is_label_name(text):
        raise ValueError(f"must be the name of an account, not {shown(text)}")
    return text
