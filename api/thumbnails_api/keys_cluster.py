"""Opens the Secret of API keys with an administrator's kubeconfig, or a pod's own token, for the CLI."""

import os
from pathlib import Path
from typing import Final

from kubernetes.client import ApiClient, CoreV1Api
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from .keys_secret import SecretKeyStore
from .keys_store import KeyStoreUnavailable

_KUBECONFIG: Final = Path("~/.kube/config")


def open_secret(namespace: str, name: str, *, context: str | None = None) -> SecretKeyStore:
    """The store in this Secret. Raises KeyStoreUnavailable when there is no way to a cluster."""
    try:
        if context or os.environ.get("KUBECONFIG") or _KUBECONFIG.expanduser().exists():
            load_kube_config(context=context)  # type: ignore[no-untyped-call]
        else:
            load_incluster_config()  # type: ignore[no-untyped-call]
    # A kubeconfig may name anything: a plugin that is missing, files that are none.
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise KeyStoreUnavailable(
            f"there is no usable kubeconfig, and this is no pod ({type(error).__name__})"
        ) from None
    return SecretKeyStore(CoreV1Api(ApiClient()), namespace, name)
