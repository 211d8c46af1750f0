"""Which state is the newer one."""

import pytest

from thumbnails_common.resource_version import is_newer, number_of


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("7", "7", False),
        ("b", "a", True),
        ("a", "a", False),
        ("7", "a", True),
        ("", "", False),
    ],
)
def test_versions_are_numbers_where_they_can_be(version: str, than: str, newer: bool) -> None:
    assert is_newer(version, than) is newer


def test_what_is_no_number_is_older_than_anything() -> None:
    assert [number_of(text) for text in ("12", "", "x", "-1")] == [12, 0, 0, 0]
