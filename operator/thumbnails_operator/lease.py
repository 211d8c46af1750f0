"""Names of leases: nothing about them is stored, so a name says which attempt of which job it is."""

from dataclasses import dataclass
from typing import Self

from thumbnails_contract.job import JobKey


@dataclass(frozen=True, slots=True, order=True)
class WorkerKey:
    """What names a worker: the namespace and name of its Job."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class LeaseName:
    """`{namespace}/{name}/{uid}/{attempt}/{random}`; no part but the last can hold a slash."""

    job: JobKey
    uid: str
    attempt: int  # the first is 1
    suffix: str

    def __str__(self) -> str:
        return f"{self.job.namespace}/{self.job.name}/{self.uid}/{self.attempt}/{self.suffix}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The parts, or None for what no operator of this version made."""
        try:
            namespace, name, uid, attempt, suffix = text.split("/", 4)
            return cls(JobKey(namespace, name), uid, int(attempt), suffix)
        except ValueError:
            return None
