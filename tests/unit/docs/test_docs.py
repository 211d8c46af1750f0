"""The documentation says what the code says: errors, settings, commands, links."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = ("api", "common", "crds", "local", "operator", "worker")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_page_of_errors_is_made_from_the_errors() -> None:
    spec = importlib.util.spec_from_file_location("docs_writer", ROOT / "hack" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run make docs"


def variables_in_code() -> Iterator[str]:
    for folder in CODE:
        for file in (ROOT / folder).rglob("*.py"):
            yield from re.findall(r"THUMBNAILS_[A-Z0-9_]*[A-Z0-9]", file.read_text())


def test_every_setting_is_documented_and_nothing_else() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    documented = set(re.findall(r"THUMBNAILS_[A-Z0-9_]*[A-Z0-9]", page))
    # Some settings put a prefix before a name: what counts is that the documented ones are read somewhere.
    names_in_code = {
        word
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        if file.name != "variables.py"  # a list of them all
        for word in re.findall(r"[A-Z0-9_]*[A-Z0-9]|[a-z0-9_]*[a-z0-9]", file.read_text())
    }
    internal = {"THUMBNAILS_S3", "THUMBNAILS_LISTEN_FDS"}
    assert set(variables_in_code()) - documented - internal == set()
    for variable in documented:
        short = variable.removeprefix("THUMBNAILS_")
        s3 = short.removeprefix("S3_").removesuffix("_FILE")
        assert {variable, short, s3, s3.lower()} & names_in_code, variable


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:api|common|crds|hack|local|operator|tests|worker|docs)/[\w./-]+)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_make_commands_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z0-9-]+)", page.read_text())) <= targets, page.name
