"""Decides which PersistentVolumes to make, and which to remove, for claims of the class `standard`.

A volume is a folder of the machine. A claim is served once a pod that uses it was scheduled
(WaitForFirstConsumer), as with any local storage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import network

Document = dict[str, Any]

CLASS = "standard"
PROVISIONER = "thumbnails.dev/folder"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


@dataclass(frozen=True, slots=True)
class Plan:
    """Volumes to create, each with its folder, and names of those to delete with theirs."""

    create: tuple[Document, ...]
    delete: tuple[str, ...]


def storage_class() -> Document:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def plan(claims: Iterable[Document], volumes: Iterable[Document], folder: Path) -> Plan:
    """What is to be done now; nothing for what other provisioners, or people, take care of."""
    mine = {volume["metadata"]["name"]: volume for volume in volumes if _is_mine(volume)}
    create = tuple(
        _volume(claim, folder) for claim in claims if _is_waiting(claim) and _volume_name(claim) not in mine
    )
    delete = tuple(
        name
        for name, volume in mine.items()
        if volume.get("status", {}).get("phase") == "Released"
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    )
    return Plan(create, delete)


def _is_mine(volume: Mapping[str, Any]) -> bool:
    return (volume["metadata"].get("annotations") or {}).get(_PROVISIONED_BY) == PROVISIONER


def _is_waiting(claim: Mapping[str, Any]) -> bool:
    annotations = claim["metadata"].get("annotations") or {}
    return (
        claim["spec"].get("storageClassName") == CLASS
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
        and _SELECTED_NODE in annotations
    )


def _volume_name(claim: Mapping[str, Any]) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _volume(claim: Mapping[str, Any], folder: Path) -> Document:
    meta = claim["metadata"]
    name = _volume_name(claim)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            # Of type `local`, not `hostPath`: the kubelet gives its files to the pod's fsGroup.
            "local": {"path": str(folder / name)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [network.NODE_NAME],
                                }
                            ]
                        }
                    ]
                }
            },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        },
    }
