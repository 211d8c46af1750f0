"""Opens the Secret of API keys with an administrator's kubeconfig, or a pod's own token, for the CLI."""

import os
from pathlib import Path
from typing import Final

from kubernetes.client import ApiClient, CoreV1Api
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from .keys_secret import SecretKeyStore
from .keys_store import KeyStoreUnavailable

_KUBECONFIG: Final = "~/.kube/config"


def open_secret(namespace: str, name: str, *, context: str | None = None) -> SecretKeyStore:
    """The store in this Secret. Raises KeyStoreUnavailable when there is no way to a cluster."""
    try:
        # The client has read this variable when it was imported; `load_config` writes to stdout.
        files = os.environ.get("KUBECONFIG") or str(Path(_KUBECONFIG).expanduser())
        if context or os.environ.get("KUBECONFIG") or Path(files).exists():
            load_kube_config(config_file=files, context=context)  # type: ignore[no-untyped-call]
        else:
            load_incluster_config()  # type: ignore[no-untyped-call]
    # A kubeconfig may name anything: a plugin that is missing, files that are none.
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise KeyStoreUnavailable(
            f"there is no usable kubeconfig, and this is no pod ({type(error).__name__})"
        ) from None
    return SecretKeyStore(CoreV1Api(ApiClient()), namespace, name)
