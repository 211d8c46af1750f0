"""Tombstones survive the trip through the object store, and nothing else passes for one."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_common.tombstone import MAX_BYTES, InvalidTombstone, Tombstone

DELETED_AT = datetime(2026, 11, 24, 5, 45, 54, tzinfo=UTC)
TOMBSTONE = Tombstone(
    "team-a", "photo", "uid-1", ("sources/team-a/x", "thumbnails/team-a/y"), DELETED_AT, "shop"
)


def test_the_form_in_the_object_store() -> None:
    assert json.loads(TOMBSTONE.to_bytes()) == {
        "version": 1,
        "namespace": "team-a",
        "name": "photo",
        "uid": "uid-1",
        "keys": ["sources/team-a/x", "thumbnails/team-a/y"],
        "account": "shop",
        "deletedAt": "2026-11-24T05:45:54Z",
    }


def test_one_of_an_earlier_version_says_no_account() -> None:
    document = json.loads(TOMBSTONE.to_bytes())
    del document["account"]
    assert Tombstone.parse(json.dumps(document).encode()).account == ""


@given(
    st.builds(
        Tombstone,
        namespace=st.text(),
        name=st.text(),
        uid=st.text(),
        keys=st.lists(st.text()).map(tuple),
        account=st.text(),
        deleted_at=st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    )
)
def test_what_was_written_is_read_back(tombstone: Tombstone) -> None:
    assert Tombstone.parse(tombstone.to_bytes()) == tombstone


def test_the_largest_job_fits() -> None:
    keys = tuple("x" * 1024 for _ in range(8 * 7 + 1))
    assert len(Tombstone("n" * 63, "j" * 253, "u" * 36, keys, DELETED_AT).to_bytes()) < MAX_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"namespace": 7},
        {"uid": None},
        {"keys": "sources/a"},
        {"keys": [1]},
        {"keys": None},
        {"deletedAt": "yesterday"},
        {"deletedAt": "2026-11-24T05:45:54"},
        {"deletedAt": 0},
        {"account": None},
    ],
)
def test_another_shape_is_refused(change: dict[str, object]) -> None:
    document = json.loads(TOMBSTONE.to_bytes()) | change
    with pytest.raises(InvalidTombstone):
        Tombstone.parse(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_what_is_no_tombstone_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidTombstone):
        Tombstone.parse(data)
