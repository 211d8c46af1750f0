"""Which volumes are made for claims, and which are removed."""

from pathlib import Path
from typing import Any

from hack.cluster.volumes import plan

FOLDER = Path("/volumes")


def claim(*, scheduled: bool = True, storage_class: str = "standard", **spec: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": "thumbnails"} if scheduled else {}
    return {
        "metadata": {"namespace": "shop", "name": "data", "uid": "1234", "annotations": annotations},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def volume(phase: str, *, provisioner: str = "thumbnails.dev/folder") -> dict[str, Any]:
    return {
        "metadata": {"name": "pvc-1234", "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": {"persistentVolumeReclaimPolicy": "Delete"},
        "status": {"phase": phase},
    }


def test_a_claim_of_a_scheduled_pod_gets_a_folder() -> None:
    (made,) = plan([claim()], [], FOLDER).create
    assert made["metadata"]["name"] == "pvc-1234"
    assert made["spec"]["local"] == {"path": "/volumes/pvc-1234"}
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
    assert made["spec"]["claimRef"]["uid"] == "1234"


def test_nothing_is_made_before_the_pod_is_scheduled() -> None:
    assert plan([claim(scheduled=False)], [], FOLDER).create == ()


def test_claims_of_other_classes_are_left_alone() -> None:
    assert plan([claim(storage_class="fast")], [], FOLDER).create == ()


def test_a_claim_is_served_once() -> None:
    assert plan([claim()], [volume("Available")], FOLDER).create == ()
    assert plan([claim(volumeName="pvc-1234")], [], FOLDER).create == ()


def test_a_volume_whose_claim_is_gone_is_removed() -> None:
    assert plan([], [volume("Released")], FOLDER).delete == ("pvc-1234",)


def test_other_volumes_are_kept() -> None:
    assert plan([], [volume("Bound")], FOLDER).delete == ()
    assert plan([], [volume("Released", provisioner="somebody.else")], FOLDER).delete == ()
