"""Sends HTTP requests over connections that are kept open, for the exchange's client and the object store's.

On the standard library alone, since a worker's start counts (docs/decisions/0012). Errors of the library may
hold URLs, which are secrets: HttpFailure says in a word what happened.
"""

import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

_Server = tuple[str, str]  # scheme; host and port
_IDLE_CONNECTIONS: Final = 16


class HttpFailure(Exception):
    """There was no answer, or not all of it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection, and for each next piece of an answer."""

    connect_seconds: float
    read_seconds: float


class Connections:
    """A pool; safe to be used by many threads.

    `ca_file` holds the certificates (PEM) that verify servers, in place of the system's.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        # Those that nobody uses, latest last. Each step on a list is one of the interpreter's own.
        self._idle: dict[_Server, list[HTTPConnection]] = {}

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        patience: Patience,
        headers: Mapping[str, str],
        body: bytes | bytearray | None = None,
    ) -> Iterator[HTTPResponse]:
        """The answer to one request, whatever its status; redirects are not followed.

        The connection is kept when all of the body was read within the block. Raises HttpFailure, also for
        what goes wrong with the connection within the block.
        """
        parts = urlsplit(url)
        server = (parts.scheme, parts.netloc)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection = answer = None
        try:
            connection = self._idle_one(server) or _connected(server, patience.connect_seconds, self._ca_file)
            connection.sock.settimeout(patience.read_seconds)
            with suppress(BrokenPipeError):  # it may have been answered before all of it was sent
                connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            yield answer
            is_whole = answer.isclosed() or answer.length == 0
            answer.close()
            # There is no socket any more when the server wants no further request.
            if is_whole and connection.sock is not None:
                self._keep(server, connection)
                connection = None
        except (HTTPException, OSError) as error:
            raise HttpFailure(type(error).__name__) from error
        finally:
            if connection is not None:
                connection.close()
                if answer is not None:
                    answer.close()

    def clear(self) -> None:
        """Close what nobody uses: a server's successor may have taken its place."""
        for idle in list(self._idle.values()):
            while idle:
                idle.pop().close()

    def _idle_one(self, server: _Server) -> HTTPConnection | None:
        idle = self._idle.get(server, [])
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread had it
                return None
            if _is_quiet(connection.sock):
                return connection
            connection.close()
        return None

    def _keep(self, server: _Server, connection: HTTPConnection) -> None:
        idle = self._idle.setdefault(server, [])
        if len(idle) < _IDLE_CONNECTIONS:
            idle.append(connection)
        else:
            connection.close()


def _connected(server: _Server, seconds: float, ca_file: str | None) -> HTTPConnection:
    scheme, host = server
    connection = (
        HTTPSConnection(host, timeout=seconds, context=_tls(ca_file))
        if scheme == "https"
        else HTTPConnection(host, timeout=seconds)
    )
    connection.connect()
    return connection


@cache
def _tls(ca_file: str | None) -> "ssl.SSLContext":
    """Raises OSError when the file cannot be read, or holds no certificates."""
    import ssl  # noqa: PLC0415 - reads the certificates of all authorities, which few workers need

    return ssl.create_default_context(cafile=ca_file)


def _is_quiet(connection: socket.socket) -> bool:
    """Whether a connection that waits can be used: one that has something to say says that it ended."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)
