"""Finds the API server for whoever talks to it: the pod's own service account, or a kubeconfig file."""

import os
from collections.abc import Mapping

from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from thumbnails_contract.environment import InvalidSetting

_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


def load_client(
    connections: int, *, component: str = "thumbnails", env: Mapping[str, str] = os.environ
) -> ApiClient:
    """A client with room for as many open connections as there are threads and watches.

    `KUBECONFIG` wins where it is set; else a pod uses its service account (the token is read again as
    it is renewed), and everybody else the default kubeconfig file. `component` is how audit logs and
    managedFields call us. Raises InvalidSetting when there is no usable configuration.
    """
    configuration = Configuration()
    path = env.get("KUBECONFIG", "").strip()
    try:
        if not path and env.get(_IN_CLUSTER):
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(path or None, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, ValueError) as error:
        raise InvalidSetting(
            f"KUBECONFIG: there is no usable configuration of a cluster ({type(error).__name__})"
        ) from None
    configuration.connection_pool_maxsize = connections
    configuration.keep_alive = True  # of TCP: a peer that vanished is noticed
    client = ApiClient(configuration)
    client.user_agent = component
    return client
