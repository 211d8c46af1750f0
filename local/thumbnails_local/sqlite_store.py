"""ThumbnailJobs in a SQLite file: what an API server with etcd is elsewhere, for several processes.

The API, the operator and whoever else opens the same file see one store: a watch in one process
reports what another one wrote, within a millisecond or so (`notify.py`).
"""

import json
import logging
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from typing import Any, Final, NamedTuple

from thumbnails_common.jobstore import (
    AlreadyExists,
    Conflict,
    Document,
    Expired,
    JobPage,
    ObjectMissing,
    Refused,
    WatchEvent,
    WatchEventType,
)
from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_contract.patch import merge_patch
from thumbnails_contract.timestamps import format_time

from .admission import Admission, is_qualified_name
from .database import Database
from .notify import Bell, Ringer

_log = logging.getLogger(__name__)

Rows = list[tuple[str, str, str]]
Revisions = list[tuple[int, str, str, str]]

# resourceVersion 0 means something else to an API server, so an empty store is at 1.
_FIRST_VERSION: Final = 1
_PRUNE_EVERY: Final = 1_024  # writes, so that one of them in a while pays for all
_EVENTS_A_READ: Final = 256
# How long a wake-up that got lost can delay an event.
_FALLBACK_SECONDS: Final = 0.25

# Always one row: the newest resourceVersion of all, and the job as it is now, or nulls. Each statement
# lets go of the interpreter's lock, and with many threads it is getting it back that takes time.
_SELECT_LIVE: Final = (
    "SELECT (SELECT coalesce(max(resource_version), ?) FROM revisions), resource_version, document "
    "FROM (SELECT 1) LEFT JOIN revisions ON namespace = ? AND name = ? AND replaced_by IS NULL"
)


class _Row(NamedTuple):
    newest: int
    version: int | None
    text: str | None


