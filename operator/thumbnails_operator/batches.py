"""Which jobs were uploaded together, and whether all of them have ended: pure, for the roster.

Everything in it is learnt again from the jobs after a restart, but for one thing: that a job of the batch was
there and is gone. What the rest says of how a batch ended is on one of its jobs, its *bearer*.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.status import BatchFacts, Condition, ConditionType, Phase, Status

from .outcome import ended_at


class BatchKey(NamedTuple):
    """What names a batch."""

    namespace: str
    account: str
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a bearer's status says of its batch, and of the delivery of its webhook."""

    facts: BatchFacts
    delivered: Condition | None

    @classmethod
    def of(cls, status: Status) -> "Record | None":
        """What this status says; None when it is not a bearer's."""
        if status.batch is None:
            return None
        return cls(status.batch, status.condition(ConditionType.BATCH_WEBHOOK_DELIVERED))


class Batch:
    """The jobs of one batch that there are. Only `Batches` changes it."""

    def __init__(self, first: ThumbnailJob) -> None:
        self._jobs: dict[JobKey, ThumbnailJob] = {}
        self._unfinished: set[JobKey] = set()
        self._seen: set[int] = set()  # places in the upload
        self._expected: int | None = None
        self._bearing: set[JobKey] = set()
        # By place. One that is gone stays in it until it would be the first.
        self._row: list[tuple[int, str, JobKey]] = []
        self._facts: BatchFacts | None = None
        self.newest = first.created
        """When the last one of its jobs was created."""
        self.record: Record | None = None
        """How it ended, once a job bears that; known for as long as there are jobs."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[JobKey]:
        return iter(self._jobs)

    @property
    def open(self) -> bool:
        """Whether jobs of it have not ended."""
        return bool(self._unfinished)

    @property
    def whole(self) -> bool:
        """Whether all jobs that the upload made were seen, be they there or gone."""
        return self._expected is not None and len(self._seen) >= self._expected

    @property
    def bearer(self) -> JobKey:
        """The job that has the record, or is to have it: the first one."""
        if self._bearing:
            return min(self._bearing, key=self._place)
        while self._row[0][-1] not in self._jobs:
            heappop(self._row)
        return self._row[0][-1]

    def facts(self) -> BatchFacts:
        """How it ended, counted now. Every job must have."""
        if self._facts is None:
            phases = [job.status.phase for job in self._jobs.values()]
            self._facts = BatchFacts(
                complete=phases.count(Phase.SUCCEEDED),
                failed=phases.count(Phase.FAILED),
                cancelled=phases.count(Phase.CANCELLED),
                completion_time=max(ended_at(job) for job in self._jobs.values()),
            )
        return self._facts

    def put(self, job: ThumbnailJob) -> None:
        """The job is like this now."""
        batch = job.spec.batch
        if batch is None:
            raise AssertionError("a job without a batch is in none")
        known = job.key in self._jobs
        self._jobs[job.key] = job
        if not known:
            heappush(self._row, self._place(job.key))
        if job.status.batch is not None:
            self._bearing.add(job.key)
        else:
            self._bearing.discard(job.key)
        self._facts = None
        if not job.status.finished:
            self._unfinished.add(job.key)
        else:
            self._unfinished.discard(job.key)
        self._seen.add(batch.index)
        self._expected = batch.jobs or self._expected
        self.newest = max(self.newest, job.created)
        if job.status.batch is not None and job.key == self.bearer:
            self.record = Record.of(job.status)

    def drop(self, key: JobKey) -> None:
        """The job is gone."""
        del self._jobs[key]
        self._facts = None
        self._unfinished.discard(key)
        self._bearing.discard(key)

    def _place(self, key: JobKey) -> tuple[int, str, JobKey]:
        batch = self._jobs[key].spec.batch
        return batch.index if batch else 0, key.name, key


class Batches:
    """All batches of which there are jobs."""

    def __init__(self) -> None:
        self._batches: dict[BatchKey, Batch] = {}

    def of(self, job: ThumbnailJob) -> Batch | None:
        """The batch of a job that is known; None when it is of none."""
        return self._batches.get(_key(job)) if job.spec.batch is not None else None

    def change(self, before: ThumbnailJob | None, after: ThumbnailJob | None) -> JobKey | None:
        """Take in what became of a job. The bearer, when another job's change may be its business."""
        touched: Batch | None = None
        if (
            before is not None
            and before.spec.batch is not None
            and (after is None or after.uid != before.uid)
        ):
            key = _key(before)
            touched = self._batches[key]
            touched.drop(before.key)
            if not touched:
                del self._batches[key]
                touched = None
        if after is not None and after.spec.batch is not None:
            key = _key(after)
            touched = self._batches.get(key)
            if touched is None:
                touched = self._batches[key] = Batch(after)
            touched.put(after)
        if touched is None or touched.open or (after is not None and touched.bearer == after.key):
            return None
        return touched.bearer


def _key(job: ThumbnailJob) -> BatchKey:
    batch = job.spec.batch
    return BatchKey(job.key.namespace, job.spec.account, batch.id if batch else "")
