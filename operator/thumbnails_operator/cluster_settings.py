"""What the operator has to know when it runs in a cluster: where, as which pod, and for which namespaces."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from thumbnails_common.namespaces import parse_namespace, read_home_namespace, read_namespaces
from thumbnails_contract.environment import Environment, shown
from thumbnails_contract.names import DEFAULT_NAMESPACE, is_job_name


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Settings of the cluster's frame around the controller."""

    # None: those of the whole cluster. It then needs its rights by a ClusterRoleBinding.
    namespaces: tuple[str, ...] | None = (DEFAULT_NAMESPACE,)

    pod_name: str = ""  # "" outside a pod: then nothing is labelled
    pod_namespace: str = DEFAULT_NAMESPACE
    identity: str = "operator"  # of this process, in the Lease

    lease_name: str = "thumbnails-operator"
    lease_duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet asks from outside the pod
    probe_port: int = 8080

    relist_seconds: float = 300.0

    @classmethod
    def from_environment(cls, env: Mapping[str, str], *, process_id: str = "") -> Self:
        """From `THUMBNAILS_*`; `process_id` tells apart two processes of one pod. Raises InvalidSetting."""
        read, defaults = Environment(env), cls()
        pod_name = read.value("THUMBNAILS_POD_NAME", "", _name)
        return cls(
            namespaces=read_namespaces(read),
            pod_name=pod_name,
            pod_namespace=read.value("THUMBNAILS_POD_NAMESPACE", read_home_namespace(read), parse_namespace),
            identity=f"{pod_name or 'operator'}_{process_id or uuid.uuid4()}",
            lease_name=read.value("THUMBNAILS_LEASE_NAME", defaults.lease_name, _name),
            probe_port=read.integer("THUMBNAILS_PROBE_PORT", defaults.probe_port, most=65_535),
            relist_seconds=read.number("THUMBNAILS_RELIST_SECONDS", defaults.relist_seconds, least=1),
        )


def _name(text: str) -> str:
    if not is_job_name(text):
        raise ValueError(f"must be the name of an object, not {shown(text)}")
    return text
