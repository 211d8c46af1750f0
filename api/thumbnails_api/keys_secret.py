"""Hashes of API keys in one Secret, read and written through the Kubernetes API.

The API needs the verb `get` on this one Secret (`resourceNames`), no list and no watch, and asks for it
every few seconds: a mounted Secret would follow a revocation only after a minute or more. The CLI runs
with an administrator's rights, and needs `get`, `create` and `patch`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import urllib3
from kubernetes.client import ApiException, CoreV1Api

from .keys import ApiKey, parse_entries
from .keys_store import KeyStoreUnavailable, StoredEntries

_NO_SECRET: Final = ""
_TRIES: Final = 10
_TIMEOUT_SECONDS: Final = (3.0, 10.0)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 401, 403, 404, 409
_LABELS: Final = {
    "app.kubernetes.io/name": "thumbnails",
    "app.kubernetes.io/component": "api-keys",
}


class SecretKeyStore:
    """A KeyStore in the Secret `name` of a namespace."""

    def __init__(self, core: CoreV1Api, namespace: str, name: str) -> None:
        self._core = core
        self._namespace = namespace
        self._name = name

    def read(self, known_version: str | None = None) -> StoredEntries | None:
        """See the port. The version is the Secret's resourceVersion."""
        secret = self._get()
        version = _version(secret)
        return None if version == known_version else StoredEntries(version, _entries(secret))

    def update(self, decide: Callable[[Mapping[str, ApiKey]], ApiKey]) -> ApiKey:
        """See the port. A write that raced another one is decided again on what is there then."""
        for _ in range(_TRIES):
            secret = self._get()
            keys, _troubles = parse_entries(_entries(secret))
            key = decide(keys)
            data = {key.id: base64.b64encode(key.to_entry()).decode()}
            if self._put(secret, data):
                return key
        raise KeyStoreUnavailable(f"the Secret {self._name} is changed by others all the time; try again")

    def _get(self) -> Mapping[str, Any] | None:
        """The Secret, or None when there is none."""
        try:
            secret: Mapping[str, Any] = self._call(
                self._core.read_namespaced_secret, self._name, self._namespace
            )
        except ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            raise self._unavailable("read", error) from None
        return secret

    def _put(self, secret: Mapping[str, Any] | None, data: Mapping[str, str]) -> bool:
        """Add the data to the Secret as it was read; False when it is another one by now."""
        try:
            if secret is None:
                manifest = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": self._name, "namespace": self._namespace, "labels": _LABELS},
                    "type": "Opaque",
                    "data": data,
                }
                self._call(self._core.create_namespaced_secret, self._namespace, manifest)
            else:
                version = {"resourceVersion": secret["metadata"]["resourceVersion"]}
                self._call(
                    self._core.patch_namespaced_secret,
                    self._name,
                    self._namespace,
                    {"metadata": version, "data": data},
                    _content_type="application/merge-patch+json",
                )
        except ApiException as error:
            # 404: it was deleted since, or (on create) the namespace is missing.
            if error.status == _CONFLICT or (error.status == _NOT_FOUND and secret is not None):
                return False
            raise self._unavailable("written", error) from None
        return True

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the API; the answer is parsed here, since the client would log it at level DEBUG."""
        try:
            response = method(
                *arguments, _preload_content=False, _request_timeout=_TIMEOUT_SECONDS, **options
            )
            try:
                return json.loads(response.read())
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise KeyStoreUnavailable(
                f"the Kubernetes API does not answer, or not usefully ({type(error).__name__})"
            ) from None

    def _unavailable(self, verb: str, error: ApiException) -> KeyStoreUnavailable:
        what = f"the Secret {self._name} in the namespace {self._namespace} cannot be {verb}"
        why = {
            _UNAUTHORIZED: "the API server does not know us (401)",
            _FORBIDDEN: "that is forbidden to us (403)",
            _NOT_FOUND: "there is no such namespace (404)",
        }
        return KeyStoreUnavailable(
            f"{what}: {why.get(error.status, f'the API server answers {error.status}')}"
        )


def _version(secret: Mapping[str, Any] | None) -> str:
    if secret is None:
        return _NO_SECRET
    metadata = secret["metadata"]
    return f"{metadata['uid']}/{metadata['resourceVersion']}"


def _entries(secret: Mapping[str, Any] | None) -> dict[str, bytes]:
    data = (secret or {}).get("data") or {}
    return {name: _decode(value) for name, value in data.items()}


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error:
        return b""
