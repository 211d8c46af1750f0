"""The SQLite file of the job store: its schema, its connections, and its errors in our words."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from thumbnails_contract.errors import JobStoreUnavailable

SCHEMA_VERSION: Final = 1

# Every revision of every job, as etcd keeps them: a revision is the state of its job from its own
# resource_version until that of the one that replaced it. What is live now has replaced_by NULL; a
# deletion is a revision that is replaced by itself, so it is no state at any time. Thus a list "as of"
# a resourceVersion and a watch from one both read this one table, and a document is written once. A
# second index would cost each write a page more.
_SCHEMA: Final = (
    """
    CREATE TABLE revisions (
      resource_version INTEGER PRIMARY KEY,
      type TEXT NOT NULL,
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      replaced_by INTEGER,
      document TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX named ON revisions (namespace, name, replaced_by)",
    """
    CREATE TRIGGER replacing AFTER INSERT ON revisions BEGIN
      UPDATE revisions SET replaced_by = new.resource_version
      WHERE namespace = new.namespace AND name = new.name
        AND replaced_by IS NULL AND resource_version < new.resource_version;
    END
    """,
    "CREATE TABLE compaction (horizon INTEGER NOT NULL) STRICT",
    "INSERT INTO compaction VALUES (0)",
)

_MAX_IDLE_CONNECTIONS: Final = 8

_PRIMARY_CODE_MASK: Final = 0xFF
_MESSAGES: Final = {
    sqlite3.SQLITE_FULL: "The disk that holds the jobs is full.",
    sqlite3.SQLITE_READONLY: "The file that holds the jobs cannot be written.",
    sqlite3.SQLITE_PERM: "The file that holds the jobs cannot be written.",
    sqlite3.SQLITE_CANTOPEN: "The file that holds the jobs cannot be opened.",
    sqlite3.SQLITE_IOERR: "The disk that holds the jobs cannot be read or written.",
    sqlite3.SQLITE_BUSY: "The file that holds the jobs is locked by another program.",
    sqlite3.SQLITE_LOCKED: "The file that holds the jobs is locked by another program.",
    sqlite3.SQLITE_CORRUPT: "The file that holds the jobs is damaged.",
    sqlite3.SQLITE_NOTADB: "The file that holds the jobs is damaged, or is something else.",
}


class Database:
    """Connections to one file, for any number of threads and processes.

    `durable`: a commit is on the disk when it returns; otherwise a power failure (not a crash of a
    process) may take the last commits back, all from some moment on. Every method raises
    JobStoreUnavailable instead of SQLite's errors.
    """

    def __init__(self, path: Path, *, durable: bool, busy_timeout_seconds: float) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "NORMAL"
        self._busy_timeout_seconds = busy_timeout_seconds
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._lock = threading.Lock()
        # SQLite makes rival writers sleep; threads of this process need not go that far.
        self._writer = threading.Lock()
        with self.connection() as connection:
            _prepare(connection)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for single statements, each of which sees a state of its own."""
        connection: sqlite3.Connection | None = None
        sound = False
        try:
            connection = self._take()
            yield connection
            sound = True
        except sqlite3.Error as error:
            raise _unavailable(error) from error
        except Exception:
            sound = True  # it is not SQLite that failed
            raise
        finally:
            if connection is not None:
                self._give_back(connection, sound=sound)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file throughout."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write; committed when the block ends without an error."""
        with self._writer, self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Release idle connections now, and those in use when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise JobStoreUnavailable("The job store is closed.")
            if self._idle:
                return self._idle.pop()
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout_seconds,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time has it
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: sqlite3.Connection, *, sound: bool) -> None:
        with self._lock:
            if sound and not self._closed and len(self._idle) < _MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or check that they are the ones that this version knows."""
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        connection.execute("ROLLBACK")
        raise JobStoreUnavailable(
            f"The file that holds the jobs has version {version}, and this program knows versions up to "
            f"{SCHEMA_VERSION}: run the newer program that wrote it.",
            retry_after_seconds=None,
        )
    if version == 0:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _unavailable(error: sqlite3.Error) -> JobStoreUnavailable:
    code = getattr(error, "sqlite_errorcode", None)  # absent when Python itself raised it
    message = _MESSAGES.get(code & _PRIMARY_CODE_MASK, "") if code is not None else ""
    return JobStoreUnavailable(message or "The file that holds the jobs cannot be used.")
