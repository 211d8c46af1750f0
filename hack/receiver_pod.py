"""Manifests of a pod that takes webhooks (receiver.py), for tests and benchmarks on a cluster."""

from pathlib import Path
from typing import Any, Final

NAME: Final = "receiver"
PORT: Final = 8080
_PROGRAM: Final = Path(__file__).parent / "receiver.py"


def receiver_objects(image: str) -> list[dict[str, Any]]:
    """Manifests of the webhooks' receiver: its program, a pod, and a Service."""
    labels = {"app.kubernetes.io/component": "receiver"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": {"receiver.py": _PROGRAM.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": NAME,
                        "image": image,
                        "command": ["python", "-u", "/program/receiver.py"],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
                    }
                ],
                "volumes": [{"name": "program", "configMap": {"name": NAME}}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            # Ready or not: a busy machine is late for probes, and a refused webhook comes again in minutes.
            "spec": {"selector": labels, "ports": [{"port": PORT}], "publishNotReadyAddresses": True},
        },
    ]
