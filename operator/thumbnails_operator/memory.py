"""What the operator remembers of jobs besides their documents; a restart finds it again."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import ErrorFacts

from .wanted import Thumbnail, Wanted
from .webhook import DeliverNow, DeliveryResult

# Keys of thumbnails, some 300 bytes each.
MAX_KEPT: Final = 50_000


@dataclass(slots=True, eq=False)
class Attempt:
    """To deliver a webhook; `outcome` (with when it came, and a random number of [0, 1)) once it is known."""

    uid: str
    delivery: DeliverNow
    outcome: tuple[DeliveryResult, datetime, float] | None = None


@dataclass(slots=True, eq=False)
class Memory:
    """Of one unfinished job."""

    uid: str
    waiting_since: float  # monotonic seconds
    identity: str | None = None
    wanted: tuple[Wanted, ...] = ()
    there: dict[str, Thumbnail] = field(default_factory=dict)  # by object key
    rendered_by: str | None = None  # a worker
    looked_up: set[str] = field(default_factory=set)
    attempts: int = 0  # ended ones
    error: ErrorFacts | None = None
    started: datetime | None = None


class Made:
    """Which thumbnails finished jobs have made: there are few others in the cache.

    Of the jobs that have become history, the thumbnails of the last ones are remembered. Older ones are made
    anew: to ask the object store for each new job would cost more than that.
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._counts: Counter[str] = Counter()
        self._kept: OrderedDict[str, None] = OrderedDict()
        self._max_kept = max_kept

    def __contains__(self, object_key: str) -> bool:
        return object_key in self._counts or object_key in self._kept

    def keep(self, job: ThumbnailJob) -> None:
        """The job becomes history, and its thumbnails stay."""
        for output in job.status.outputs:
            self._kept[output.object_key] = None
            self._kept.move_to_end(output.object_key)
        while len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)

    def add(self, job: ThumbnailJob) -> None:
        """The job is known and finished."""
        for output in job.status.outputs:
            self._counts[output.object_key] += 1

    def remove(self, job: ThumbnailJob) -> None:
        """The job is known no more, or was another."""
        for output in job.status.outputs:
            self._counts[output.object_key] -= 1
            if self._counts[output.object_key] <= 0:
                del self._counts[output.object_key]
