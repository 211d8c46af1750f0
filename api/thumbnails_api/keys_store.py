"""The port of where API keys are kept, for the authenticator that reads and the CLI that writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .keys import ApiKey, ApiKeyError


class KeyStoreUnavailable(ApiKeyError):
    """The store does not answer, or refuses; the text says what to do and holds no other library's words."""


@dataclass(frozen=True, slots=True)
class StoredEntries:
    """All entries of a moment by name, as they are stored; `version` changes whenever they do."""

    version: str
    entries: Mapping[str, bytes] = field(repr=False)


class KeyStore(Protocol):
    """Entries by key id; see `keys.py` for what is in one. All methods may raise KeyStoreUnavailable."""

    def read(self, known_version: str | None = None) -> StoredEntries | None:
        """What is stored; None when that is still `known_version`. No Secret or directory is no entries."""

    def update(self, decide: Callable[[Mapping[str, ApiKey]], ApiKey]) -> ApiKey:
        """Store the key that `decide` makes of all keys there are; nothing is lost when others write too.

        `decide` may be called again, and what it raises comes through.
        """
