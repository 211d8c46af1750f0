"""One request to the API server at the price of one request, for the job store.

The `kubernetes` client finds the server and keeps credentials fresh; its generated methods, which copy
and inspect every body on the way, are left out: documents go to and from its connection pool as JSON.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from kubernetes.client import ApiClient
from kubernetes.config import ConfigException
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError, NewConnectionError

from thumbnails_contract.errors import JobStoreUnavailable

from .kubernetes_errors import describe, error_of, is_throttled, parse_status, retry_after_seconds

_log = logging.getLogger(__name__)

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"

_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 10.0  # within which a call that was turned away is sent again
_ERROR_FROM: Final = 400
_SERVER_TROUBLE: Final = 500
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_CREDENTIALS_SECONDS: Final = 10.0
_WARN_EVERY_SECONDS: Final = 30.0

Query = Mapping[str, str | int]


class KubernetesRest:
    """JSON requests to one API server, from any thread. Every method may raise JobStoreUnavailable.

    `close` also closes the client.
    """

    def __init__(self, client: ApiClient, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._configuration = client.configuration
        address = urlsplit(client.configuration.host)
        self._prefix = address.path.rstrip("/")
        self._pool: HTTPConnectionPool = client.rest_client.pool_manager.connection_from_url(
            f"{address.scheme}://{address.netloc}"
        )
        self._headers = {"User-Agent": client.user_agent, "Accept": JSON}
        self._sleep = sleep
        self._closed = threading.Event()
        self._known_credentials: Mapping[str, str] = {}
        self._credentials_until = 0.0
        self._warned_at = -_WARN_EVERY_SECONDS

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Any:
        """The parsed answer. Raises what `kubernetes_errors.error_of` says.

        A call that was turned away (429) is sent again after the time that the server asks for, as
        long as that is soon; so is a read whose connection broke.
        """
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        deadline = time.monotonic() + _CALL_SECONDS
        may_repeat = method == "GET"
        while True:
            try:
                response = self._send(method, path, query, content, content_type)
                answer = response.data
            except NewConnectionError as error:
                raise self._unreachable(error) from None
            except (HTTPError, OSError) as error:
                # Most often a kept connection that the server had closed: another try gets a new one.
                if not may_repeat or self._closed.is_set():
                    raise self._unreachable(error) from None
                may_repeat = False
                continue
            if response.status < _ERROR_FROM:
                return json.loads(answer)
            status = parse_status(answer)
            header = response.headers.get("Retry-After")
            pause = retry_after_seconds(status, header)
            if is_throttled(response.status) and time.monotonic() + pause < deadline:
                self._sleep(pause)
                continue
            self._tell(response.status, describe(response.status, status))
            raise error_of(response.status, status, retry_after=header)

    def stream(self, path: str, query: Query, *, read_timeout_seconds: float) -> BaseHTTPResponse:
        """An answer that goes on; to be closed by the caller. Raises as `call` does."""
        try:
            response = self._send("GET", path, query, None, JSON, read_timeout_seconds, preload=False)
            if response.status < _ERROR_FROM:
                return response
            answer = response.data
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        status = parse_status(answer)
        self._tell(response.status, describe(response.status, status))
        raise error_of(response.status, status, retry_after=response.headers.get("Retry-After"))

    def close(self) -> None:
        """Release connections; later calls raise JobStoreUnavailable."""
        self._closed.set()
        self._pool.close()
        self._client.close()  # type: ignore[no-untyped-call]

    def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        content: bytes | None,
        content_type: str,
        read_timeout_seconds: float = _READ_SECONDS,
        *,
        preload: bool = True,
    ) -> BaseHTTPResponse:
        if self._closed.is_set():
            raise JobStoreUnavailable("The job store is closed.")
        headers = {**self._headers, **self._credentials()}
        if content is not None:
            headers["Content-Type"] = content_type
        url = f"{self._prefix}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        return self._pool.urlopen(
            method,
            url,
            body=content,
            headers=headers,
            retries=False,
            redirect=False,
            timeout=Timeout(connect=_CONNECT_SECONDS, read=read_timeout_seconds),
            preload_content=preload,
        )

    def _credentials(self) -> Mapping[str, str]:
        """The bearer token, if that is how we are known: the client reads it again as it is renewed.

        Not for each request: it looks at files and the environment to find out.
        """
        now = time.monotonic()
        if now >= self._credentials_until:
            try:
                found = self._configuration.auth_settings().values()
            except (ConfigException, OSError) as error:
                raise self._unreachable(error) from None
            self._known_credentials = {item["key"]: item["value"] for item in found if item["value"]}
            self._credentials_until = now + _CREDENTIALS_SECONDS
        return self._known_credentials

    def _unreachable(self, error: Exception) -> JobStoreUnavailable:
        if self._closed.is_set():
            return JobStoreUnavailable("The job store is closed.")
        # The texts of these errors hold addresses.
        self._warn(f"the API server does not answer: {type(error).__name__}")
        return JobStoreUnavailable()

    def _tell(self, code: int, what: str) -> None:
        if code >= _SERVER_TROUBLE or code in {_UNAUTHORIZED, _FORBIDDEN}:
            self._warn(f"the API server answers {what}")

    def _warn(self, text: str) -> None:
        """Say it, but not for each of thousands of calls."""
        now = time.monotonic()
        level = logging.DEBUG
        if now - self._warned_at >= _WARN_EVERY_SECONDS:
            self._warned_at = now
            level = logging.WARNING
        _log.log(level, "%s", text)


def shut(response: BaseHTTPResponse) -> None:
    """End a stream that another thread may be reading."""
    shutdown = getattr(response, "shutdown", None)
    if shutdown is not None:
        # The connection may be gone, or given back, already.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            shutdown()
