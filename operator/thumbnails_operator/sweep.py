"""Which objects of the bucket may go, for the janitor: pure.

Three things must hold whatever happens: an object that a known job refers to stays (but for the
retention times that the admin set), an object that somebody else put there stays, and what nobody
refers to and is older than the grace period goes. In doubt an object stays: the next sweep comes.
What history refers to is not known here: the janitor asks for it, and leaves that as well.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from thumbnails_common.objectstore import ObjectFacts
from thumbnails_common.tombstone import Tombstone
from thumbnails_contract.history import is_history
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import (
    SOURCES,
    THUMBNAILS,
    StoredThumbnail,
    parse_source_key,
    parse_thumbnail_key,
    recipes,
    source_identity,
    thumbnail_key,
)

from .settings import OperatorSettings

_IDEMPOTENCY = re.compile(r"idempotency/([^/]+)/[^/]+/[0-9a-f]{64}")
_ERASED = re.compile(r"erasures/done/([^/]+)/[^/]+")
# How long it is told that an account was erased.
_ERASURE_RETENTION: Final = timedelta(days=30)
# When a job that has not ended ends.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rules:
    """How long what is kept, and where.

    `thumbnails_keep` None: as long as their jobs. `namespaces` None: the jobs of all are known.
    """

    grace: timedelta
    source_retention: timedelta
    thumbnails_keep: timedelta | None = None
    namespaces: frozenset[str] | None = None
    idempotency_retention: timedelta = timedelta(days=1)

    def watches(self, namespace: str) -> bool:
        """Whether what lies under this namespace is ours to clean."""
        return self.namespaces is None or namespace in self.namespaces

    @classmethod
    def of(cls, settings: OperatorSettings, namespaces: Iterable[str] | None = None) -> Self:
        """From the settings, for an operator that knows the jobs of these namespaces (None: of all)."""
        days = settings.thumbnails_keep_days
        return cls(
            grace=timedelta(seconds=settings.sweep_grace_seconds),
            source_retention=timedelta(seconds=settings.source_retention_seconds),
            thumbnails_keep=None if days is None else timedelta(days=days),
            namespaces=None if namespaces is None else frozenset(namespaces),
            idempotency_retention=timedelta(seconds=settings.idempotency_seconds),
        )


class References:
    """What the known jobs refer to, and until when they needed it.

    It only grows: a job that was added as unfinished goes on counting as such. That errs on the side
    of keeping, and lets jobs that are new since be added while a sweep runs.
    """

    def __init__(self, jobs: Iterable[ThumbnailJob] = (), unreadable: Iterable[JobKey] = ()) -> None:
        self._uids: set[str] = set()
        self._job_ends: dict[JobKey, datetime] = {}
        self._key_ends: dict[str, datetime] = {}
        # (namespace, account, recipe hash) of unfinished jobs whose thumbnails' identity a HEAD would tell.
        self._recipes: set[tuple[str, str, str]] = set()
        self._unreadable: set[str] = set()
        self.add(jobs)
        self.add_unreadable(unreadable)

    def add(self, jobs: Iterable[ThumbnailJob]) -> None:
        """Know these jobs too."""
        for job in jobs:
            self._add(job)

    def add_unreadable(self, keys: Iterable[JobKey]) -> None:
        """Jobs that another version wrote may refer to anything in their namespaces: all of it stays."""
        self._unreadable.update(key.namespace for key in keys)

    def knows(self, uid: str) -> bool:
        """Whether this very job is known."""
        return uid in self._uids

    def protects(self, namespace: str) -> bool:
        """Whether everything in this namespace stays."""
        return namespace in self._unreadable

    def key_end(self, key: str) -> datetime | None:
        """When the last of the jobs that refer to this key ended; None when none does."""
        return self._key_ends.get(key)

    def job_end(self, key: JobKey) -> datetime | None:
        """When the job of this name ended; None when there is none."""
        return self._job_ends.get(key)

    def may_write(self, namespace: str, account: str, recipe: str) -> bool:
        """Whether an unfinished job may be writing thumbnails of this recipe, of pictures unknown."""
        return (namespace, account, recipe) in self._recipes

    def _add(self, job: ThumbnailJob) -> None:
        namespace, status = job.key.namespace, job.status
        finished = status.finished
        end = (status.completion_time or _NEVER) if finished else _NEVER
        self._uids.add(job.uid)
        self._job_ends[job.key] = max(end, self._job_ends.get(job.key, end))
        # A job that names a source of another namespace fails; it keeps nothing of theirs.
        if job.spec.object_key.startswith(f"{SOURCES}{namespace}/"):
            self._hold(job.spec.object_key, end)
        for output in status.outputs:
            self._hold(output.object_key, end)
        if finished:
            return
        if source_identity(job.spec.object_key, namespace, job.spec.account) is None:
            for _, _, recipe in recipes(job.spec):
                self._recipes.add((namespace, job.spec.account, recipe))
        for key in _expected_thumbnails(job):
            self._hold(key, end)

    def _hold(self, key: str, end: datetime) -> None:
        self._key_ends[key] = max(end, self._key_ends.get(key, end))


def removable(
    objects: Iterable[ObjectFacts], references: References, rules: Rules, now: datetime
) -> list[str]:
    """The keys of a listing that a sweep deletes."""
    return [facts.key for facts in objects if _is_removable(facts, references, rules, now)]


def unreferenced(keys: Iterable[str], references: References, rules: Rules) -> list[str]:
    """Which of the keys that a deleted job leaves may go at once: ours, and no other job refers to them."""
    free = []
    for key in keys:
        if uploaded := parse_source_key(key):
            held = not is_covered(uploaded.namespace, references, rules)
        else:
            thumbnail = parse_thumbnail_key(key)  # None: somebody else put it there
            held = thumbnail is None or _is_held(thumbnail, references, rules)
        if not held and references.key_end(key) is None:
            free.append(key)
    return free


def own_keys(job: ThumbnailJob) -> tuple[str, ...]:
    """The objects that go with a job: its original, and the thumbnails that it has or was to have."""
    prefixes = (f"{SOURCES}{job.key.namespace}/", f"{THUMBNAILS}{job.key.namespace}/")
    keys = [job.spec.object_key, *(output.object_key for output in job.status.outputs)]
    if not job.status.finished:
        keys += _expected_thumbnails(job)
    return tuple(dict.fromkeys(key for key in keys if key.startswith(prefixes)))


class Verdict(StrEnum):
    """What becomes of a tombstone."""

    WAIT = "Wait"  # the deletion is under way, or the namespace is not ours to clean
    FINISH = "Finish"  # the job is gone: delete the objects, then the tombstone
    DROP = "Drop"  # the job was not deleted after all: delete the tombstone alone


def judge_tombstone(
    tombstone: Tombstone, written: datetime, references: References, rules: Rules, now: datetime
) -> Verdict:
    """What becomes of a tombstone that was written at this time."""
    if not is_covered(tombstone.namespace, references, rules):
        return Verdict.WAIT
    if not references.knows(tombstone.uid):
        return Verdict.FINISH
    # Written, but the job was not deleted: whoever did it crashed in between, and its client got no answer.
    return Verdict.DROP if now - written > rules.grace else Verdict.WAIT


def tombstone_history(tombstone: Tombstone) -> Sequence[str]:
    """The keys of history that go first: without them nothing holds the others any more."""
    return [key for key in tombstone.keys if is_history(key, tombstone.namespace)]


def tombstone_keys(tombstone: Tombstone) -> Sequence[str]:
    """The keys of pictures that a tombstone may speak of: those of its own namespace."""
    prefixes = (f"{SOURCES}{tombstone.namespace}/", f"{THUMBNAILS}{tombstone.namespace}/")
    return [key for key in tombstone.keys if key.startswith(prefixes)]


def outlived_place(
    key: JobKey,
    job: ThumbnailJob | None,
    written: datetime,
    references: References,
    rules: Rules,
    now: datetime,
) -> bool:
    """Whether a place in history goes: its job has been kept long enough, or is there no more.

    It is written before its job's document: one that is young, or of a job that has not gone, is waiting for
    that.
    """
    if rules.thumbnails_keep is None:
        return False
    if job is not None:
        ended = job.status.completion_time or job.created
        return now - ended > rules.thumbnails_keep
    return references.job_end(key) is None and now - written > rules.grace


def _is_removable(facts: ObjectFacts, references: References, rules: Rules, now: datetime) -> bool:
    if now - facts.last_modified <= rules.grace:
        return False
    if uploaded := parse_source_key(facts.key):
        owner = JobKey(uploaded.namespace, uploaded.job_name)
        ends = (references.key_end(facts.key), references.job_end(owner))
        return is_covered(uploaded.namespace, references, rules) and all(
            end is None or now - end > rules.source_retention for end in ends
        )
    if match := _IDEMPOTENCY.fullmatch(facts.key):
        # The API counts from a clock of its own: nothing goes that it may still answer with.
        kept = rules.idempotency_retention + rules.grace
        return rules.watches(match[1]) and now - facts.last_modified > kept
    if match := _ERASED.fullmatch(facts.key):
        return rules.watches(match[1]) and now - facts.last_modified > _ERASURE_RETENTION
    if thumbnail := parse_thumbnail_key(facts.key):
        return not _is_held(thumbnail, references, rules) and _is_outlived(facts, references, rules, now)
    return False


def _is_held(thumbnail: StoredThumbnail, references: References, rules: Rules) -> bool:
    """Whether a thumbnail stays, whoever names it or not."""
    namespace, account, recipe = thumbnail.namespace, thumbnail.account, thumbnail.recipe
    return not is_covered(namespace, references, rules) or references.may_write(namespace, account, recipe)


def _is_outlived(facts: ObjectFacts, references: References, rules: Rules, now: datetime) -> bool:
    """Whether nobody names a thumbnail, or it is older than thumbnails are kept."""
    end, keep = references.key_end(facts.key), rules.thumbnails_keep
    if end is None:
        return True
    # Its jobs' age counts too: one that ended today with an old thumbnail (`Cached`) still has to show it.
    return keep is not None and now - max(facts.last_modified, end) > keep


def is_covered(namespace: str, references: References, rules: Rules) -> bool:
    """Whether all jobs of this namespace are known, so that what they do not refer to is garbage."""
    return rules.watches(namespace) and not references.protects(namespace)


def _expected_thumbnails(job: ThumbnailJob) -> list[str]:
    """Where the thumbnails of a job will lie; nothing for an original whose identity only a HEAD tells."""
    namespace, account = job.key.namespace, job.spec.account
    identity = source_identity(job.spec.object_key, namespace, account)
    if identity is None:
        return []
    return [thumbnail_key(namespace, account, identity, recipe) for _, _, recipe in recipes(job.spec)]
