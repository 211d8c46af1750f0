"""`thumbnails-api accounts erase`: has the service erase an account, for administrators and their scripts.

Through REST, as the account itself would do it, so that it works the same with and without Kubernetes and
needs no key of the object store. Where there is a login, with a key of the account that is made for this and
revoked at the end: whoever may make keys may do this.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import urllib3

from .keys import ApiKey, digest_of, issue, new_key, parse_entries, revoke
from .keys_store import KeyStore

# Every replica knows a new key after a few seconds; failed logins of an address are few a minute.
_LOGIN_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 1.0
_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=30.0)
_OK, _ACCEPTED, _UNAUTHORIZED = 200, 202, 401
_KEY_NAME: Final = "erasure of the account"


class EraseFailed(Exception):
    """What the administrator is told, in one line."""


@dataclass(frozen=True, slots=True)
class EraseAccount:
    """`run` is all there is to it. `open_store` opens where keys are, if one is needed."""

    url: str
    open_store: Callable[[], KeyStore]
    service_namespace: str
    messages: TextIO
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, account: str, *, namespace: str | None, revoke_keys: bool, wait: bool) -> None:
        """Erase, and return when it is done (or has begun). Raises EraseFailed, ApiKeyError."""
        path = f"/accounts/{account}/erasure"
        status, _ = self._request("GET", path, {})
        if status == _UNAUTHORIZED:
            with self._login(account, namespace) as headers:
                self._erase(account, headers, wait=wait)
            if revoke_keys:
                self._revoke(account, namespace)
        else:
            self._erase(account, {}, wait=wait)

    def _erase(self, account: str, headers: Mapping[str, str], *, wait: bool) -> None:
        erasure = self._call("DELETE", f"/accounts/{account}", headers, _ACCEPTED)
        self._say(f"the account {account} is being erased")
        asked = erasure["id"]
        while wait and erasure["status"] != "done":
            self.sleep(_POLL_SECONDS)
            erasure = self._call("GET", f"/accounts/{account}/erasure", headers, _OK)
            if erasure["id"] != asked:
                raise EraseFailed("somebody else has asked for another erasure meanwhile; that one runs now")
        if wait:
            self._say(f"it is erased: {erasure['jobs']} jobs, {erasure['objects']} objects")

    @contextmanager
    def _login(self, account: str, namespace: str | None) -> Iterator[Mapping[str, str]]:
        store = self.open_store()
        key_id, key = new_key(secrets.choice)
        record = ApiKey(key_id, account, digest_of(key), namespace, _KEY_NAME, created_at=self.now())
        store.update(lambda keys: issue(record, keys.values(), service_namespace=self.service_namespace))
        try:
            yield {"Authorization": f"Bearer {key}"}
        finally:
            store.update(lambda keys: revoke(key_id, keys, self.now()))

    def _revoke(self, account: str, namespace: str | None) -> None:
        store = self.open_store()
        stored = store.read()
        keys, _ = parse_entries(stored.entries if stored else {})
        place = namespace or self.service_namespace
        for key in keys.values():
            is_theirs = (key.namespace or self.service_namespace, key.account) == (place, account)
            if is_theirs and key.revoked_at is None:
                store.update(lambda existing, key_id=key.id: revoke(key_id, existing, self.now()))  # type: ignore[misc]
                self._say(f"the key {key.id} is revoked")

    def _call(self, method: str, path: str, headers: Mapping[str, str], wanted: int) -> dict[str, Any]:
        """The answer's document. A key that a replica does not know yet is shown again for a while."""
        deadline = self.monotonic() + _LOGIN_SECONDS
        while True:
            status, document = self._request(method, path, headers)
            if status == wanted:
                return document
            if status != _UNAUTHORIZED or not headers or self.monotonic() >= deadline:
                raise EraseFailed(
                    f"the service answers {status}: {document.get('title', 'no problem document')}"
                )
            self.sleep(_POLL_SECONDS)

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        try:
            answer = self.http.request(
                method, f"{self.url.rstrip('/')}{path}", headers=headers, timeout=_TIMEOUT
            )
            document = json.loads(answer.data or b"{}")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise EraseFailed(f"the service cannot be reached ({type(error).__name__})") from None
        except ValueError:
            raise EraseFailed("what answers at this address is not the service") from None
        if not isinstance(document, dict):
            raise EraseFailed("what answers at this address is not the service")
        return answer.status, document

    def _say(self, text: str) -> None:
        print(text, file=self.messages)
