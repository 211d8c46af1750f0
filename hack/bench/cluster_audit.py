"""What was written to the API server, by its audit log, where that is a file on this machine."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

_VERBS: Final = {"create", "patch", "update", "delete", "deletecollection"}
# Leases are renewed with or without jobs; a token that is asked for is not kept.
_NOT_OF_JOBS: Final = {"leases", "serviceaccounts/token"}
_WHO: Final = {
    "system:serviceaccount:kube-system:job-controller": "job controller",
    "system:kube-scheduler": "scheduler",
    "system:kube-controller-manager": "controller manager",
}


class Write(NamedTuple):
    """One kind of request that changes something."""

    who: str
    verb: str
    resource: str

    @property
    def is_of_thumbnail_jobs(self) -> bool:
        """Whether it writes a ThumbnailJob or its status."""
        return self.resource.partition("/")[0] == "thumbnailjobs"


Writes = Counter[Write]


@dataclass(frozen=True)
class AuditLog:
    """A log that the API server appends to."""

    path: Path

    @classmethod
    def of_local_cluster(cls, folder: Path, kubeconfig: str) -> Self | None:
        """That of the cluster that `make cluster` starts, if it is the one that is measured."""
        path = folder / "logs" / "audit.log"
        is_local = Path(kubeconfig).resolve() == (folder / "kubeconfig").resolve()
        return cls(path) if is_local and path.exists() else None

    def position(self) -> tuple[int, int]:
        """Where it ends now."""
        status = self.path.stat()
        return status.st_ino, status.st_size

    def writes(self, since: tuple[int, int], namespace: str) -> Writes | None:
        """All writes to a namespace since then; None when the log was begun anew since."""
        inode, offset = since
        with self.path.open("rb") as log:
            status = self.path.stat()
            if status.st_ino != inode or status.st_size < offset:
                return None
            log.seek(offset)
            events = (json.loads(line) for line in log if line.endswith(b"\n"))
            return Counter(write for event in events if (write := _write(event, namespace)))


def _write(event: dict[str, object], namespace: str) -> Write | None:
    match event:
        case {
            "verb": str(verb),
            "stage": "ResponseComplete",
            "objectRef": {"namespace": where, "resource": str(resource), **rest},
            "responseStatus": {"code": int(code)},
            "user": {"username": str(user)},
        } if verb in _VERBS and where == namespace and code < 400:
            subresource = rest.get("subresource")
            full = f"{resource}/{subresource}" if subresource else resource
            return None if full in _NOT_OF_JOBS else Write(_who(user, namespace), verb, full)
    return None


def _who(user: str, namespace: str) -> str:
    if user in _WHO:
        return _WHO[user]
    if user.startswith("system:node:"):
        return "kubelet"
    if user.startswith(f"system:serviceaccount:{namespace}:"):
        return user.rpartition("-")[2]  # the chart's accounts are <release>-<component>
    return "garbage collector and others" if user.startswith("system:serviceaccount:") else "client"
