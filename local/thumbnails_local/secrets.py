"""The SigningSecrets port on one machine: one secret, from the environment or made once."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from thumbnails_contract.errors import InvalidJob

from .credentials import load_or_create
from .settings import WEBHOOK_SECRET_PREFIX, check_webhook_secret


class LocalSigningSecrets:
    """The same secret for all, since all accounts of this machine are one person's."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    @classmethod
    def load(cls, env: Mapping[str, str], path: Path) -> Self:
        """`THUMBNAILS_WEBHOOK_SECRET`, or what is in the file at `path`, made if it is not there.

        Raises StartError when it has another form, or OSError.
        """
        secret = env.get("THUMBNAILS_WEBHOOK_SECRET", "").strip() or load_or_create(path, _new_secret).strip()
        check_webhook_secret(secret)
        return cls(secret)

    async def get(self, namespace: str, account: str, secret_name: str | None) -> str:  # noqa: ARG002 - the port
        """The secret. Raises InvalidJob for a named one: there are no Secrets here."""
        if secret_name is not None:
            raise InvalidJob("spec.webhook.secretRef names a Secret, and there are none without Kubernetes.")
        return self._secret


def _new_secret() -> str:
    return f"{WEBHOOK_SECRET_PREFIX}{base64.b64encode(os.urandom(32)).decode()}\n"
