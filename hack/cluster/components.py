"""How each component is started: its arguments and configuration files, as plain values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import network
from hack.cluster.layout import Layout

PAUSE_IMAGE = "localhost/thumbnails-cluster/pause:1"
COREDNS_IMAGE = "localhost/thumbnails-cluster/coredns:1"
CGROUP = "thumbnails-cluster"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_PROGRAMS = "/usr/lib/cni"


@dataclass(frozen=True, slots=True)
class Component:
    """A program that runs for as long as the node does; those that need the API server wait for it."""

    name: str
    command: tuple[str, ...]
    needs_api: bool = False


def components(layout: Layout, programs: Path, python: str) -> tuple[Component, ...]:
    """All of them, in the order in which they are started."""
    pki = layout.pki
    config = layout.config

    def program(name: str, *arguments: str) -> tuple[str, ...]:
        return (str(programs / name), *arguments)

    agent = str(Path(__file__).resolve().parent)
    return (
        Component(
            "etcd",
            program(
                "etcd",
                f"--data-dir={layout.etcd}",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                # A power cut may lose what was written last: this is a cluster for tests.
                "--unsafe-no-fsync=true",
                "--log-level=warn",
            ),
        ),
        Component("containerd", program("containerd", f"--config={config / 'containerd.toml'}")),
        Component(
            "kube-apiserver",
            program(
                "kube-apiserver",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--advertise-address={network.NODE_ADDRESS}",
                f"--secure-port={network.API_PORT}",
                f"--service-cluster-ip-range={network.SERVICE_RANGE}",
                "--allow-privileged=true",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                f"--service-account-issuer=https://kubernetes.default.svc.{network.DNS_DOMAIN}",
                f"--service-account-key-file={pki / 'service-accounts.pub'}",
                f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
                f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
                f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
                f"--kubelet-certificate-authority={pki / 'ca.crt'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--audit-policy-file={config / 'audit-policy.json'}",
                f"--audit-log-path={layout.logs / 'audit.log'}",
                "--profiling=false",
            ),
        ),
        Component(
            "kube-controller-manager",
            program(
                "kube-controller-manager",
                f"--kubeconfig={config / 'kube-controller-manager.kubeconfig'}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--root-ca-file={pki / 'ca.crt'}",
                f"--service-account-private-key-file={pki / 'service-accounts.key'}",
                f"--cluster-signing-cert-file={pki / 'ca.crt'}",
                f"--cluster-signing-key-file={pki / 'ca.key'}",
                "--bind-address=127.0.0.1",
                "--kube-api-qps=300",
                "--kube-api-burst=600",
                "--concurrent-job-syncs=20",
                "--profiling=false",
            ),
            needs_api=True,
        ),
        Component(
            "kube-scheduler",
            program(
                "kube-scheduler",
                f"--kubeconfig={config / 'kube-scheduler.kubeconfig'}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                "--profiling=false",
            ),
            needs_api=True,
        ),
        Component(
            "kubelet",
            program(
                "kubelet",
                f"--config={config / 'kubelet.json'}",
                f"--kubeconfig={config / 'kubelet.kubeconfig'}",
                f"--hostname-override={network.NODE_NAME}",
                f"--node-ip={network.NODE_ADDRESS}",
                f"--root-dir={layout.kubelet}",
            ),
            needs_api=True,
        ),
        Component(
            "kube-proxy", program("kube-proxy", f"--config={config / 'kube-proxy.json'}"), needs_api=True
        ),
        Component("network-policy", (python, agent, "agent", "network-policy"), needs_api=True),
        Component("volumes", (python, agent, "agent", "volumes"), needs_api=True),
    )


def configuration_files(layout: Layout) -> Mapping[Path, str]:
    """Path and content of every file that the components read, certificates aside."""
    config = layout.config
    files = {
        config / "containerd.toml": containerd_toml(layout),
        config / "images-only.toml": containerd_toml(layout, with_pods=False),
        config / "cni" / "10-bridge.conflist": _json(cni_network()),
        config / "audit-policy.json": _json(audit_policy()),
        config / "kubelet.json": _json(kubelet(layout)),
        config / "kube-proxy.json": _json(kube_proxy(layout)),
        # Names outside of the cluster are nobody's business here: there is no way out to them.
        config / "resolv.conf": "",
        layout.kubeconfig: _json(kubeconfig(layout, "admin")),
    }
    for user in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
        files[config / f"{user}.kubeconfig"] = _json(kubeconfig(layout, user))
    return files


def kubeconfig(layout: Layout, user: str) -> dict[str, Any]:
    """Names the certificates by path: they are made anew with every cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "thumbnails",
        "clusters": [
            {
                "name": "thumbnails",
                "cluster": {
                    "server": network.API_SERVER,
                    "certificate-authority": str(layout.pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate": str(layout.pki / f"{user}.crt"),
                    "client-key": str(layout.pki / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": "thumbnails", "context": {"cluster": "thumbnails", "user": user}}],
    }


def kubelet(layout: Layout) -> dict[str, Any]:
    """https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.pki / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(layout.pki / "kubelet-serving.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [network.DNS_ADDRESS],
        "clusterDomain": network.DNS_DOMAIN,
        "resolvConf": str(layout.config / "resolv.conf"),
        "podLogsDir": "/var/log/pods",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # Where root lacks CAP_SYS_RESOURCE, neither can be raised.
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "maxPods": 250,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        # The machine's disk is not the cluster's to judge: nothing is evicted or collected because of it.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    }


def kube_proxy(layout: Layout) -> dict[str, Any]:
    """https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.config / "kube-proxy.kubeconfig")},
        "hostnameOverride": network.NODE_NAME,
        "mode": "nftables",
        "clusterCIDR": network.POD_RANGE,
        "oomScoreAdj": 0,
        # nf_conntrack_max cannot be written in a network namespace.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def cni_network() -> dict[str, Any]:
    """One bridge with all pods on it; addresses are handed out from a file below /run."""
    return {
        "cniVersion": "1.0.0",
        "name": "thumbnails",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": network.POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni",
                },
            }
        ],
    }


