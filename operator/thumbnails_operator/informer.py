"""What the operator knows of ThumbnailJobs: fed by watch events, relists and its own writes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from thumbnails_common.jobstore import Document, WatchEventType
from thumbnails_common.resource_version import is_newer
from thumbnails_contract.errors import InvalidJob
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.names import DEFAULT_ACCOUNT
from thumbnails_contract.status import Status


@dataclass(frozen=True, slots=True)
class Known:
    """A job, and its status as it is stored (what a patch is computed against)."""

    job: ThumbnailJob
    raw_status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Owned:
    """A job, and whose it is: as much as must be known to delete it."""

    key: JobKey
    uid: str
    account: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that this version cannot read, as far as it can. `account` is None where it names none."""

    key: JobKey
    uid: str
    account: str | None
    resource_version: str
    generation: int
    raw_status: Mapping[str, Any]
    error: InvalidJob


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a key: `before` is what was known, `after` what is; None where there is nothing."""

    key: JobKey
    before: Known | Unreadable | None
    after: Known | Unreadable | None

    @property
    def replaced(self) -> bool:
        """Whether another object has the name now."""
        return (
            self.before is not None and self.after is not None and uid_of(self.before) != uid_of(self.after)
        )


def uid_of(known: Known | Unreadable) -> str:
    """The uid of either."""
    return known.job.uid if isinstance(known, Known) else known.uid


class Informer:
    """The newest state of each job that was seen."""

    def __init__(self) -> None:
        self._known: dict[JobKey, Known | Unreadable] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: JobKey) -> Known | Unreadable | None:
        """What is known of a job."""
        return self._known.get(key)

    def jobs(self) -> Iterator[ThumbnailJob]:
        """All jobs that can be read."""
        return (known.job for known in self._known.values() if isinstance(known, Known))

    def unreadable(self) -> Iterator[JobKey]:
        """The names of all others."""
        return (key for key, known in self._known.items() if isinstance(known, Unreadable))

    def owned(self) -> Iterator[Owned]:
        """All jobs whose account is known, whether the rest can be read or not."""
        for key, known in self._known.items():
            account = known.job.spec.account if isinstance(known, Known) else known.account
            if account is not None:
                yield Owned(key, uid_of(known), account)

    def keys(self) -> tuple[JobKey, ...]:
        """The names of all jobs."""
        return tuple(self._known)

    def observe(self, event_type: str, document: Document) -> Change | None:
        """Take in a watch event or a fetched document; None when it says nothing new."""
        key = _key(document)
        if key is None:
            return None
        if event_type == WatchEventType.DELETED:
            before = self._known.get(key)
            if before is None or document["metadata"].get("uid") != uid_of(before):
                return None
            return self.forget(key)
        return self._take(key, document)

    def relist(self, documents: Iterable[Document]) -> list[Change]:
        """Take in a full list: what is not in it is gone, whether a deletion was seen or not."""
        changes: list[Change] = []
        listed: set[JobKey] = set()
        for document in documents:
            key = _key(document)
            if key is None:
                continue
            listed.add(key)
            change = self._take(key, document)
            if change is not None:
                changes.append(change)
        changes.extend(self._forget(key) for key in self._known.keys() - listed)
        return changes

    def forget(self, key: JobKey) -> Change | None:
        """The job is gone."""
        return self._forget(key) if key in self._known else None

    def wrote(self, job: ThumbnailJob, document: Document) -> Change | None:
        """Take in what a patch of `job`'s status answered.

        The patch was bound to `job`'s resourceVersion, so nothing but the status has changed.
        None when the job is gone, or something newer was seen meanwhile.
        """
        before = self._known.get(job.key)
        version = document["metadata"]["resourceVersion"]
        if before is None or uid_of(before) != job.uid or not is_newer(version, _version_of(before)):
            return None
        raw = document.get("status") or {}
        after = Known(replace(job, resource_version=version, status=Status.parse(raw)), raw)
        self._known[job.key] = after
        return Change(job.key, before, after)

    def _take(self, key: JobKey, document: Document) -> Change | None:
        metadata = document["metadata"]
        before = self._known.get(key)
        if (
            before is not None
            and metadata.get("uid") == uid_of(before)
            and not is_newer(metadata.get("resourceVersion", ""), _version_of(before))
        ):
            return None
        after = _read(key, document, before)
        self._known[key] = after
        return Change(key, before, after)

    def _forget(self, key: JobKey) -> Change:
        return Change(key, self._known.pop(key), None)


def _read(key: JobKey, document: Document, before: Known | Unreadable | None) -> Known | Unreadable:
    status = document.get("status")
    raw = status if isinstance(status, dict) else {}
    metadata = document["metadata"]
    try:
        if isinstance(before, Known) and _has_same_spec(metadata, before.job):
            job = replace(
                before.job,
                resource_version=metadata["resourceVersion"],
                status=Status.parse(raw),
                labels=metadata.get("labels") or {},
                annotations=metadata.get("annotations") or {},
                deleting="deletionTimestamp" in metadata,
            )
        else:
            job = ThumbnailJob.parse(document)
    except (InvalidJob, KeyError, TypeError, ValueError) as error:
        invalid = error if isinstance(error, InvalidJob) else InvalidJob()
        version = str(metadata.get("resourceVersion", ""))
        generation = metadata.get("generation", 1)
        uid, account = str(metadata.get("uid", "")), _account_of(document)
        return Unreadable(key, uid, account, version, generation, raw, invalid)
    return Known(job, raw)


def _account_of(document: Document) -> str | None:
    """Whose job this is, as far as it is said where this version expects it."""
    spec = document.get("spec")
    account = spec.get("account", DEFAULT_ACCOUNT) if isinstance(spec, dict) else None
    return account if isinstance(account, str) else None


def _has_same_spec(metadata: Mapping[str, Any], job: ThumbnailJob) -> bool:
    """Every change of `spec` raises the generation, so most events need no spec to be read."""
    return metadata.get("uid") == job.uid and metadata.get("generation") == job.generation


def _key(document: Document) -> JobKey | None:
    metadata = document.get("metadata") or {}
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return JobKey(namespace, name) if namespace and name else None


def _version_of(known: Known | Unreadable) -> str:
    return known.job.resource_version if isinstance(known, Known) else known.resource_version
