"""What is deployed into the cluster for it to be one: DNS, a storage class, and rights for its own parts."""

from typing import Any

from hack.cluster import network, volumes
from hack.cluster.components import COREDNS_IMAGE

Document = dict[str, Any]

_DNS_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = f""".:53 {{
    errors
    health {{
        lameduck 1s
    }}
    ready
    kubernetes {network.DNS_DOMAIN} in-addr.arpa {{
        ttl 5
    }}
    cache 5
    loadbalance
}}
"""


# Where objects of a kind are created.
_PATHS = {
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/kube-system/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/kube-system/deployments",
    "Service": "/api/v1/namespaces/kube-system/services",
}


def requests() -> list[tuple[str, Document]]:
    """What to POST, and where, in this order."""
    return [(_PATHS[document["kind"]], document) for document in manifests()]


def manifests() -> list[Document]:
    """All objects, each before those that need it."""
    return [
        volumes.storage_class(),
        *_rights(
            "thumbnails:network-policy",
            [
                _rule("", ["pods", "namespaces"], ["get", "list", "watch"]),
                _rule("networking.k8s.io", ["networkpolicies"], ["get", "list", "watch"]),
            ],
            _user("thumbnails:network-policy"),
        ),
        *_rights(
            "thumbnails:volumes",
            [
                _rule("", ["persistentvolumeclaims"], ["get", "list", "watch"]),
                _rule("", ["persistentvolumes"], ["get", "list", "watch", "create", "delete"]),
            ],
            _user("thumbnails:volumes"),
        ),
        *_rights(
            "thumbnails:coredns",
            [
                _rule("", ["services", "pods", "namespaces"], ["list", "watch"]),
                _rule("discovery.k8s.io", ["endpointslices"], ["list", "watch"]),
            ],
            {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"},
        ),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("coredns")},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("coredns"),
            "data": {"Corefile": _COREFILE},
        },
        _dns_deployment(),
        _dns_service(),
    ]


def _meta(name: str) -> Document:
    return {"name": name, "namespace": "kube-system", "labels": _DNS_LABELS}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Document:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _user(name: str) -> Document:
    return {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def _rights(name: str, rules: list[Document], subject: Document) -> list[Document]:
    version = "rbac.authorization.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    return [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def _dns_deployment() -> Document:
    def probe(path: str, port: int, **timing: int) -> Document:
        return {"httpGet": {"path": path, "port": port}, **timing}

    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta("coredns"),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _DNS_LABELS},
            "template": {
                "metadata": {"labels": _DNS_LABELS},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",
                    "terminationGracePeriodSeconds": 5,
                    "containers": [
                        {
                            "name": "coredns",
                            "image": COREDNS_IMAGE,
                            "imagePullPolicy": "IfNotPresent",
                            "args": ["-conf", "/etc/coredns/Corefile"],
                            "ports": [
                                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                                {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                            ],
                            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                            "readinessProbe": probe("/ready", 8181, periodSeconds=1),
                            "livenessProbe": probe("/health", 8080, periodSeconds=10, failureThreshold=6),
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                            },
                            "volumeMounts": [
                                {"name": "config", "mountPath": "/etc/coredns", "readOnly": True}
                            ],
                        }
                    ],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    }


def _dns_service() -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        # The name by which charts and network policies know a cluster's DNS.
        "metadata": _meta("kube-dns"),
        "spec": {
            "selector": _DNS_LABELS,
            "clusterIP": network.DNS_ADDRESS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    }
