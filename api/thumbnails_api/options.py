"""Options of an upload: form fields and query parameters to what the ThumbnailJob's spec says."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from thumbnails_contract.errors import InvalidOption
from thumbnails_contract.spec import (
    DEFAULT_SIDE_PIXELS,
    TRANSPARENT,
    Fit,
    Format,
    Metadata,
    Output,
    Position,
    Priority,
    Webhook,
)

OPTION_NAMES: Final = (
    "width",
    "height",
    "fit",
    "position",
    "background",
    "format",
    "quality",
    "animated",
    "withoutEnlargement",
    "metadata",
    "webhookUrl",
    "priority",
    "ttlSecondsAfterFinished",
)

MAX_QUALITY: Final = 100
MAX_TTL_SECONDS: Final = 2**31 - 1
MAX_URL_LENGTH: Final = 2048
_MAX_QUERY_FIELDS: Final = 50
_SHOWN_LENGTH: Final = 40

_WHOLE_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_COLOUR = re.compile(r"#?([0-9a-f]{6}(?:[0-9a-f]{2})?)", re.ASCII)
_TRUE: Final = frozenset({"true", "1", "on", "yes"})  # "on" is what a checkbox sends
_FALSE: Final = frozenset({"false", "0", "off", "no"})
_FORMAT_ALIASES: Final = {"jpg": "jpeg", "tif": "tiff"}


def _any_of(words: type[StrEnum]) -> str:
    return "one of " + ", ".join(word.value for word in words)


# What a value must be, for messages: made once, since every upload reads every option.
_ALLOWED_WORDS: Final[Mapping[type[StrEnum], str]] = {
    words: _any_of(words) for words in (Fit, Position, Format, Metadata, Priority)
}
_ALLOWED_FORMATS: Final = f"{_any_of(Format)}; or several of them, with commas in between"
_ALLOWED_COLOURS: Final = f"#rrggbb, #rrggbbaa or {TRANSPARENT}"
_ALLOWED_URLS: Final = f"an http or https URL of at most {MAX_URL_LENGTH} characters"

Word = TypeVar("Word", bound=StrEnum)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Options:
    """What all pictures of one request are to become."""

    outputs: tuple[Output, ...]
    webhook: Webhook | None
    priority: Priority
    ttl_seconds_after_finished: int | None


def parse_query(query: str) -> list[tuple[str, str]]:
    """The fields of a query string, in order, without empty ones. Raises InvalidOption for too many."""
    try:
        return parse_qsl(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        raise InvalidOption(f"There are more than {_MAX_QUERY_FIELDS} query parameters.") from None


def check_names(names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Raise InvalidOption for a name that does not exist, with the nearest one that does."""
    for name in names:
        if name not in allowed:
            raise InvalidOption(f"There is no option {_shown(name)}. {_suggestion(name, allowed)}")


