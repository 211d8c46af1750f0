"""docs/formats.md says what the table says, and keeps what was measured."""

import re

from hack.formats.page import PAGE, page
from hack.formats.table import KINDS


def test_the_page_of_formats_is_made_from_the_table() -> None:
    text = PAGE.read_text("utf-8")
    assert text == page(text), "run make docs"


def test_settings_that_are_named_are_those_of_the_page_of_settings() -> None:
    known = (PAGE.parent / "settings.md").read_text("utf-8")
    for name in re.findall(r"THUMBNAILS_\w+", PAGE.read_text("utf-8")):
        assert f"`{name}`" in known, name


def test_what_was_measured_is_kept() -> None:
    measured = "<!-- begin: memory -->\n## Peak memory\n\n3 MiB\n<!-- end: memory -->\n"
    assert measured in page(f"old words\n{measured}old words\n")
    assert "old words" not in page(f"old words\n{measured}old words\n")


def test_every_kind_has_a_name_of_its_own_and_says_what_comes_out() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert (kind.shows is None) == (kind.out == "") == bool(kind.refused), kind.name
        assert "|" not in kind.name + kind.what + kind.note + kind.differs, kind.name
