"""Where a page of `GET /jobs` begins: the cursor that names a place in the order of jobs, and its filters."""

import base64
import binascii
import json
from typing import Final

from thumbnails_contract.errors import InvalidOption
from thumbnails_contract.history import Position
from thumbnails_contract.names import is_job_name, is_label_name
from thumbnails_contract.status import REST_STATUS, Phase

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
_MAX_LIMIT_DIGITS: Final = 6


def encode_cursor(position: Position) -> str:
    """The cursor for what comes after `position`: URL-safe, and opaque to clients."""
    text = json.dumps(list(position), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """The place in a cursor made by `encode_cursor`. Raises InvalidOption."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        seconds, name = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise InvalidOption("cursor is not one that this service gave out.") from None
    if type(seconds) is not int or not isinstance(name, str) or not is_job_name(name):
        raise InvalidOption("cursor is not one that this service gave out.")
    return Position(seconds, name)


def parse_limit(text: str | None) -> int:
    """How many jobs a page has at most. Raises InvalidOption."""
    if text is None:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdigit() and len(text) <= _MAX_LIMIT_DIGITS and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidOption(f"limit must be a whole number from 1 to {MAX_LIMIT}.")


def parse_batch(text: str | None) -> str | None:
    """The batch to list; one that there is not has no jobs. Raises InvalidOption."""
    if text is None or is_label_name(text):
        return text
    raise InvalidOption("batch must be the batchId of an upload.")


def parse_statuses(text: str | None) -> frozenset[Phase]:
    """The phases to list, from the words of the REST contract with commas between. Raises InvalidOption."""
    if text is None:
        return frozenset(Phase)
    by_word = {word: phase for phase, word in REST_STATUS.items()}
    try:
        return frozenset(by_word[word.strip()] for word in text.split(","))
    except KeyError:
        raise InvalidOption(f"status must be one or more of {', '.join(by_word)}.") from None
