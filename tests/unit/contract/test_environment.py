"""Settings from environment variables: unset is unset, and what is wrong is one clear line."""

from pathlib import Path

import pytest

from thumbnails_contract.environment import Environment, InvalidSetting


@pytest.mark.parametrize("values", [{}, {"X": ""}, {"X": "  "}])
def test_unset_and_empty_are_the_default(values: dict[str, str]) -> None:
    read = Environment(values)
    assert read.text("X", "a") == "a"
    assert read.integer("X", 1) == 1
    assert read.number("X", 1.5) == 1.5
    assert read.choice("X", "one", ["one", "two"]) == "one"


def test_values_are_read() -> None:
    read = Environment({"INT": " 7 ", "NUMBER": "1.25", "WORD": "TWO", "TEXT": " a b "})
    assert read.integer("INT", 0) == 7
    assert read.number("NUMBER", 0) == 1.25
    assert read.choice("WORD", "one", ["one", "two"]) == "two"
    assert read.text("TEXT", "") == "a b"


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "1e3", "4", "11", "9" * 100, "\u0663"])
def test_a_wrong_whole_number(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^X: must be a whole number from 5 to 10, not '"):
        Environment({"X": text}).integer("X", 5, least=5, most=10)


@pytest.mark.parametrize("text", ["x", "-1", "inf", "nan", "1e3", "0.4", "2 s"])
def test_a_wrong_number(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^X: must be a number of 0.5 or more, not '"):
        Environment({"X": text}).number("X", 1, least=0.5)


def test_a_wrong_value_is_not_repeated_at_any_length() -> None:
    with pytest.raises(InvalidSetting) as raised:
        Environment({"X": "y" * 10_000}).integer("X", 1)
    assert len(str(raised.value)) < 120


def test_a_secret_is_a_value_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    assert Environment({"X": "given"}).secret("X") == "given"
    assert Environment({"X_FILE": str(tmp_path / "secret")}).secret("X") == "from the file"


@pytest.mark.parametrize(("content", "text"), [(None, "cannot be read"), (" \n", "is empty")])
def test_a_secret_that_is_not_there(tmp_path: Path, content: str | None, text: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidSetting, match=f"^X_FILE: .*{text}"):
        Environment({"X_FILE": str(file)}).secret("X")
    with pytest.raises(InvalidSetting, match=r"^X: must be set, or X_FILE"):
        Environment({}).secret("X")


def test_an_optional_secret_is_its_default_where_nothing_is_set(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    assert Environment({}).optional_secret("THUMBNAILS_X") == ""
    assert Environment({"THUMBNAILS_X": " "}).optional_secret("THUMBNAILS_X", "default") == "default"
    assert Environment({"THUMBNAILS_X": "value"}).optional_secret("THUMBNAILS_X") == "value"
    assert Environment({"THUMBNAILS_X_FILE": str(file)}).optional_secret("THUMBNAILS_X") == "from a file"
    with pytest.raises(InvalidSetting, match=r"^THUMBNAILS_X_FILE: cannot be read"):
        Environment({"THUMBNAILS_X_FILE": str(tmp_path / "none")}).optional_secret("THUMBNAILS_X")
