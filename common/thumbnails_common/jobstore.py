"""The port to where ThumbnailJobs are kept: the Kubernetes API server, or its like in SQLite.

Documents are plain dicts in the manifest's form. Every method blocks and may be called from any
thread; an operator with an event loop calls it through a thread pool. The semantics are those of a
real API server, and one conformance suite (`tests/conformance`) holds both adapters to them:

- `create` fills in defaults, checks the schema and the CEL rules, drops unknown fields and `status`
  (which then is its default), and sets `uid`, `resourceVersion`, `generation` and
  `creationTimestamp`.
- Every write gives the object a new, greater `resourceVersion`; `generation` grows with `spec` only.
- A patch that changes nothing keeps the `resourceVersion`, but for the first one of a new job: an API
  server fills in the default `status` on reading, and stores it with the first patch.
- Deletion takes effect at once: there are no finalizers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from thumbnails_contract.errors import ThumbnailsError

Document = dict[str, Any]


class JobStoreError(ThumbnailsError):
    """What a job store answers other than success; see also `JobStoreUnavailable` (a 503)."""

    reason = "JobStoreError"


class ObjectMissing(JobStoreError):
    """404: there is no object with this name (and uid)."""

    reason = "ObjectMissing"
    status = 404


class AlreadyExists(JobStoreError):
    """409 on create: the name is taken."""

    reason = "AlreadyExists"
    status = 409


class Conflict(JobStoreError):
    """409 on patch or delete: the object is not at the resourceVersion (or uid) that was given."""

    reason = "Conflict"
    status = 409


class Refused(JobStoreError):
    """422: the schema or a CEL rule does not allow it; `message` names field and rule."""

    reason = "Refused"
    status = 422


class Expired(JobStoreError):
    """410: the resourceVersion to watch from (or the continue token) is too old; list again."""

    reason = "Expired"
    status = 410


class WatchEventType(StrEnum):
    """The types of watch events that a watcher sees."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `document` is the object after it (for DELETED: as it was last; for BOOKMARK: empty)."""

    type: WatchEventType
    document: Document
    resource_version: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list, all of one state of the store."""

    items: tuple[Document, ...]
    resource_version: str
    continue_token: str | None = None


class JobStore(Protocol):
    """Where ThumbnailJobs are kept. Every method may raise JobStoreUnavailable."""

    def create(self, manifest: Mapping[str, Any]) -> Document:
        """Store a new job. Raises AlreadyExists, Refused, QuotaExceeded."""

    def get(self, namespace: str, name: str) -> Document:
        """One job, as it is now. Raises ObjectMissing."""

    def list(
        self,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_token: str | None = None,
    ) -> JobPage:
        """Jobs by namespace and name, a page at a time. Raises Expired for an old continue token."""

    def patch_spec(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Document:
        """Merge-patch `spec`: suspend and cancel are all that may change.

        Raises ObjectMissing, Conflict, Refused.
        """

    def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str
    ) -> Document:
        """Merge-patch `status`, only if the object is at `resource_version`.

        Raises ObjectMissing, Conflict, Refused.
        """

    def delete(
        self, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> None:
        """Delete a job, only if it is the one given. Raises ObjectMissing, Conflict."""

    def watch(
        self, resource_version: str, namespace: str | None = None, *, timeout_seconds: float = 300.0
    ) -> Iterator[WatchEvent]:
        """Changes after `resource_version`, in order, until the timeout; bookmarks in between.

        Ends without an error at the timeout: the caller goes on from the last resourceVersion it
        saw. Raises Expired when that is too old. A generator: close() ends the watch soon.
        """

    def check(self) -> None:
        """Return if the store answers. Raises JobStoreUnavailable."""

    def close(self) -> None:
        """End open watches and release connections; later calls raise JobStoreUnavailable."""


def list_all(store: JobStore, namespace: str | None = None) -> JobPage:
    """All pages of one state as one. Raises JobStoreUnavailable, Expired."""
    items: list[Document] = []
    token: str | None = None
    while True:
        page = store.list(namespace, continue_token=token)
        items += page.items
        token = page.continue_token
        if token is None:
            return JobPage(tuple(items), page.resource_version)
