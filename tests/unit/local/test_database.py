"""The SQLite file: its version, its troubles in our words, its state after them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from thumbnails_contract.errors import JobStoreUnavailable
from thumbnails_contract.job import JobKey, new_manifest
from thumbnails_contract.spec import Spec
from thumbnails_local.sqlite_store import SqliteJobStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteJobStore]:
    with closing(SqliteJobStore(path, durable=True, busy_timeout_seconds=0.05)) as store:
        yield store


def create(store: SqliteJobStore, name: str, annotation: str = "x") -> None:
    spec = Spec(object_key="sources/thumbnails/x")
    store.create(new_manifest(JobKey("thumbnails", name), spec, {"note": annotation}))


def test_jobs_outlive_the_store(store: SqliteJobStore, path: Path) -> None:
    create(store, "one")
    version = store.list().resource_version
    store.close()
    with closing(SqliteJobStore(path, durable=True)) as again:
        assert again.list().resource_version == version
        assert [job["metadata"]["name"] for job in again.list().items] == ["one"]
        create(again, "two")
        assert int(again.list().resource_version) > int(version)


def test_a_file_of_a_newer_version_is_refused(store: SqliteJobStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JobStoreUnavailable, match=r"version 99.*newer program"):
        SqliteJobStore(path, durable=True)


def test_a_file_that_is_something_else(path: Path) -> None:
    path.write_text("no database at all" * 1000)
    with pytest.raises(JobStoreUnavailable, match="damaged, or is something else"):
        SqliteJobStore(path, durable=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobStoreUnavailable) as caught:
        SqliteJobStore(tmp_path / "none" / "jobs.db", durable=True)
    assert str(tmp_path) not in caught.value.message


def test_a_long_lock_of_another_program(store: SqliteJobStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JobStoreUnavailable, match="locked"):
            create(store, "one")
        assert store.list().items == ()  # readers do not mind
    create(store, "one")


def test_a_full_disk_loses_nothing_and_ends(store: SqliteJobStore, path: Path) -> None:
    create(store, "one")
    # A bound on the file's pages is what SQLite itself takes for a full disk.
    with store._database.connection() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(JobStoreUnavailable, match="full"):
        create(store, "more", "x" * 200_000)
    assert store.get("thumbnails", "one")["metadata"]["name"] == "one"
    create(store, "after")  # the connection that failed was given up, and its bound with it


def test_a_damaged_file(store: SqliteJobStore, path: Path) -> None:
    for number in range(50):
        create(store, f"job-{number}", "x" * 5_000)
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with closing(SqliteJobStore(path, durable=True)) as damaged:
        with pytest.raises(JobStoreUnavailable, match="damaged") as caught:
            damaged.list()
        assert caught.value.status == 503


def test_old_revisions_are_pruned_and_live_jobs_are_not(path: Path) -> None:
    with closing(SqliteJobStore(path, durable=False, kept_revisions=10)) as store:
        create(store, "kept")
        for _ in range(50):
            create(store, "churn")
            store.delete("thumbnails", "churn")
        with store._database.connection() as connection:
            (count,) = connection.execute("SELECT count(*) FROM revisions").fetchone()
        assert count < 30
        assert [job["metadata"]["name"] for job in store.list().items] == ["kept"]
