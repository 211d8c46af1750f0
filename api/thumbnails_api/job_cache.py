"""The API's own copy of all jobs, fed by a watch, for answers that cost the job store nothing.

What was read from the store by somebody else's request (`put`) and what was deleted (`remove`) is
seen at once; the watch brings the rest. Two facts keep the copy right when they race: the greater
resourceVersion of a job wins, and a uid that was deleted never comes back.
"""

import contextlib
import heapq
import logging
import threading
import time
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from thumbnails_common.jobstore import Document, Expired, JobStore, ObjectMissing, WatchEvent, WatchEventType
from thumbnails_common.resource_version import number_of
from thumbnails_contract.errors import InvalidJob, JobStoreUnavailable, ThumbnailsError
from thumbnails_contract.history import Position, position_of
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.names import DEFAULT_ACCOUNT, is_job_name
from thumbnails_contract.status import Phase

from .accounts import Caller
from .changes import Change, Changes

log = logging.getLogger(__name__)

_REMEMBERED_DELETIONS: Final = 10_000
_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 60.0
# A server that ends each watch at once (it is shutting down, say) must not be asked in a tight loop.
_BETWEEN_WATCHES_SECONDS: Final = 0.05

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class News:
    """What happened to a caller's jobs up to `version`: how a job is now, or the name of one that is gone.

    `items` is None when it is not known any more what happened in between.
    """

    version: int
    items: tuple[tuple[int, str, ThumbnailJob | None], ...] | None
    unfinished: bool  # whether more is to be expected soon


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first, and where the next page begins (None: this is the last one)."""

    jobs: tuple[ThumbnailJob, ...]
    next: Position | None


class _Drawers(defaultdict[Name, list[Position]], Generic[Name]):
    """Places of jobs, sorted, by what the jobs have in common; there are no empty drawers."""

    def __init__(self) -> None:
        super().__init__(list)

    def put(self, name: Name, position: Position) -> None:
        insort(self[name], position)

    def take(self, name: Name, position: Position) -> None:
        positions = self[name]
        del positions[bisect_left(positions, position)]
        if not positions:
            del self[name]


class _Index:
    """All jobs of a moment: by key, and sorted for paging by caller and phase, or by batch."""

    def __init__(self, jobs: Iterable[ThumbnailJob] = ()) -> None:
        self.by_key = {job.key: job for job in jobs}
        self._sorted: _Drawers[tuple[Caller, Phase]] = _Drawers()
        self._batches: _Drawers[tuple[Caller, str]] = _Drawers()
        for job in self.by_key.values():
            self._sorted[_drawer(job)].append(position_of(job))
            if (batch := _batch(job)) is not None:
                self._batches[batch].append(position_of(job))
        for positions in (*self._sorted.values(), *self._batches.values()):
            positions.sort()

    def set(self, job: ThumbnailJob) -> None:
        old = self.by_key.get(job.key)
        moved = old is None or _drawer(old) != _drawer(job) or position_of(old) != position_of(job)
        if moved or _batch(old) != _batch(job):
            self.drop(job.key)
            self._sorted.put(_drawer(job), position_of(job))
            if (batch := _batch(job)) is not None:
                self._batches.put(batch, position_of(job))
        self.by_key[job.key] = job

    def drop(self, key: JobKey) -> None:
        job = self.by_key.pop(key, None)
        if job is not None:
            self._sorted.take(_drawer(job), position_of(job))
            if (batch := _batch(job)) is not None:
                self._batches.take(batch, position_of(job))

    def newest_first(
        self, caller: Caller, phases: Iterable[Phase], before: Position | None
    ) -> Iterator[ThumbnailJob]:
        drawers = [self._sorted[caller, phase] for phase in phases if (caller, phase) in self._sorted]
        for position in heapq.merge(*(_descending(drawer, before) for drawer in drawers), reverse=True):
            yield self.by_key[JobKey(caller.namespace, position.name)]

    def batch_newest_first(
        self, caller: Caller, batch: str, phases: frozenset[Phase], before: Position | None
    ) -> Iterator[ThumbnailJob]:
        for position in _descending(self._batches.get((caller, batch), []), before):
            job = self.by_key[JobKey(caller.namespace, position.name)]
            if job.status.phase in phases:
                yield job

    def count(self, caller: Caller, phases: Iterable[Phase]) -> int:
        return sum(len(self._sorted.get((caller, phase), ())) for phase in phases)

    def counts(self) -> dict[Phase, int]:
        found = dict.fromkeys(Phase, 0)
        for (_, phase), positions in self._sorted.items():
            found[phase] += len(positions)
        return found

    def has_jobs(self, caller: Caller, phases: Iterable[Phase] = Phase) -> bool:
        return any((caller, phase) in self._sorted for phase in phases)


class JobCache:
    """Jobs of one namespace, or of all when that is None. Every method may be called from any thread."""

    def __init__(self, store: JobStore, *, namespace: str | None = None) -> None:
        self._store = store
        self._namespace = namespace
        self._index = _Index()
        self._deleted_uids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._job_ended = threading.Condition(self._lock)
        self._changes = Changes()
        self._changed = threading.Condition(self._lock)
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._removal_listeners: list[Callable[[ThumbnailJob], None]] = []
        self._relist_listeners: list[Callable[[], None]] = []

    def on_removed(self, listener: Callable[[ThumbnailJob], None]) -> None:
        """Call `listener` with each job that is gone, whoever deleted it.

        It is called from any thread, must be quick, since all wait for it, and must not call back.
        """
        self._removal_listeners.append(listener)

    def on_relisted(self, listener: Callable[[], None]) -> None:
        """Call `listener` when jobs may have come and gone unseen; as `on_removed` does."""
        self._relist_listeners.append(listener)

    # ---- life ----

    def start(self) -> None:
        """Begin to list and watch, in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name="job-cache", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """End soon; whoever waits for a job is let go at once."""
        self._stopping.set()
        with self._lock:
            self._job_ended.notify_all()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    @property
    def synced(self) -> bool:
        """Whether all jobs were listed once."""
        return self._synced.is_set()

    def wait_synced(self, timeout_seconds: float) -> bool:
        """Wait for the first list."""
        return self._synced.wait(timeout_seconds)

    # ---- reading ----

    def get(self, caller: Caller, name: str) -> ThumbnailJob | None:
        """The caller's job of this name, or None.

        One that is not known may have been made by another replica just now, so the store is asked
        once, for names that can exist. Raises JobStoreUnavailable.
        """
        if not is_job_name(name):
            return None
        job = self._index.by_key.get(JobKey(caller.namespace, name))
        if job is None:
            try:
                job = self.put(self._store.get(caller.namespace, name))
            except ObjectMissing:
                return None
            except InvalidJob:
                log.warning("the job %s/%s cannot be read by this version", caller.namespace, name)
                return None
        return job if job is not None and job.spec.account == caller.account else None

    def holds(self, job: ThumbnailJob) -> bool:
        """Whether this very job is known still."""
        known = self._index.by_key.get(job.key)
        return known is not None and known.uid == job.uid

    def page(
        self,
        caller: Caller,
        *,
        phases: frozenset[Phase],
        limit: int,
        before: Position | None,
        batch: str | None = None,
    ) -> Page | None:
        """At most `limit` jobs older than `before`; None when the caller has no job at all.

        With `batch` they are of this one alone. Raises JobStoreUnavailable as long as the jobs were not
        listed.
        """
        if not self.synced:
            raise JobStoreUnavailable
        with self._lock:
            if not self._index.has_jobs(caller):
                return None
            found = (
                self._index.newest_first(caller, phases, before)
                if batch is None
                else self._index.batch_newest_first(caller, batch, phases, before)
            )
            jobs = tuple(islice(found, limit + 1))
        if len(jobs) <= limit:
            return Page(jobs, None)
        return Page(jobs[:limit], position_of(jobs[limit - 1]))

    def knows(self, key: JobKey) -> bool:
        """Whether the store has a job of this name, as far as is known here."""
        return key in self._index.by_key

    def count_unfinished(self, caller: Caller) -> int:
        """How many of the caller's jobs have not ended, as far as is known."""
        with self._lock:
            return self._index.count(caller, (Phase.PENDING, Phase.RUNNING))

    def wait_until_finished(self, job: ThumbnailJob, timeout_seconds: float) -> ThumbnailJob:
        """The job as it is when it has ended, was deleted, time is up, or the cache stops."""
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            while True:
                latest = self._index.by_key.get(job.key)
                if latest is None or latest.uid != job.uid:
                    return job
                left = deadline - time.monotonic()
                if latest.status.finished or left <= 0 or self._stopping.is_set():
                    return latest
                self._job_ended.wait(left)

    def counts(self) -> dict[Phase, int]:
        """How many jobs of all callers are known, by phase."""
        with self._lock:
            return self._index.counts()

    def news(self, caller: Caller, after: int | None, timeout_seconds: float) -> News:
        """What happened to the caller's jobs after this version; waits until there is something.

        With None it is what happens from now on. Raises JobStoreUnavailable as long as the jobs were not
        listed.
        """
        if not self.synced:
            raise JobStoreUnavailable
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            if after is None:
                return News(self._changes.latest(caller), (), self._has_unfinished(caller))
            while True:
                changes = self._changes.since(caller, after)
                if changes is None:
                    return News(self._changes.latest(caller), None, self._has_unfinished(caller))
                left = deadline - time.monotonic()
                if changes or left <= 0 or self._stopping.is_set():
                    break
                self._changed.wait(left)
            items = tuple((change.version, change.key.name, self._now(change)) for change in changes)
            return News(max(after, self._changes.latest(caller)), items, self._has_unfinished(caller))

    def _now(self, change: Change) -> ThumbnailJob | None:
        job = None if change.deleted else self._index.by_key.get(change.key)
        return job if job is not None and job.spec.account == change.caller.account else None

    def _has_unfinished(self, caller: Caller) -> bool:
        return self._index.has_jobs(caller, (Phase.PENDING, Phase.RUNNING))

    # ---- writing ----

    def put(self, document: Document) -> ThumbnailJob | None:
        """Take in what the store just answered; the newest known state, or None when it was deleted since.

        Raises InvalidJob.
        """
        job = ThumbnailJob.parse(document)
        with self._lock:
            return self._put(job)

    def remove(self, job: ThumbnailJob) -> None:
        """Take in that this job was deleted."""
        with self._lock:
            self._remove(job)

    def _put(self, job: ThumbnailJob) -> ThumbnailJob | None:
        if job.uid in self._deleted_uids:
            return None
        old = self._index.by_key.get(job.key)
        if old is not None and version_of(old) > version_of(job):
            return old
        self._index.set(job)
        if job.status.finished:
            self._job_ended.notify_all()
        return job

    def _remove(self, job: ThumbnailJob) -> None:
        self._deleted_uids[job.uid] = None
        while len(self._deleted_uids) > _REMEMBERED_DELETIONS:
            self._deleted_uids.popitem(last=False)
        if self.holds(job):
            self._index.drop(job.key)
        self._job_ended.notify_all()
        self._tell_removed(job)

    def _tell_removed(self, job: ThumbnailJob) -> None:
        for listener in self._removal_listeners:
            listener(job)

    # ---- list and watch ----

    def _follow(self) -> None:
        retry_seconds = _FIRST_RETRY_SECONDS
        version: str | None = None
        while not self._stopping.is_set():
            try:
                if version is None:
                    version = self._relist()
                    self._synced.set()
                for event in self._watch(version):
                    version = event.resource_version
                    self._apply(event)
                retry_seconds = _FIRST_RETRY_SECONDS
                self._stopping.wait(_BETWEEN_WATCHES_SECONDS)
            except Expired:
                version = None
            except Exception as error:  # the thread must outlive whatever a store does
                if self._stopping.is_set():
                    return
                if isinstance(error, ThumbnailsError):
                    log.warning("cannot follow the jobs: %s", error.message)
                else:
                    log.exception("cannot follow the jobs")
                    version = None
                self._stopping.wait(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _LAST_RETRY_SECONDS)

    def _watch(self, version: str) -> Iterator[WatchEvent]:
        events = self._store.watch(version, self._namespace, timeout_seconds=_WATCH_SECONDS)
        with contextlib.closing(events):  # type: ignore[type-var]  # the port says that it is a generator
            for event in events:
                if self._stopping.is_set():
                    return
                yield event

    def _apply(self, event: WatchEvent) -> None:
        self._take_in(event)
        if event.type is not WatchEventType.BOOKMARK:
            with self._lock:
                self._note(event)

    def _note(self, event: WatchEvent) -> None:
        """Tell followers: only of what the watch brings, since that alone is in order."""
        metadata = event.document["metadata"]
        account = event.document.get("spec", {}).get("account", DEFAULT_ACCOUNT)
        # A deletion's own version is that of the event; in a watch of several namespaces it may lie before.
        version = max(number_of(metadata["resourceVersion"]), number_of(event.resource_version))
        key = JobKey(metadata["namespace"], metadata["name"])
        deleted = event.type is WatchEventType.DELETED
        self._changes.add(Change(version, Caller(key.namespace, account), key, deleted))
        self._changed.notify_all()

    def _take_in(self, event: WatchEvent) -> None:
        if event.type is WatchEventType.BOOKMARK or self._is_known(event):
            return
        try:
            job = ThumbnailJob.parse(event.document)
        except InvalidJob:
            log.warning("a job cannot be read by this version, and is left out")
            return
        with self._lock:
            if event.type is WatchEventType.DELETED:
                self._remove(job)
            else:
                self._put(job)

    def _is_known(self, event: WatchEvent) -> bool:
        """Whether an event only repeats what was put in: that of an own create, which need not be parsed."""
        if event.type is WatchEventType.DELETED:  # its document may be the last state that we know
            return False
        metadata = event.document["metadata"]
        known = self._index.by_key.get(JobKey(metadata["namespace"], metadata["name"]))
        return known is not None and known.resource_version == metadata["resourceVersion"]

    def _relist(self) -> str:
        """Swap in a new index, made beside the old one; the resourceVersion to watch from."""
        listed: list[ThumbnailJob] = []
        token: str | None = None
        while True:
            page = self._store.list(self._namespace, continue_token=token)
            for document in page.items:
                try:
                    listed.append(ThumbnailJob.parse(document))
                except InvalidJob:
                    log.warning("a job cannot be read by this version, and is left out")
            token = page.continue_token
            if token is None:
                break
        listed_version = number_of(page.resource_version)
        with self._lock:
            known = self._index
            self._index = _Index(job for job in listed if job.uid not in self._deleted_uids)
            # What was put in while we listed is newer than the list.
            for job in known.by_key.values():
                if version_of(job) > listed_version:
                    self._index.set(job)
                elif not self.holds(job):
                    self._tell_removed(job)
            for listener in self._relist_listeners:
                listener()
            self._changes.begin(listed_version)
            self._job_ended.notify_all()
            self._changed.notify_all()
        return page.resource_version


def _descending(positions: list[Position], before: Position | None) -> Iterator[Position]:
    end = len(positions) if before is None else bisect_left(positions, before)
    return (positions[index] for index in range(end - 1, -1, -1))


def _drawer(job: ThumbnailJob) -> tuple[Caller, Phase]:
    return Caller(job.key.namespace, job.spec.account), job.status.phase


def _batch(job: ThumbnailJob | None) -> tuple[Caller, str] | None:
    if job is None or job.spec.batch is None:
        return None
    return Caller(job.key.namespace, job.spec.account), job.spec.batch.id


def version_of(job: ThumbnailJob) -> int:
    """The resourceVersion as a number: of two states of a job, the newer one has the greater."""
    return number_of(job.resource_version)