def audit_policy() -> dict[str, Any]:
    """Requests without their content: every write, which benchmarks count, and all that workloads ask for.

    What they are allowed is compared with what they use by the end-to-end tests of rights.
    """
    system = "system:serviceaccounts:kube-system"
    leases = [{"group": "coordination.k8s.io", "resources": ["leases"]}]
    reviews = [{"group": "authentication.k8s.io"}, {"group": "authorization.k8s.io"}]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": [system], "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": [system], "resources": leases + reviews},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None", "resources": leases + reviews},
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "None"},
        ],
    }


def containerd_toml(layout: Layout, *, with_pods: bool = True) -> str:
    """The configuration of containerd; without pods it keeps images, and no more."""
    cri = "io.containerd.cri.v1"
    disabled = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
    if not with_pods:
        disabled += ["io.containerd.grpc.v1.cri", f"{cri}.images", f"{cri}.runtime"]
    return f"""version = 3
root = {json.dumps(str(layout.containerd))}
state = "/run/containerd"
oom_score = 0
disabled_plugins = {json.dumps(disabled)}

[grpc]
address = {json.dumps(CONTAINERD_SOCKET)}
""" + (
        f"""
[plugins.'{cri}.images']
snapshotter = "overlayfs"
[plugins.'{cri}.images'.pinned_images]
sandbox = {json.dumps(PAUSE_IMAGE)}

[plugins.'{cri}.runtime']
# Where root lacks CAP_SYS_RESOURCE, lowering an oom score fails, and with it every sandbox.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
[plugins.'{cri}.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'{cri}.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'{cri}.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins.'{cri}.runtime'.cni]
bin_dirs = [{json.dumps(CNI_PROGRAMS)}]
conf_dir = {json.dumps(str(layout.config / "cni"))}
"""
        if with_pods
        else ""
    )


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"
