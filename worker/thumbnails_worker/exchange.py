"""Talks to the operator's exchange (`thumbnails_contract.wire`), for the supervisor."""

import json
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from thumbnails_contract.wire import SILENCE_SECONDS, WORK_PATH, WorkAnswer, WorkRequest

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
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=2, retries=False, headers={"Content-Type": "application/json"}
        )

    def send(self, request: WorkRequest, timeout_seconds: float) -> WorkAnswer:
        """One request. Raises ExchangeUnavailable, also once nothing is heard for a while (wire.py)."""
        headers = dict(self._pool.headers)
        silence_seconds = min(timeout_seconds, self._silence_seconds)
        try:
            if self._token_file is not None:  # read each time: Kubernetes replaces it before it expires
                headers["Authorization"] = f"Bearer {self._token_file.read_text('utf-8').strip()}"
            body = json.dumps(request.to_wire(), separators=(",", ":")).encode()
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence_seconds),
                redirect=False,
            )
            if answer.status != _OK:
                raise ExchangeUnavailable(f"status {answer.status}")
            return WorkAnswer.parse(json.loads(answer.data))
        except (HTTPError, OSError) as error:
            self._pool.clear()  # connections that wait to be used again lead to the same operator
            raise ExchangeUnavailable(type(error).__name__) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ExchangeUnavailable("an answer that cannot be read") from error
