"""Reads settings from environment variables, for every component: one way to be unset, and to be wrong.

Unset and empty are the same. What is wrong is an InvalidSetting: one line that names the variable, fit
to be shown to whoever starts the component.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_WHOLE: Final = re.compile(r"[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_SHOWN: Final = 40  # characters of a wrong value that are repeated


class InvalidSetting(ValueError):
    """A variable has a value that cannot be used; the text is one line that names it."""


class Environment:
    """Typed access to environment variables. Every method may raise InvalidSetting."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def value(self, variable: str, default: T, convert: Callable[[str], T]) -> T:
        """What `convert` makes of the text; its ValueError says what is wrong ("must be ...")."""
        text = self._values.get(variable, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError as error:
            raise InvalidSetting(f"{variable}: {error}") from None

    def text(self, variable: str, default: str) -> str:
        """Any text."""
        return self.value(variable, default, str)

    def integer(self, variable: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        """A whole number within bounds."""

        def convert(text: str) -> int:
            if not _WHOLE.fullmatch(text) or not _within(int(text), least, most):
                raise ValueError(f"must be a whole number {_bounds(least, most)}, not {shown(text)}")
            return int(text)

        return self.value(variable, default, convert)

    def number(self, variable: str, default: float, *, least: float = 0, most: float | None = None) -> float:
        """A decimal number within bounds: seconds, days."""

        def convert(text: str) -> float:
            if not _DECIMAL.fullmatch(text) or not _within(float(text), least, most):
                raise ValueError(f"must be a number {_bounds(least, most)}, not {shown(text)}")
            return float(text)

        return self.value(variable, default, convert)

    def choice(self, variable: str, default: str, choices: Iterable[str]) -> str:
        """One of some words, which are upper or lower case themselves."""

        def convert(text: str) -> str:
            found = next((word for word in choices if word.lower() == text.lower()), None)
            if found is None:
                raise ValueError(f"must be one of {', '.join(choices)}, not {shown(text)}")
            return found

        return self.value(variable, default, convert)

    def optional_secret(self, variable: str, default: str = "") -> str:
        """The same as `secret`; the default when neither is set."""
        is_set = self.text(variable, "") or self.text(f"{variable}_FILE", "")
        return self.secret(variable) if is_set else default

    def secret(self, variable: str) -> str:
        """The value, or the content of the file that `<variable>_FILE` names; one of them must be."""
        if text := self.text(variable, ""):
            return text
        path = self.text(f"{variable}_FILE", "")
        if not path:
            raise InvalidSetting(
                f"{variable}: must be set, or {variable}_FILE must name a file that holds it"
            )
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(f"{variable}_FILE: cannot be read ({type(error).__name__})") from None
        if not text:
            raise InvalidSetting(f"{variable}_FILE: the file is empty")
        return text


def shown(text: str) -> str:
    """A wrong value as messages repeat it: quoted, and not at any length."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _within(number: float, least: float, most: float | None) -> bool:
    return least <= number and (most is None or number <= most)


def _bounds(least: float, most: float | None) -> str:
    return f"of {least:g} or more" if most is None else f"from {least:g} to {most:g}"
