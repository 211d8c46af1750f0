"""Follows ThumbnailJobs on the API server: one watch of the port, over one or several HTTP streams.

A stream that breaks is opened again at the last resourceVersion it told; one that cannot be opened ends
the watch with an error.
"""

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from .jobstore import Document, WatchEvent, WatchEventType
from .kubernetes_errors import error_of
from .kubernetes_rest import KubernetesRest, shut

# The server ends a stream after this time at most, and sends a bookmark every minute: a stream that
# tells nothing for longer than that is dead.
_STREAM_SECONDS: Final = 290.0
_SILENCE_SECONDS: Final = 75.0
_READ_BYTES: Final = 1 << 16
_SHORT_STREAM_SECONDS: Final = 1.0
_WAITING_EVENTS: Final = 1_000  # of several streams, that nobody has read yet
_LOOK_AGAIN_SECONDS: Final = 1.0


class JobWatch(Generator[WatchEvent, None, None]):
    """A watch of the port. `close` may be called while another thread waits in it."""

    def __init__(
        self,
        events: Generator[WatchEvent, None, None],
        streams: "Sequence[Stream]",
        forget: Callable[["JobWatch"], None],
    ) -> None:
        self._events = events
        self._streams = streams
        self._forget = forget
        self._running = threading.Lock()
        self._ended = False

    def send(self, _value: None, /) -> WatchEvent:
        """The next event, when there is one."""
        with self._running:
            if self._ended:
                raise StopIteration
            try:
                return next(self._events)
            except BaseException:
                self._end()
                raise

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> WatchEvent:
        """End the watch with an error."""
        self.close()
        error = val if isinstance(val, BaseException) else typ
        if isinstance(error, type):
            error = error()
        raise error.with_traceback(tb)

    def close(self) -> None:
        """End it soon."""
        for stream in self._streams:
            stream.close()
        if self._running.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._running.release()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            for stream in self._streams:
                stream.close()
            self._events.close()
            self._forget(self)


class Stream:
    """The events of one collection (a namespace, or all) after `resource_version`, until `deadline`."""

    def __init__(
        self,
        rest: KubernetesRest,
        path: str,
        resource_version: str,
        deadline: float,
        *,
        stream_seconds: float = _STREAM_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self._rest = rest
        self._path = path
        self.resource_version = resource_version
        self._deadline = deadline
        self._stream_seconds = stream_seconds
        self._silence_seconds = silence_seconds
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._response: BaseHTTPResponse | None = None

    def close(self) -> None:
        """End it soon, from any thread."""
        with self._lock:
            self._closing.set()
            response = self._response
        if response is not None:
            shut(response)

    def events(self) -> Generator[WatchEvent, None, None]:
        """Every change, and bookmarks. Raises Expired, JobStoreUnavailable."""
        while not self._closing.is_set():
            left = self._deadline - time.monotonic()
            if left <= 0:
                return
            opened = time.monotonic()
            yield from self._once(math.ceil(min(left, self._stream_seconds)))
            # Not in a loop at full speed with a proxy that ends every stream at once.
            if time.monotonic() - opened < _SHORT_STREAM_SECONDS:
                self._closing.wait(min(_SHORT_STREAM_SECONDS, max(0.0, self._deadline - time.monotonic())))

    def _once(self, seconds: int) -> Iterator[WatchEvent]:
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.resource_version,
            "timeoutSeconds": seconds,
        }
        response = self._rest.stream(self._path, query, read_timeout_seconds=self._silence_seconds)
        with self._lock:
            self._response = response
        try:
            if not self._closing.is_set():
                for line in _lines(response):
                    event = self._event(json.loads(line))
                    self.resource_version = event.resource_version
                    yield event
                    if self._closing.is_set():
                        return
        except (HTTPError, OSError, ValueError):
            # Broken, silent, or cut in the midst of a line: opened again where it was.
            return
        finally:
            with self._lock:
                self._response = None
            response.close()

    def _event(self, message: Mapping[str, Any]) -> WatchEvent:
        type_, document = message["type"], message["object"]
        if type_ == "ERROR":
            raise error_of(document.get("code", 500), document)
        version = document["metadata"]["resourceVersion"]
        if type_ == WatchEventType.BOOKMARK:
            return WatchEvent(WatchEventType.BOOKMARK, {}, version)
        return WatchEvent(WatchEventType(type_), without_managed_fields(document), version)


def merged(streams: Sequence[Stream]) -> Generator[WatchEvent, None, None]:
    """The events of several streams as they come.

    `resource_version` of an event is the one from which all streams may go on: who does that may be
    told some changes of the busier ones again.
    """
    readers = [_Reader(stream) for stream in streams]
    arrived: queue.Queue[tuple[_Reader, object]] = queue.Queue(_WAITING_EVENTS)
    abandoned = threading.Event()
    for reader in readers:
        threading.Thread(target=reader.run, args=(arrived, abandoned), name="job-watch", daemon=True).start()
    running = len(readers)
    try:
        while running:
            reader, item = arrived.get()
            if isinstance(item, WatchEvent):
                reader.version = int(item.resource_version)
                oldest = min(reader.version for reader in readers)
                yield WatchEvent(item.type, item.document, str(oldest))
            elif isinstance(item, Exception):
                raise item
            else:
                running -= 1
    finally:
        abandoned.set()
        for stream in streams:
            stream.close()


class _Reader:
    """Reads one stream in a thread; `version` is how far its events were handed on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.version = int(stream.resource_version)

    def run(self, arrived: "queue.Queue[tuple[_Reader, object]]", abandoned: threading.Event) -> None:
        """Put each event, and at last the error or None, into `arrived`."""
        for item in self._items():
            while not abandoned.is_set():
                try:
                    arrived.put((self, item), timeout=_LOOK_AGAIN_SECONDS)
                except queue.Full:
                    continue
                break

    def _items(self) -> Iterator[object]:
        try:
            yield from self._stream.events()
        except Exception as error:  # noqa: BLE001 - raised where the events are read
            yield error
        else:
            yield None


def without_managed_fields(document: Document) -> Document:
    """The document itself, without who wrote which field: larger than the rest, and of no use to us."""
    document["metadata"].pop("managedFields", None)
    return document


def _lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(_READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        yield from filter(None, lines)
