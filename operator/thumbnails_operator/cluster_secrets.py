"""The SigningSecrets port in a cluster: Secrets of type thumbnails.dev/webhook, one for each account.

A job may name one of its namespace. Without that it is the account's own, `thumbnails-webhook-ACCOUNT`,
which is made when it is missing. Nobody signs with the secret of another account.
"""

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from thumbnails_contract.errors import InvalidJob, Unavailable
from thumbnails_contract.names import ACCOUNT_LABEL, WEBHOOK_SECRET_TYPE

from .cluster_api import ApiError, ClusterApi, secrets_path

logger = logging.getLogger(__name__)

ENTRY: Final = "secret"
PREFIX: Final = "thumbnails-webhook-"
SECRET_BYTES: Final = 32
# A secret that was changed signs after so long.
CACHE_SECONDS: Final = 30.0
MAX_CACHED: Final = 4096
_THERE_ALREADY: Final = 409


class ClusterSigningSecrets:
    """See the module's text. `new_bytes(n)` gives n random bytes."""

    def __init__(
        self,
        api: ClusterApi,
        run_blocking: Callable[..., Awaitable[Any]],
        *,
        new_bytes: Callable[[int], bytes],
        monotonic: Callable[[], float],
    ) -> None:
        self._api = api
        self._run_blocking = run_blocking
        self._new_bytes = new_bytes
        self._monotonic = monotonic
        self._cache: dict[tuple[str, str, str | None], tuple[float, str]] = {}

    async def get(self, namespace: str, account: str, secret_name: str | None) -> str:
        """The secret to sign with. Raises InvalidJob for a named one that cannot be used; Unavailable."""
        key, now = (namespace, account, secret_name), self._monotonic()
        known = self._cache.get(key)
        if known is not None and now - known[0] < CACHE_SECONDS:
            return known[1]
        secret: str = await self._run_blocking(self._fetch, namespace, account, secret_name)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (now, secret)
        return secret

    def _fetch(self, namespace: str, account: str, secret_name: str | None) -> str:
        own = own_name(account)
        name = secret_name or own
        if name.startswith(PREFIX) and name != own:
            raise InvalidJob("spec.webhook.secretRef names the secret of another account.")
        try:
            document = self._api.find(secrets_path(namespace, name))
            if document is None and secret_name is None:
                document = self._make(namespace, account, name)
        except ApiError as error:
            logger.warning("Secret %s/%s cannot be had: %s", namespace, name, error.message)
            raise Unavailable from error
        if document is None:
            raise InvalidJob("spec.webhook.secretRef names a Secret that is not there.")
        return _content(document, account)

    def _make(self, namespace: str, account: str, name: str) -> dict[str, Any] | None:
        """Make the account's own; another operator may be faster, and then it is that one's."""
        secret = f"whsec_{base64.b64encode(self._new_bytes(SECRET_BYTES)).decode()}"
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": WEBHOOK_SECRET_TYPE,
            "metadata": {"name": name, "namespace": namespace, "labels": {ACCOUNT_LABEL: account}},
            "data": {ENTRY: base64.b64encode(secret.encode()).decode()},
        }
        try:
            document = self._api.create(secrets_path(namespace), manifest)
        except ApiError as error:
            if error.status != _THERE_ALREADY:
                raise
            return self._api.find(secrets_path(namespace, name))
        logger.info("Secret %s/%s was made, to sign the webhooks of account %s", namespace, name, account)
        return document


def own_name(account: str) -> str:
    """The name of an account's Secret."""
    return f"{PREFIX}{account}"


def _content(document: dict[str, Any], account: str) -> str:
    if document.get("type") != WEBHOOK_SECRET_TYPE:
        raise InvalidJob(f"The Secret that signs webhooks must be of type {WEBHOOK_SECRET_TYPE}.")
    if (document["metadata"].get("labels") or {}).get(ACCOUNT_LABEL, account) != account:
        raise InvalidJob("spec.webhook.secretRef names the secret of another account.")
    try:
        return base64.b64decode((document.get("data") or {})[ENTRY], validate=True).decode().strip()
    except (KeyError, binascii.Error, UnicodeDecodeError):
        raise InvalidJob(f"The Secret that signs webhooks must have an entry `{ENTRY}`.") from None
