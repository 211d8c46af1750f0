"""What was uploaded from this machine, so that an interrupted `put` goes on where it was.

One SQLite file for all servers. A row is written before its upload begins, with the Idempotency-Key that the
upload carries: when the answer is lost, the next try gets the job that the first one made.
"""

import hashlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS uploads (
    recipe TEXT PRIMARY KEY,          -- hash of server, key, content and options
    idempotency_key TEXT NOT NULL,
    job TEXT                          -- NULL: the answer was not seen
) WITHOUT ROWID
"""
_BUSY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One upload that was begun; `job` is its id once the server has answered."""

    recipe: str
    idempotency_key: str
    job: str | None


def default_path(env: Mapping[str, str]) -> Path:
    """In the user's state folder (XDG Base Directory Specification)."""
    state = env.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "thumbnails" / "uploads.sqlite3"


def recipe_of(server: str, key: str | None, digest: str, options: Mapping[str, Any]) -> str:
    """What makes two uploads the same: to whom, as whom, which bytes, what for."""
    parts = [server, key or "", digest, json.dumps(options, sort_keys=True, default=str)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Journal:
    """May be used by threads, and by several commands at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(_SCHEMA)

    def begin(self, recipe: str, *, again: bool = False) -> Entry:
        """What is known of this upload; `again` forgets it, so that a new job is made."""
        with self._lock:
            if again:
                self._database.execute("DELETE FROM uploads WHERE recipe = ?", (recipe,))
            self._database.execute(
                "INSERT INTO uploads (recipe, idempotency_key) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (recipe, str(uuid.uuid4())),
            )
            row = self._database.execute(
                "SELECT recipe, idempotency_key, job FROM uploads WHERE recipe = ?", (recipe,)
            ).fetchone()
        return Entry(*row)

    def finish(self, entry: Entry, job: str) -> None:
        """The server has answered with this job."""
        with self._lock:
            self._database.execute("UPDATE uploads SET job = ? WHERE recipe = ?", (job, entry.recipe))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