def merge_fields(query: Iterable[tuple[str, str]], form: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value for each option; form fields win over the query, and an empty value is none.

    Forms have fields of their own (a title, a token against forgery): those are left alone, but for one
    that looks like a misspelt option. Raises InvalidOption for that, for unknown names in the query, and
    for two values from the same place.
    """
    merged: dict[str, str] = {}
    own_fields_aside = [(name, text) for name, text in form if name in OPTION_NAMES or _is_misspelt(name)]
    for place in (query, own_fields_aside):
        seen: set[str] = set()
        for name, text in place:
            check_names((name,), OPTION_NAMES)
            value = text.strip()
            if not value:
                continue
            if name in seen:
                raise InvalidOption(f"{name} was given more than once.")
            seen.add(name)
            merged[name] = value
    return merged


def parse_options(fields: Mapping[str, str], *, max_side_pixels: int) -> Options:
    """Options from the values of `merge_fields`.

    Raises InvalidOption, naming the field, its value and what is allowed.
    """

    def read(name: str, parse: Callable[[str], Value | None], default: Value, allowed: str) -> Value:
        text = fields.get(name)
        if text is None:
            return default
        value = parse(text)
        if value is None:
            raise InvalidOption(f"{name} is {_shown(text)}, but must be {allowed}.")
        return value

    def read_word(name: str, words: type[Word], default: Word) -> Word:
        return read(name, lambda text: _word(words, text.lower()), default, _ALLOWED_WORDS[words])

    def read_number(name: str, least: int, most: int) -> int | None:
        allowed = f"a whole number from {least} to {most}"
        return read(name, lambda text: _whole_number(text, least, most), None, allowed)

    def read_boolean(name: str, *, default: bool) -> bool:
        return read(name, _boolean, default, "true or false")

    width = read_number("width", 1, max_side_pixels)
    height = read_number("height", 1, max_side_pixels)
    if width is None and height is None:
        width = height = DEFAULT_SIDE_PIXELS
    output = Output(
        width=width,
        height=height,
        fit=read_word("fit", Fit, Fit.COVER),
        position=read_word("position", Position, Position.CENTER),
        background=read("background", _colour, None, _ALLOWED_COLOURS),
        formats=read("format", _formats, (Format.AUTO,), _ALLOWED_FORMATS),
        quality=read_number("quality", 1, MAX_QUALITY),
        animated=read_boolean("animated", default=True),
        without_enlargement=read_boolean("withoutEnlargement", default=False),
        metadata=read_word("metadata", Metadata, Metadata.STRIP),
    )
    return Options(
        outputs=(output,),
        webhook=read("webhookUrl", _webhook, None, _ALLOWED_URLS),
        priority=read_word("priority", Priority, Priority.INTERACTIVE),
        ttl_seconds_after_finished=read_number("ttlSecondsAfterFinished", 0, MAX_TTL_SECONDS),
    )


def _whole_number(text: str, least: int, most: int) -> int | None:
    if not _WHOLE_NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if least <= number <= most else None


def _word(words: type[Word], text: str) -> Word | None:
    return next((word for word in words if word.value == text), None)


def _boolean(text: str) -> bool | None:
    text = text.lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _colour(text: str) -> str | None:
    text = text.lower()
    if text == TRANSPARENT:
        return text
    # A bare "#" in a URL begins its fragment, so the digits alone are understood too.
    match = _COLOUR.fullmatch(text)
    return f"#{match[1]}" if match else None


def _formats(text: str) -> tuple[Format, ...] | None:
    formats: list[Format] = []
    for part in text.lower().split(","):
        name = part.strip()
        word = _word(Format, _FORMAT_ALIASES.get(name, name))
        if word is None:
            return None
        if word not in formats:
            formats.append(word)
    return tuple(formats)


def _webhook(text: str) -> Webhook | None:
    if len(text) > MAX_URL_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        return None
    try:
        url = urlsplit(text)
        _ = url.port  # raises ValueError when it is no number
    except ValueError:
        return None
    is_web = url.scheme in {"http", "https"} and bool(url.hostname)
    # Credentials in a URL end in logs; a fragment never reaches a server.
    return Webhook(text) if is_web and "@" not in url.netloc and not url.fragment else None


def _suggestion(name: str, allowed: tuple[str, ...]) -> str:
    by_lower = {word.lower(): word for word in allowed}
    near = difflib.get_close_matches(name.lower()[:_SHOWN_LENGTH], by_lower, n=1, cutoff=0.5)
    return f"Did you mean {by_lower[near[0]]}?" if near else f"There are: {', '.join(allowed)}."


def _is_misspelt(name: str) -> bool:
    lower = name.lower()[:_SHOWN_LENGTH]
    return bool(difflib.get_close_matches(lower, [word.lower() for word in OPTION_NAMES], n=1, cutoff=0.75))


def _shown(text: str) -> str:
    """`text` for a message: quoted, without control characters, short."""
    short = text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "..."
    return repr(short)
