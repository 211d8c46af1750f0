"""Talks to the operator's exchange (`thumbnails_contract.wire`), for the supervisor."""

import json
from pathlib import Path
from typing import Final

from thumbnails_contract.wire import SILENCE_SECONDS, WORK_PATH, WorkAnswer, WorkRequest

from .connections import Connections, HttpFailure, Patience

_CONNECT_SECONDS: Final = 2.0
_OK: Final = 200


class ExchangeUnavailable(Exception):
    """The operator gave no usable answer; the message says in a word why, without any URL."""


class Exchange:
    """The client; safe to be used by two threads at once."""

    def __init__(self, url: str, token_file: str | None, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._url = url.rstrip("/") + WORK_PATH
        self._token_file = Path(token_file) if token_file else None
        self._silence_seconds = silence_seconds
        self._connections = Connections()

    def send(self, request: WorkRequest, timeout_seconds: float) -> WorkAnswer:
        """One request. Raises ExchangeUnavailable, also once nothing is heard for a while (wire.py)."""
        patience = Patience(_CONNECT_SECONDS, min(timeout_seconds, self._silence_seconds))
        headers = {"Content-Type": "application/json"}
        try:
            if self._token_file is not None:  # read each time: Kubernetes replaces it before it expires
                headers["Authorization"] = f"Bearer {self._token_file.read_text('utf-8').strip()}"
            body = json.dumps(request.to_wire(), separators=(",", ":")).encode()
            with self._connections.request("POST", self._url, patience, headers, body) as answer:
                if answer.status != _OK:
                    raise ExchangeUnavailable(f"status {answer.status}")
                return WorkAnswer.parse(json.loads(answer.read()))
        except HttpFailure as error:
            self._connections.clear()  # those that wait to be used again lead to the same operator
            raise ExchangeUnavailable(str(error)) from error
        except OSError as error:
            raise ExchangeUnavailable(type(error).__name__) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ExchangeUnavailable("an answer that cannot be read") from error

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.clear()
