"""Misspelt settings."""

import re
from pathlib import Path

import pytest

from thumbnails_contract.variables import VARIABLES, complaints

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_all_settings_are_known() -> None:
    """Add what is new to `VARIABLES`."""
    assert set(re.findall(r"`(THUMBNAILS_[A-Z0-9_]*[A-Z0-9])`", PAGE.read_text())) == VARIABLES


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("THUMBNAILS_MAX_WORKER", "THUMBNAILS_MAX_WORKER: there is no such setting; did you mean "),
        ("THUMBNAILS_COLOUR_OF_THE_LOGO", "THUMBNAILS_COLOUR_OF_THE_LOGO: there is no such setting"),
    ],
)
def test_what_is_no_setting_is_named(name: str, complaint: str) -> None:
    (line,) = complaints([name, "THUMBNAILS_MAX_WORKERS", "PATH"])
    assert line.startswith(complaint)
    assert ("THUMBNAILS_MAX_WORKERS" in line) is ("mean" in line)


def test_settings_files_of_secrets_and_what_the_command_reads_are_no_mistake() -> None:
    names = ["THUMBNAILS_DATA", "THUMBNAILS_S3_SECRET_KEY_FILE", "THUMBNAILS_URL", "THUMBNAILS_KEY"]
    assert list(complaints([*names, "WEBHOOK_URL"])) == []