class SqliteJobStore:
    """The JobStore port on one file. See `thumbnails_common.jobstore` for what each method promises.

    `durable`: a write is on the disk when it returns (what a client was told must survive a power
    failure). `kept_revisions`: how far back, in writes, a watch or a continue token may lie before it
    is Expired. Raises JobStoreUnavailable when the file cannot be used, or is of a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool,
        admission: Admission | None = None,
        kept_revisions: int = 20_000,
        bookmark_seconds: float = 30.0,
        busy_timeout_seconds: float = 5.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._admission = admission or Admission.load()
        self._kept_revisions = kept_revisions
        self._bookmark_seconds = bookmark_seconds
        self._now = now
        self._new_uid = new_uid
        self._watchers = path.parent / "watchers"
        try:
            self._watchers.mkdir(exist_ok=True)
        except OSError as error:
            raise JobStoreUnavailable("The folder that holds the jobs cannot be written.") from error
        self._database = Database(path, durable=durable, busy_timeout_seconds=busy_timeout_seconds)
        self._ringer = Ringer(self._watchers)
        self._lock = Lock()
        self._closed = False
        self._watches: set[_Watch] = set()

    # ---- writing -------------------------------------------------------------------------------

    def create(self, manifest: Mapping[str, Any]) -> Document:
        """Store a new job. Raises AlreadyExists, Refused."""
        document = self._admission.create(manifest)
        metadata = document["metadata"]
        metadata |= {
            "uid": self._new_uid(),
            "generation": 1,
            "creationTimestamp": format_time(self._now()),
        }
        namespace, name = metadata["namespace"], metadata["name"]
        with self._database.writing() as connection:
            row = _look_up(connection, namespace, name)
            if row.version is not None:
                raise AlreadyExists(f'thumbnailjobs "{name}" already exists')
            self._append(connection, WatchEventType.ADDED, document, row.newest + 1)
        self._ring()
        return document

    def patch_spec(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str | None = None
    ) -> Document:
        """Merge-patch `spec`. Raises ObjectMissing, Conflict, Refused."""

        def revise(old: Document) -> Document:
            new = self._admission.update_spec(old, merge_patch(old["spec"], dict(patch)))
            if new["spec"] != old["spec"]:
                new["metadata"] = {**old["metadata"], "generation": old["metadata"]["generation"] + 1}
            return new

        return self._revise(namespace, name, resource_version, revise)

    def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, resource_version: str
    ) -> Document:
        """Merge-patch `status` at this resourceVersion. Raises ObjectMissing, Conflict, Refused."""

        def revise(old: Document) -> Document:
            return self._admission.update_status(old, merge_patch(old["status"], dict(patch)))

        return self._revise(namespace, name, resource_version, revise)

    def delete(
        self, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> None:
        """Delete a job, if it is the one given. Raises ObjectMissing, Conflict."""
        with self._database.writing() as connection:
            row = _look_up(connection, namespace, name)
            document = _read(row, name)
            if uid is not None and uid != document["metadata"]["uid"]:
                raise Conflict(f'thumbnailjobs "{name}" is another one: its uid is not the one given')
            _check_version(name, row, resource_version)
            self._append(connection, WatchEventType.DELETED, document, row.newest + 1)
        self._ring()

    def _ring(self) -> None:
        try:
            self._ringer.ring()
        except OSError as error:
            # What was written is written: watchers find it by themselves.
            _log.warning("watchers cannot be woken: %s", error.strerror)

    def _revise(
        self,
        namespace: str,
        name: str,
        resource_version: str | None,
        revise: Callable[[Document], Document],
    ) -> Document:
        with self._database.writing() as connection:
            row = _look_up(connection, namespace, name)
            old = _read(row, name)
            _check_version(name, row, resource_version)
            new = revise(old)
            if new == old:
                return old
            self._append(connection, WatchEventType.MODIFIED, new, row.newest + 1)
        self._ring()
        return new

    def _append(
        self, connection: Connection, type_: WatchEventType, document: Document, version: int
    ) -> None:
        """Write the next revision (the last one's end is a trigger's work), and say in it which it is."""
        metadata = document["metadata"]
        metadata["resourceVersion"] = str(version)
        connection.execute(
            "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)",
            (
                version,
                type_.value,
                metadata["namespace"],
                metadata["name"],
                version if type_ is WatchEventType.DELETED else None,
                json.dumps(document, separators=(",", ":")),
            ),
        )
        if version % min(_PRUNE_EVERY, self._kept_revisions) == 0:
            self._prune(connection, version - self._kept_revisions)

    def _prune(self, connection: Connection, horizon: int) -> None:
        if horizon > _FIRST_VERSION:
            connection.execute(
                "DELETE FROM revisions WHERE resource_version <= ? AND replaced_by <= ?", (horizon, horizon)
            )
            connection.execute("UPDATE compaction SET horizon = max(horizon, ?)", (horizon,))

    # ---- reading -------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Document:
        """One job, as it is now. Raises ObjectMissing."""
        with self._database.connection() as connection:
            return _read(_look_up(connection, namespace, name), name)

    def list(
        self,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_token: str | None = None,
    ) -> JobPage:
        """Jobs by namespace and name, all pages of one state. Raises Expired for an old continue token."""
        with self._database.reading() as connection:
            newest = _newest(connection)
            version, after = (newest, ("", "")) if continue_token is None else _read_token(continue_token)
            if version > newest or version < _horizon(connection):
                raise Expired("The continue token is too old: list again.")
            rows = self._rows(
                connection, version if version < newest else None, after, namespace, labels, limit
            )
        token = None
        if len(rows) > limit:
            rows = rows[:limit]
            token = _write_token(version, rows[-1][0], rows[-1][1])
        return JobPage(tuple(json.loads(text) for _, _, text in rows), str(version), token)

    def _rows(
        self,
        connection: Connection,
        version: int | None,
        after: tuple[str, str],
        namespace: str | None,
        labels: Mapping[str, str] | None,
        limit: int,
    ) -> Rows:
        """One row more than `limit` of the state at `version` (None: now)."""
        conditions = ["(namespace, name) > (?, ?)"]
        values: list[Any] = [*after]
        if version is None:
            conditions.append("replaced_by IS NULL")
        else:
            conditions.append("resource_version <= ? AND (replaced_by IS NULL OR replaced_by > ?)")
            values += [version, version]
        if namespace is not None:
            conditions.append("namespace = ?")
            values.append(namespace)
        for key, value in (labels or {}).items():
            if not is_qualified_name(key):
                raise Refused(f"labels: Invalid value: {key!r}: the key must be a qualified name")
            conditions.append("json_extract(document, ?) = ?")
            values += [f'$.metadata.labels."{key}"', value]
        rows: Rows = connection.execute(
            # Only constants of this function are put together here.
            f"SELECT namespace, name, document FROM revisions WHERE {' AND '.join(conditions)} "  # noqa: S608
            "ORDER BY namespace, name LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        return rows

    def check(self) -> None:
        """Return if the file can be read."""
        with self._database.connection() as connection:
            _newest(connection)

    # ---- watching ------------------------------------------------------------------------------

    def watch(
        self, resource_version: str, namespace: str | None = None, *, timeout_seconds: float = 300.0
    ) -> Generator[WatchEvent, None, None]:
        """Changes after `resource_version`, until the timeout. May be closed from another thread."""
        try:
            version = int(resource_version)
        except ValueError:
            raise Expired("This is no resourceVersion of this store: list again.") from None
        with self._database.connection() as connection:
            if version > _newest(connection):
                raise Expired("The resourceVersion is of another store: list again.")
        with self._lock:
            if self._closed:
                raise JobStoreUnavailable("The job store is closed.")
            try:
                bell = Bell(self._watchers)
            except OSError as error:
                raise JobStoreUnavailable("The folder that holds the jobs cannot be written.") from error
            watch = _Watch(self, bell, version, namespace, timeout_seconds, self._bookmark_seconds)
            self._watches.add(watch)
        return watch

    def events_after(self, version: int) -> Revisions:
        """Some of the next revisions: (resource_version, type, namespace, document). Raises Expired."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT resource_version, type, namespace, document, (SELECT horizon FROM compaction) "
                "FROM revisions WHERE resource_version > ? ORDER BY resource_version LIMIT ?",
                (version, _EVENTS_A_READ),
            ).fetchall()
        # The newest revision is never pruned, so no rows means that nothing happened since.
        if rows and version < rows[0][4]:
            raise Expired("The resourceVersion is too old: list again.")
        return [row[:4] for row in rows]

    def forget(self, watch: "_Watch") -> None:
        """A watch has ended."""
        with self._lock:
            self._watches.discard(watch)

    def close(self) -> None:
        """End open watches and release connections; later calls raise JobStoreUnavailable."""
        with self._lock:
            self._closed = True
            watches = list(self._watches)
        for watch in watches:
            watch.close()
        self._database.close()
        self._ringer.close()


