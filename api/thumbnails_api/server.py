"""waitress, set up for pictures: bodies on disk, thousands of connections, an orderly end.

Five things waitress does not do are added to its channel. A refusal that is known from the headers
(401, 413, 503) is sent at once, also to a client that waits for `100 Continue`; waitress would first ask
for the whole body. The bytes that have come of all bodies together are bounded. After such a refusal what
the client still sends is read and dropped for a moment: closing at once would reset the connection, and
many a client would never see the answer. An answer without a body does not end the connection. And a
request whose head comes byte by byte is ended: it is never idle, and would hold its connection for ever.
"""

import errno
import json
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from socket import SHUT_WR, socket
from typing import Any, Final

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.task import WSGITask

from thumbnails_contract.errors import (
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    ThumbnailsError,
)

from .accounts import Authenticator
from .chunked import ChunkedReceiver
from .problems import PROBLEM_TYPE, problem_document, problem_headers
from .quotas import AccountLimits
from .settings import ApiSettings
from .spool import Budget, no_room

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# A read of a socket; smaller ones cost more calls for each picture.
_RECEIVE_BYTES: Final = 256 * 1024
# A body of a known length up to the first figure stays in memory, as long as all such bodies together are
# within the second; others go to a file at once. Chunked ones go there when they pass the third.
_BODY_IN_MEMORY_BYTES: Final = 1 << 20
_BODIES_IN_MEMORY_BYTES: Final = 24 << 20
_CHUNKED_IN_MEMORY_BYTES: Final = 64 * 1024
_ANSWER_IN_MEMORY_BYTES: Final = 256 * 1024
# Pictures that are spooled, connections to the stores, modules.
_OTHER_OPEN_FILES: Final = 512
_MANY_OPEN_FILES: Final = 1 << 20
_FEWEST_CONNECTIONS: Final = 16
_HEADER_BYTES: Final = 32 * 1024
_LOOP_SECONDS: Final = 0.5
# Between two looks for heads that take too long; each is a look at every connection.
_HEAD_CHECK_SECONDS: Final = 1.0
# At the end: a connection that was just taken has a request on its way.
_QUIET_SECONDS: Final = 0.25
_LINGER_SECONDS: Final = 5.0
_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def connections_within(open_files: int, wanted: int) -> int:
    """How many connections fit into a process that may have so many files open.

    Each may have a body in a file, too; without files left, accept fails again and again.
    """
    return max(_FEWEST_CONNECTIONS, min(wanted, (open_files - _OTHER_OPEN_FILES) // 2))


def _allow_open_files() -> int:
    """Raise the soft limit of open files to the hard one, where that is a number; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return _MANY_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class _Refusal:
    """What waitress calls an error: an answer without the app."""

    def __init__(self, error: ThumbnailsError) -> None:
        self._error = error

    def to_response(self, _ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        error = self._error
        headers = [("Content-Type", PROBLEM_TYPE), *problem_headers(error)]
        return f"{error.status} {error.title}", headers, json.dumps(problem_document(error)).encode()


class _RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Decides about a body before, and while, it comes."""

    spool: Budget
    memory: Budget
    authenticator: Authenticator | None
    limits: AccountLimits | None
    on_refusal: Callable[[str], None]
    error: Any
    body_rcv: Any
    taken_bytes = 0
    memory_bytes = 0
    refused = False
    admitted = False

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()

    def received(self, data: bytes) -> int:
        try:
            consumed: int = super().received(data)
        except OSError as error:
            if error.errno not in _FULL_DISK:
                raise
            log.error("no room to receive an upload: %s", error.strerror)  # noqa: TRY400 - says it all
            self.refuse(Overloaded("There is no room for the upload just now.", retry_after_seconds=10))
            return len(data)
        if self.error is not None:
            if not self.refused:
                self.refuse(_as_problem(self.error, self.adj.max_request_body_size))
        elif self.headers_finished and (refusal := self._find_refusal()) is not None:
            self.refuse(refusal)
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        _check_framing(self)
        if self.chunked and self.body_rcv is not None:
            self.body_rcv = ChunkedReceiver(self.body_rcv.getbuf())
        if self.body_rcv is None or self.chunked:
            return
        # The buffer writes to a file from `overflow` bytes on.
        in_memory = self.content_length <= _BODY_IN_MEMORY_BYTES and self.memory.take(self.content_length)
        self.memory_bytes = self.content_length if in_memory else 0
        self.body_rcv.getbuf().overflow = self.content_length + 1 if in_memory else 0

    def close(self) -> None:
        super().close()
        self.spool.give_back(self.taken_bytes)
        self.memory.give_back(self.memory_bytes)
        self.taken_bytes = self.memory_bytes = 0

    def _find_refusal(self) -> ThumbnailsError | None:
        """Why this body is not taken (any further): nobody's, or no room.

        What is announced is only held against the room there is; what has come takes it. Otherwise a few
        clients that announce much and send nothing would keep all others out.
        """
        if self.body_rcv is None:
            return None
        if not self.admitted:
            try:
                if self.authenticator is not None:
                    access = self.authenticator.glance(self.headers.get("AUTHORIZATION"))
                    if access is not None:
                        access.check(self.command)
                        if self.limits is not None:
                            self.limits.glance(access.caller, self.content_length)
            except ThumbnailsError as error:
                return error
            if not self.spool.has_room(self.content_length):
                return no_room()
            self.admitted = True
        came = self.body_bytes_received - self.taken_bytes
        if not self.spool.take(came):
            return no_room()
        self.taken_bytes += came
        return None

    def refuse(self, error: ThumbnailsError) -> None:
        """Make this the answer, whatever is still to come."""
        self.error = _Refusal(error)
        self.refused = True
        self.completed = True
        self.expect_continue = False  # or waitress would ask for the body that was just refused
        self.on_refusal(error.reason)


def _check_framing(request: Any) -> None:
    """Raise ParsingError for what a proxy before us may read otherwise, or what no client means.

    Both lengths of a body, or chunks in HTTP/1.0: the rest of it could pass for a request of somebody else
    (RFC 9112 sections 6.1 and 11.2). None or several hosts, or another one in the address (section 3.2).
    """
    headers = request.headers
    if request.version not in {"1.0", "1.1"}:
        raise ParsingError("a version of HTTP that is not spoken here")
    if "TRANSFER_ENCODING" in headers or (request.chunked and "CONTENT_LENGTH" in headers):
        raise ParsingError("the length of the body is not clear")
    host = headers.get("HOST")
    if (host is None and request.version == "1.1") or "," in (host or ""):
        raise ParsingError("there must be one host")
    if request.proxy_netloc and request.proxy_netloc != host:
        raise ParsingError("there must be one host")


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """One answer; after a 204 or 304 the connection goes on, which waitress would close."""

    def set_close_on_finish(self) -> None:
        asked_to_close = (
            self.version != "1.1" or self.request.headers.get("CONNECTION", "").lower() == "close"
        )
        if self.has_body or self.wrote_header or asked_to_close:
            super().set_close_on_finish()


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection; after a refusal it lingers until the client has read the answer."""

    task_class = _Task
    request: Any
    linger_until: float | None = None
    was_refused = False

    def received(self, data: bytes) -> bool:
        if self.was_refused:
            return False
        result: bool = super().received(data)
        with self.requests_lock:
            self.was_refused = any(getattr(request, "refused", False) for request in self.requests)
        return result

    def end_slow_head(self, began_before: float) -> None:
        """Answer a request whose head has not come, although its first bytes came before this moment."""
        with self.requests_lock:
            request = self.request
            if request is None or request.headers_finished or request.began > began_before:
                return
            request.refuse(RequestTimeout())
            self.request = None
            self.was_refused = True
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)

    def readable(self) -> bool:
        return self.linger_until is not None or self.was_refused or bool(super().readable())

    def handle_read(self) -> None:
        if not self.was_refused:
            super().handle_read()
            return
        try:
            data = self.recv(_RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data or self._linger_is_over():
            self.handle_close()

    def handle_write(self) -> None:
        if self.was_refused and self.close_when_flushed and self.linger_until is None:
            self._flush_exception(self._flush_some)
            if not self.total_outbufs_len and self.connected:
                self._begin_to_linger()
        elif self.linger_until is None:
            super().handle_write()
        elif self._linger_is_over():
            self.handle_close()

    def writable(self) -> bool:
        if self.linger_until is not None:
            return self.will_close or self._linger_is_over()
        return bool(super().writable())

    def handle_close(self) -> None:
        request = self.request
        super().handle_close()
        if request is not None:
            # The client is gone in the midst of a body: its bytes are room for others.
            request.close()
            self.request = None

    def _begin_to_linger(self) -> None:
        self.linger_until = time.monotonic() + _LINGER_SECONDS
        try:
            self.socket.shutdown(SHUT_WR)
        except OSError:
            self.handle_close()

    def _linger_is_over(self) -> bool:
        return self.will_close or (self.linger_until is not None and time.monotonic() >= self.linger_until)


class Server:
    """Serves an app on listening sockets, from `run` until `stop`.

    With an `authenticator` and `limits`, those of the app, bodies of nobody's requests, and of those who have
    had their share, are refused before they come; `on_refusal` is told the reason, since the app never sees
    them. `spool` is that of the app as well.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: ApiSettings,
        sockets: Sequence[socket],
        *,
        authenticator: Authenticator | None = None,
        limits: AccountLimits | None = None,
        spool: Budget | None = None,
        on_refusal: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        shared = {
            "spool": spool or Budget(settings.max_spool_bytes),
            "memory": Budget(_BODIES_IN_MEMORY_BYTES),
            "authenticator": authenticator,
            "limits": limits,
            "on_refusal": staticmethod(on_refusal),
        }
        parser = type("_RequestParser", (_RequestParser,), shared)
        channel = type("_Channel", (_Channel,), {"parser_class": parser})
        self._grace_seconds = settings.shutdown_grace_seconds
        self._head_seconds = settings.head_timeout_seconds
        self._next_head_check = 0.0
        self._stopping = threading.Event()
        # Held while the loop is woken or closed: a pipe that is closed may be another file's number.
        self._wakeable = threading.Lock()
        self._map: dict[int, Any] = {}
        # Its warnings of a queue that is one request deep are no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        create_server(
            app,
            map=self._map,
            sockets=list(sockets),
            threads=settings.threads,
            connection_limit=connections_within(_allow_open_files(), settings.connection_limit),
            channel_timeout=settings.idle_timeout_seconds,
            # waitress refuses at the limit itself, not beyond it.
            max_request_body_size=settings.max_request_bytes + 1,
            max_request_header_size=_HEADER_BYTES,
            recv_bytes=_RECEIVE_BYTES,
            inbuf_overflow=_CHUNKED_IN_MEMORY_BYTES,
            # A whole answer fits, on disk, so that a thread never waits for a client that reads slowly.
            outbuf_high_watermark=settings.max_upload_bytes + _ANSWER_IN_MEMORY_BYTES,
            outbuf_overflow=_ANSWER_IN_MEMORY_BYTES,
            asyncore_use_poll=True,
            # Clients that go away in the midst of an answer are no errors of ours.
            log_socket_errors=False,
            expose_tracebacks=False,
            ident=None,
        )
        self._listeners = [item for item in self._map.values() if isinstance(item, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = channel
        self._dispatcher = self._listeners[0].task_dispatcher

    def run(self) -> None:
        """Serve until `stop`; then end what runs within the grace time, and return."""
        while not self._stopping.is_set():
            self._turn()
        for listener in self._listeners:
            listener.del_channel()
            listener.socket.close()
        log.info("taking no more requests; those under way have %g s to end", self._grace_seconds)
        quiet_since = time.monotonic()
        deadline = quiet_since + self._grace_seconds
        while (now := time.monotonic()) < deadline:
            if self._busy():
                quiet_since = now
            elif now - quiet_since >= _QUIET_SECONDS:
                break
            self._turn(_QUIET_SECONDS)
        self._dispatcher.shutdown(timeout=max(0.0, deadline - time.monotonic()))
        with self._wakeable:
            wasyncore.close_all(self._map, ignore_all=True)

    def stop(self) -> None:
        """Ask `run` to end; from any thread or signal handler."""
        if self._stopping.is_set():
            return
        with self._wakeable:
            self._stopping.set()
            for listener in self._listeners:
                listener.pull_trigger()

    def _turn(self, timeout_seconds: float = _LOOP_SECONDS) -> None:
        wasyncore.loop(timeout=timeout_seconds, use_poll=True, map=self._map, count=1)
        now = time.monotonic()
        if now >= self._next_head_check:
            self._next_head_check = now + _HEAD_CHECK_SECONDS
            for channel in self._channels():
                channel.end_slow_head(now - self._head_seconds)

    def _channels(self) -> list[Any]:
        return [item for item in self._map.values() if isinstance(item, HTTPChannel)]

    def _busy(self) -> bool:
        """Whether a body is coming, or an answer being made, or sent."""
        return any(
            channel.requests
            or channel.total_outbufs_len
            or (channel.request is not None and channel.request.headers_finished)
            for channel in self._channels()
        )


def serve(app: WsgiApp, settings: ApiSettings, sockets: Sequence[socket]) -> None:
    """Serve until the process ends."""
    Server(app, settings, sockets).run()


def _as_problem(error: Any, max_body_bytes: int) -> ThumbnailsError:
    if getattr(error, "code", None) == PayloadTooLarge.status:
        return PayloadTooLarge(f"A request may have at most {max_body_bytes - 1} bytes.")
    return InvalidRequest("The request is no valid HTTP.")
