"""Keeps the valid API keys in memory, for the authenticator: read at the start, and again when they change.

A key that was made or revoked counts within `refresh_seconds` in every replica. While the store is away
the last known keys stay in force: a control plane in trouble must not lock everybody out.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Final

from .accounts import Access, Caller, Credential
from .keys import ApiKey, parse_entries
from .keys_store import KeyStore, KeyStoreUnavailable

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 2.0


class KeyWatch:
    """The `Credentials` of a store. `service_namespace` is for keys that name none."""

    def __init__(
        self, store: KeyStore, *, service_namespace: str, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        self._store = store
        self._service_namespace = service_namespace
        self._refresh_seconds = refresh_seconds
        self._by_id: Mapping[str, Credential] | None = None
        self._version: str | None = None
        self._is_away = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def by_id(self) -> Mapping[str, Credential] | None:
        """Valid keys by id; None until they were read once."""
        return self._by_id

    def start(self) -> None:
        """Read the keys once, then follow them in a thread of its own."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="api-keys", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """End soon."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def refresh(self) -> None:
        """Read the keys now, if they have changed. What goes wrong is logged."""
        try:
            stored = self._store.read(self._version)
        except KeyStoreUnavailable as error:
            self._tell_away(str(error))
            return
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a store does
            # Its text, or its traceback, could hold what was read.
            self._tell_away(f"unexpected {type(error).__name__}")
            return
        if self._is_away:
            self._is_away = False
            log.info("the API keys can be read again")
        if stored is None:
            return
        keys, troubles = parse_entries(stored.entries)
        for trouble in troubles:
            log.warning("an API key is left out: %s", trouble)
        self._by_id = {key.id: self._credential(key) for key in keys.values() if key.revoked_at is None}
        self._version = stored.version
        log.info("%d API keys are valid", len(self._by_id))

    def _credential(self, key: ApiKey) -> Credential:
        caller = Caller(key.namespace or self._service_namespace, key.account)
        return Credential(key.digest, Access(caller, key.scopes))

    def _tell_away(self, what: str) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("the API keys cannot be read: %s", what)

    def _follow(self) -> None:
        while not self._stopping.wait(self._refresh_seconds):
            self.refresh()
