"""Options of an upload: form fields and query parameters to what the ThumbnailJob's spec says.

What thumbnails there shall be is said by `outputs` (a JSON array), by `preset` (a name that an administrator
gave to such an array), or by the options of one thumbnail, which may also change a preset of one.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from thumbnails_contract.errors import InvalidOption
from thumbnails_contract.names import DEFAULT_OUTPUT, is_label_name
from thumbnails_contract.spec import (
    DEFAULT_SIDE_PIXELS,
    MAX_OUTPUTS,
    TRANSPARENT,
    BatchWebhooks,
    Fit,
    Format,
    Metadata,
    Output,
    Position,
    Priority,
    Webhook,
)

OUTPUT_OPTION_NAMES: Final = (
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
)
OPTION_NAMES: Final = (
    *OUTPUT_OPTION_NAMES,
    "outputs",
    "preset",
    "webhookUrl",
    "batchWebhooks",
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
    words: _any_of(words) for words in (Fit, Position, Format, Metadata, Priority, BatchWebhooks)
}
_ALLOWED_FORMATS: Final = f"{_any_of(Format)}; or several of them, with commas in between"
_ALLOWED_COLOURS: Final = f"#rrggbb, #rrggbbaa or {TRANSPARENT}"
_ALLOWED_NAMES: Final = "a lower-case word of letters, digits and hyphens"
# A webhook's URL may hold a password or a token: it is not repeated.
_SECRET_NAMES: Final = frozenset({"webhookUrl"})
_ALLOWED_URLS: Final = f"an http or https URL of at most {MAX_URL_LENGTH} characters"

Word = TypeVar("Word", bound=StrEnum)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Options:
    """What all pictures of one request are to become. `priority` is None when none was asked for."""

    outputs: tuple[Output, ...]
    webhook: Webhook | None
    batch_webhooks: BatchWebhooks
    priority: Priority | None
    ttl_seconds_after_finished: int | None


def parse_query(query: str) -> list[tuple[str, str]]:
    """The fields of a query string, in order, with empty ones. Raises InvalidOption for too many."""
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
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


# The fields of each thumbnail, as texts, with `name`.
OutputFields = tuple[Mapping[str, str], ...]


def parse_options(
    fields: Mapping[str, str],
    *,
    max_side_pixels: int,
    presets: Mapping[str, OutputFields] = MappingProxyType({}),
) -> Options:
    """Options from the values of `merge_fields`.

    Raises InvalidOption, naming the field, its value and what is allowed.
    """
    job = _Reader(fields)
    return Options(
        outputs=parse_outputs(_output_fields(fields, presets), max_side_pixels=max_side_pixels),
        webhook=job.read("webhookUrl", _webhook, None, _ALLOWED_URLS),
        batch_webhooks=job.word("batchWebhooks", BatchWebhooks, BatchWebhooks.BOTH),
        priority=job.optional_word("priority", Priority),
        ttl_seconds_after_finished=job.number("ttlSecondsAfterFinished", 0, MAX_TTL_SECONDS),
    )


def output_list(document: object) -> OutputFields:
    """The JSON of `outputs` as fields: an object for each thumbnail, or one object. Raises InvalidOption."""
    items = [document] if isinstance(document, dict) else document
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_OUTPUTS:
        raise InvalidOption(f"outputs must be a JSON array of 1 to {MAX_OUTPUTS} objects.")
    return tuple(_texts(item, _place(index, len(items))) for index, item in enumerate(items))


def parse_outputs(items: OutputFields, *, max_side_pixels: int) -> tuple[Output, ...]:
    """The thumbnails that are asked for. Raises InvalidOption."""
    outputs = tuple(
        _parse_output(_Reader(item, _place(index, len(items))), max_side_pixels)
        for index, item in enumerate(items)
    )
    if len({output.name for output in outputs}) < len(outputs):
        raise InvalidOption("Each of the outputs needs a name of its own.")
    return outputs


def _output_fields(fields: Mapping[str, str], presets: Mapping[str, OutputFields]) -> OutputFields:
    own = {name: text for name, text in fields.items() if name in OUTPUT_OPTION_NAMES}
    if "outputs" in fields and ("preset" in fields or own):
        beside = "preset" if "preset" in fields else next(iter(own))
        raise InvalidOption(f"{beside} cannot be given beside outputs.")
    if "outputs" in fields:
        try:
            document = json.loads(fields["outputs"])
        except (ValueError, RecursionError):
            raise InvalidOption("outputs is no JSON.") from None
        return output_list(document)
    if "preset" not in fields:
        return (own,)
    items = presets.get(fields["preset"])
    if items is None:
        known = f"There are: {', '.join(presets)}." if presets else "There are none on this service."
        raise InvalidOption(f"There is no preset {_shown(fields['preset'])}. {known}")
    if own and len(items) > 1:
        raise InvalidOption(f"{next(iter(own))} cannot be given beside a preset of several outputs.")
    return (dict(items[0]) | own,) if own else items


def _texts(item: object, place: str) -> dict[str, str]:
    """A JSON object as form fields: numbers, booleans and lists as one would type them."""
    if not isinstance(item, dict):
        raise InvalidOption(f"{place.removesuffix('.') or 'outputs'} is no JSON object.")
    texts: dict[str, str] = {}
    for name, value in item.items():
        check_names((name,), ("name", *OUTPUT_OPTION_NAMES))
        if value is None:
            continue
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            texts[name] = ",".join(value)
        elif isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            texts[name] = str(value)
        else:
            raise InvalidOption(f"{place}{name} is no text, no whole number, and not true or false.")
    return texts


def _place(index: int, count: int) -> str:
    return f"outputs[{index}]." if count > 1 else ""


class _Reader:
    """Fields of one kind, whose values are parsed once; `place` goes before their names in messages."""

    def __init__(self, fields: Mapping[str, str], place: str = "") -> None:
        self._fields = fields
        self._place = place

    def read(self, name: str, parse: Callable[[str], Value | None], default: Value, allowed: str) -> Value:
        text = self._fields.get(name)
        if text is None:
            return default
        value = parse(text)
        if value is None:
            said = "" if name in _SECRET_NAMES else f"is {_shown(text)}, but "
            raise InvalidOption(f"{self._place}{name} {said}must be {allowed}.")
        return value

    def word(self, name: str, words: type[Word], default: Word) -> Word:
        return self.read(name, lambda text: _word(words, text.lower()), default, _ALLOWED_WORDS[words])

    def optional_word(self, name: str, words: type[Word]) -> Word | None:
        return self.read(name, lambda text: _word(words, text.lower()), None, _ALLOWED_WORDS[words])

    def number(self, name: str, least: int, most: int) -> int | None:
        allowed = f"a whole number from {least} to {most}"
        return self.read(name, lambda text: _whole_number(text, least, most), None, allowed)

    def boolean(self, name: str, *, default: bool) -> bool:
        return self.read(name, _boolean, default, "true or false")


def _parse_output(reader: _Reader, max_side_pixels: int) -> Output:
    width = reader.number("width", 1, max_side_pixels)
    height = reader.number("height", 1, max_side_pixels)
    if width is None and height is None:
        width = height = DEFAULT_SIDE_PIXELS
    return Output(
        name=reader.read("name", _label, DEFAULT_OUTPUT, _ALLOWED_NAMES),
        width=width,
        height=height,
        fit=reader.word("fit", Fit, Fit.COVER),
        position=reader.word("position", Position, Position.CENTER),
        background=reader.read("background", _colour, None, _ALLOWED_COLOURS),
        formats=reader.read("format", _formats, (Format.AUTO,), _ALLOWED_FORMATS),
        quality=reader.number("quality", 1, MAX_QUALITY),
        animated=reader.boolean("animated", default=True),
        without_enlargement=reader.boolean("withoutEnlargement", default=False),
        metadata=reader.word("metadata", Metadata, Metadata.STRIP),
    )


def _label(text: str) -> str | None:
    return text if is_label_name(text) else None


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