class _Watch(Generator[WatchEvent, None, None]):
    """One watch. A generator whose `close` may also be called while another thread waits in it."""

    def __init__(
        self,
        store: SqliteJobStore,
        bell: Bell,
        version: int,
        namespace: str | None,
        timeout_seconds: float,
        bookmark_seconds: float,
    ) -> None:
        self._store = store
        self._bell = bell
        self._version = version  # up to here everything was delivered, or is in `_ready`
        self._namespace = namespace
        self._bookmark_seconds = bookmark_seconds
        self._ready: deque[WatchEvent] = deque()
        now = time.monotonic()
        self._deadline = now + timeout_seconds
        self._bookmark_due = now + bookmark_seconds
        self._delivered = version
        self._running = Lock()
        self._closing = False
        self._ended = False

    def send(self, _value: None, /) -> WatchEvent:
        """The next event, when there is one."""
        with self._running:
            try:
                event = None if self._closing or self._ended else self._next()
            except BaseException:
                self._end()
                raise
            if event is None:
                self._end()
                raise StopIteration
            return event

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> WatchEvent:
        """End the watch with an error, as in a generator that does not catch it."""
        self.close()
        return super().throw(typ, val, tb)

    def close(self) -> None:
        """End the watch; a thread that waits in it returns soon."""
        self._closing = True
        self._bell.ring()
        with self._running:
            self._end()

    def _next(self) -> WatchEvent | None:
        while not self._closing:
            if self._ready:
                event = self._ready.popleft()
                self._delivered = int(event.resource_version)
                self._bookmark_due = time.monotonic() + self._bookmark_seconds
                return event
            if self._read():
                continue
            now = time.monotonic()
            over = now >= self._deadline
            if now >= self._bookmark_due or (over and self._delivered < self._version):
                self._ready.append(WatchEvent(WatchEventType.BOOKMARK, {}, str(self._version)))
            elif over:
                return None
            else:
                self._bell.wait(min(_FALLBACK_SECONDS, self._deadline - now))
        return None

    def _read(self) -> bool:
        """Fetch what is new; whether there was anything, be it of other namespaces."""
        rows = self._store.events_after(self._version)
        for version, type_, namespace, text in rows:
            if self._namespace is None or namespace == self._namespace:
                self._ready.append(WatchEvent(WatchEventType(type_), json.loads(text), str(version)))
        if rows:
            self._version = rows[-1][0]
        return bool(rows)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._bell.close()
            self._store.forget(self)


def _look_up(connection: Connection, namespace: str, name: str) -> _Row:
    return _Row(*connection.execute(_SELECT_LIVE, (_FIRST_VERSION, namespace, name)).fetchone())


def _read(row: _Row, name: str) -> Document:
    if row.text is None:
        raise ObjectMissing(f'thumbnailjobs "{name}" not found')
    document: Document = json.loads(row.text)
    return document


def _check_version(name: str, row: _Row, wanted: str | None) -> None:
    if wanted is not None and wanted != str(row.version):
        raise Conflict(f'thumbnailjobs "{name}" has been modified; apply your changes to the latest version')


def _newest(connection: Connection) -> int:
    version: int = connection.execute(
        "SELECT coalesce(max(resource_version), ?) FROM revisions", (_FIRST_VERSION,)
    ).fetchone()[0]
    return version


def _horizon(connection: Connection) -> int:
    horizon: int = connection.execute("SELECT horizon FROM compaction").fetchone()[0]
    return horizon


def _write_token(version: int, namespace: str, name: str) -> str:
    return urlsafe_b64encode(json.dumps([version, namespace, name]).encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(urlsafe_b64decode(token.encode()))
        return int(version), (str(namespace), str(name))
    except ValueError:
        raise Expired("The continue token is not valid: list again.") from None
