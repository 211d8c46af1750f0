"""How every component logs: one line a record on stderr, as text or JSON, without secrets.

Nothing should hand a secret to a logger in the first place; the redaction here is the last line of
defence, since texts of other libraries (urllib3's, for one) hold presigned URLs.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Self, TextIO

from .environment import Environment

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")

# Libraries that tell every request or connection, with its URL, below WARNING.
_CHATTY: Final = ("urllib3", "waitress", "asyncio", "aiohttp.access", "PIL", "minio")

_REDACTED: Final = "[redacted]"
_SECRETS: Final = re.compile(
    r"""
      (?P<query>\?)[^\s"'<>?]*(?:X-Amz-|Signature=|token=)[^\s"'<>]*    # a presigned URL's whole query
    | (?P<name>(?:X-Amz-(?:Signature|Credential|Security-Token)|policy)["']?\s*[=:]\s*["']?)[^\s"'&,}]+
    | (?P<signature>\bSignature=)[0-9A-Za-z%/+=]+
    | (?P<bearer>\bBearer\s+)[\w.~+/=-]{16,}
    | (?P<webhook>\bwhsec_)[\w+/=-]+
    | (?P<key>\btn_[a-z0-9]{12}_)\w+                                  # an API key, all but its id
    """,
    re.VERBOSE | re.IGNORECASE,
)

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))

# The attributes that every record has; what a call gave as `extra` are all others.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """`text` without signatures, bearer tokens and webhook secrets."""
    return _SECRETS.sub(lambda match: (match[match.lastgroup] if match.lastgroup else "") + _REDACTED, text)


class _TextFormatter(logging.Formatter):
    """`12:00:00 WARNING api: message key=value`, for people."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f" {record.levelname}"
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        # Whatever a client has put into a path or a name: one record stays one line, and moves no cursor.
        said = _CONTROLS.sub(lambda match: repr(match[0])[1:-1], f"{record.getMessage()}{extras}")
        text = f"{at}{level} {self._component}: {said}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact(text)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "component": self._component,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in _extras(record).items():
            document.setdefault(name, value if isinstance(value, int | float | None) else redact(str(value)))
        if record.exc_info:
            document["exception"] = redact(self.formatException(record.exc_info))
        text = json.dumps(document, ensure_ascii=False)
        # What JSON leaves as it is, and a terminal obeys.
        return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_FORMATTERS: Final = {"text": _TextFormatter, "json": _JsonFormatter}
FORMATS: Final = tuple(_FORMATTERS)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much is logged (`level`, one of LEVELS), and in which form (`format`, one of FORMATS)."""

    level: str = "INFO"
    format: str = "json"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """From `THUMBNAILS_LOG_LEVEL` and `THUMBNAILS_LOG_FORMAT`. Raises InvalidSetting."""
        read = Environment(env)
        return cls(
            read.choice("THUMBNAILS_LOG_LEVEL", "INFO", LEVELS),
            read.choice("THUMBNAILS_LOG_FORMAT", "json", FORMATS),
        )


def configure(settings: LogSettings, component: str, *, stream: TextIO | None = None) -> None:
    """Send every log record of this process to stderr (or `stream`), and take over earlier handlers."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(_FORMATTERS[settings.format](component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[settings.level]))


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """Have every record of this thread, or task, say these as well, until the end of the block."""
    token = bind(**values)
    try:
        yield
    finally:
        unbind(token)


def bind(**values: object) -> Token[Mapping[str, object]]:
    """The same for those whose begin and end are two functions: `unbind` takes what this gives."""
    return _bound.set({**_bound.get(), **values})


def unbind(token: Token[Mapping[str, object]]) -> None:
    """As before `bind`."""
    _bound.reset(token)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    own = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**_bound.get(), **own}
