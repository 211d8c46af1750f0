"""A data folder gets a first API key when it never had one."""

import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from thumbnails_api.keys import digest_of, parse_entries, revoke
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_local.data_folder import DataFolder
from thumbnails_local.first_key import NAME, make_first_key

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


def entries(folder: DataFolder) -> dict[str, bytes]:
    stored = DirectoryKeyStore(folder.api_keys).read()
    return dict(stored.entries) if stored is not None else {}


def test_the_key_is_in_a_file_for_its_owner_alone_and_its_hash_is_known(folder: DataFolder) -> None:
    make_first_key(folder, NOW, secrets.choice)
    key = folder.first_key.read_text().strip()
    assert stat.S_IMODE(folder.first_key.stat().st_mode) == 0o600
    keys, troubles = parse_entries(entries(folder))
    (record,) = keys.values()
    assert troubles == []
    assert (record.account, record.name, record.created_at) == ("default", NAME, NOW)
    assert record.digest == digest_of(key)


def test_a_folder_that_has_keys_gets_none(folder: DataFolder) -> None:
    make_first_key(folder, NOW, secrets.choice)
    folder.first_key.unlink()
    before = entries(folder)
    make_first_key(folder, NOW, secrets.choice)
    assert entries(folder) == before
    assert not folder.first_key.exists()


def test_a_key_that_was_revoked_does_not_come_back(folder: DataFolder) -> None:
    make_first_key(folder, NOW, secrets.choice)
    ((key_id, _),) = entries(folder).items()
    DirectoryKeyStore(folder.api_keys).update(lambda keys: revoke(key_id, keys, NOW))
    make_first_key(folder, NOW, secrets.choice)
    keys, _ = parse_entries(entries(folder))
    assert [key.revoked_at for key in keys.values()] == [NOW]


def test_one_that_was_cut_short_is_made_anew(folder: DataFolder) -> None:
    folder.first_key.write_text("of no use\n")
    make_first_key(folder, NOW, secrets.choice)
    keys, _ = parse_entries(entries(folder))
    assert next(iter(keys.values())).digest == digest_of(folder.first_key.read_text().strip())
