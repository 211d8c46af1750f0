"""Makes the manifest of a worker's Job from the settings; executors run it as it is.

batch/v1 as of Kubernetes 1.31: `podFailurePolicy` and `podReplacementPolicy` are stable there. The
executor of one machine reads the command and the environment of the one container, so the
environment holds everything that a worker needs; only the path of its token is another there.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from thumbnails_contract.names import WORKER_LABEL

from .settings import OperatorSettings

CONTAINER: Final = "worker"
TOKEN_DIRECTORY: Final = "/var/run/secrets/thumbnails.dev/exchange"  # noqa: S105 - a path
TOKEN_FILE: Final = f"{TOKEN_DIRECTORY}/token"
TOKEN_SECONDS: Final = 3600
# A finished Job that the operator could not delete is deleted by the Job controller after this.
BACKSTOP_SECONDS: Final = 300
TERMINATION_SECONDS: Final = 10
NAME_PREFIX: Final = "thumbnails-worker-"


def worker_name(suffix: str) -> str:
    """The name of a worker's Job; `suffix` is random, lower-case letters and digits."""
    return f"{NAME_PREFIX}{suffix}"


def worker_job(settings: OperatorSettings, namespace: str, name: str) -> dict[str, Any]:
    """The whole manifest."""
    labels = {**settings.worker_labels, "app.kubernetes.io/component": "worker", WORKER_LABEL: name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "completions": 1,
            "parallelism": 1,
            # The operator starts another worker when there is work for one: no pod is worth a retry here.
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": settings.worker_deadline_seconds,
            "ttlSecondsAfterFinished": BACKSTOP_SECONDS,
            "template": {
                "metadata": _template_metadata(settings, labels),
                "spec": {
                    **settings.worker_pod.placement,
                    "restartPolicy": "Never",
                    "serviceAccountName": settings.worker_service_account,
                    # The only token is the one for the exchange, which is worthless elsewhere.
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": TERMINATION_SECONDS,
                    "securityContext": dict(settings.worker_pod.security_context),
                    "containers": [_container(settings)],
                    "volumes": [
                        *_ca_volumes(settings),
                        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                        {
                            "name": "exchange-token",
                            "projected": {
                                "defaultMode": 0o440,
                                "sources": [
                                    {
                                        "serviceAccountToken": {
                                            "audience": settings.token_audience,
                                            "expirationSeconds": TOKEN_SECONDS,
                                            "path": "token",
                                        }
                                    }
                                ],
                            },
                        },
                    ],
                },
            },
        },
    }


def _template_metadata(settings: OperatorSettings, labels: Mapping[str, str]) -> dict[str, Any]:
    annotations = settings.worker_pod.annotations
    return {"labels": labels} | ({"annotations": dict(annotations)} if annotations else {})


def _container(settings: OperatorSettings) -> dict[str, Any]:
    memory = f"{settings.worker_memory_mib}Mi"
    millicores = settings.worker_renderers * settings.worker_cpu_request_millicores
    return {
        "name": CONTAINER,
        "image": settings.worker_image,
        "imagePullPolicy": settings.worker_image_pull_policy,
        "command": ["python", "-m", "thumbnails_worker"],
        "env": [{"name": name, "value": value} for name, value in _environment(settings).items()],
        "resources": {
            # A picture gets a whole CPU when there is one, and a worker that waits keeps none from others.
            # Memory cannot be shared like that: what is requested is what there is.
            "requests": {"cpu": f"{millicores}m", "memory": memory},
            "limits": {"cpu": str(settings.worker_renderers), "memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container, its own
            {"name": "exchange-token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            *(
                {"name": volume["name"], "mountPath": _ca_path(settings).parent.as_posix(), "readOnly": True}
                for volume in _ca_volumes(settings)
            ),
        ],
    }


def _ca_volumes(settings: OperatorSettings) -> list[dict[str, Any]]:
    """The object store's authorities, in the worker's own namespace; none where the file is there already."""
    if settings.worker_s3_ca is None:
        return []
    name, key = settings.worker_s3_ca
    items = [{"key": key, "path": _ca_path(settings).name}]
    return [{"name": "s3-ca", "configMap": {"name": name, "defaultMode": 0o444, "items": items}}]


def _ca_path(settings: OperatorSettings) -> PurePosixPath:
    """Workers have the file where the operator has it."""
    return PurePosixPath(settings.s3_ca_file or "")


def _environment(settings: OperatorSettings) -> dict[str, str]:
    ca_file = {"THUMBNAILS_S3_CA_FILE": settings.s3_ca_file} if settings.s3_ca_file else {}
    return ca_file | {
        "PYTHONSAFEPATH": "1",  # the directory `operator` would hide the standard library's module
        "THUMBNAILS_EXCHANGE_URL": settings.exchange_url,
        "THUMBNAILS_EXCHANGE_TOKEN_FILE": TOKEN_FILE,
        "THUMBNAILS_WORKER_RENDERERS": str(settings.worker_renderers),
        "THUMBNAILS_WORKER_MEMORY_MIB": str(settings.worker_memory_mib),
        "THUMBNAILS_WORKER_DEADLINE_SECONDS": str(settings.worker_deadline_seconds),
        "THUMBNAILS_OPERATOR_LOST_SECONDS": f"{settings.operator_lost_seconds:g}",
        "THUMBNAILS_LOG_LEVEL": settings.log.level,
        "THUMBNAILS_LOG_FORMAT": settings.log.format,
    }
