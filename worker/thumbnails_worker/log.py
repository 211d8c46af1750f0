"""Log lines of the worker: one JSON object a line on standard error, without any URL or token."""

import json
import logging
import sys
from typing import Any, Final

_FIELDS: Final = ("job", "lease", "seconds", "reason", "detail", "count")


class JsonFormatter(logging.Formatter):
    """`{"time": ..., "level": ..., "msg": ...}` and those of our own fields that a line has."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        data: dict[str, Any] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "component": "worker",
            "msg": record.getMessage(),
        }
        data.update({name: vars(record)[name] for name in _FIELDS if name in vars(record)})
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=False)


def set_up(level: str) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    # urllib3 names URLs, and ours carry signatures.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
