"""Which namespaces the service looks after, read from the environment, for API and operator."""

import re
from typing import Final

from thumbnails_contract.environment import Environment, shown
from thumbnails_contract.names import DEFAULT_NAMESPACE, is_label_name

ALL_NAMESPACES: Final = "*"


def read_home_namespace(read: Environment) -> str:
    """`THUMBNAILS_NAMESPACE`: the service's own. Raises InvalidSetting."""
    return read.value("THUMBNAILS_NAMESPACE", DEFAULT_NAMESPACE, parse_namespace)


def read_namespaces(read: Environment) -> tuple[str, ...] | None:
    """`THUMBNAILS_NAMESPACES`: names with commas, `*` for all (None); the service's own when not set."""
    home: tuple[str, ...] | None = (read_home_namespace(read),)
    return read.value("THUMBNAILS_NAMESPACES", home, _namespaces)


def _namespaces(text: str) -> tuple[str, ...] | None:
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if words == [ALL_NAMESPACES]:
        return None
    if not words:
        raise ValueError("must name a namespace")
    return tuple(dict.fromkeys(parse_namespace(word) for word in words))


def parse_namespace(text: str) -> str:
    """The name of a namespace. Raises ValueError."""
    if not is_label_name(text):
        raise ValueError(f"must be the name of a namespace, not {shown(text)}")
    return text
