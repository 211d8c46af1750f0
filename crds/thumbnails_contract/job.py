"""A ThumbnailJob as one value: metadata, spec and status, from and to its document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from .errors import InvalidJob
from .names import ACCOUNT_LABEL, API_VERSION, BATCH_LABEL, KIND
from .spec import Spec
from .status import Status
from .timestamps import format_time, parse_time


@dataclass(frozen=True, slots=True, order=True)
class JobKey:
    """What names a job: unique while it exists (its `uid` is unique for ever)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ThumbnailJob:
    """One ThumbnailJob as a store holds it."""

    key: JobKey
    uid: str
    resource_version: str
    generation: int
    created: datetime
    spec: Spec
    status: Status
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """From a stored document. Raises InvalidJob for what this version cannot read."""
        try:
            metadata = document["metadata"]
            return cls(
                key=JobKey(metadata["namespace"], metadata["name"]),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                generation=metadata.get("generation", 1),
                created=parse_time(metadata["creationTimestamp"]),
                spec=Spec.parse(document["spec"]),
                status=Status.parse(document.get("status") or {}),
                labels=metadata.get("labels") or {},
                annotations=metadata.get("annotations") or {},
                deleting="deletionTimestamp" in metadata,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidJob("the document has a field that this version cannot read") from error

    def to_document(self) -> dict[str, Any]:
        """What `parse` reads as the same job again: the document, less managed fields and the like."""
        metadata: dict[str, Any] = {
            "name": self.key.name,
            "namespace": self.key.namespace,
            "uid": self.uid,
            "resourceVersion": self.resource_version,
            "generation": self.generation,
            "creationTimestamp": format_time(self.created),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
        }
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": self.spec.to_manifest(),
            "status": self.status.to_manifest(),
        }


def new_manifest(key: JobKey, spec: Spec, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The manifest that creates a job: what `kubectl apply` would send."""
    labels = {ACCOUNT_LABEL: spec.account}
    if spec.batch is not None:
        labels[BATCH_LABEL] = spec.batch.id
    metadata: dict[str, Any] = {"name": key.name, "namespace": key.namespace, "labels": labels}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": spec.to_manifest(),
    }
