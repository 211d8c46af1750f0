"""A small client of the Kubernetes API, for the parts that run beside it: requests, lists and watches."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Never
from urllib.parse import urlencode

from hack.cluster import network
from hack.cluster.layout import Layout

Document = dict[str, Any]

_WATCH_SECONDS = 300
_RETRY_SECONDS = 0.5


class ApiError(Exception):
    """The API server answered with a failure."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks for one party. Each request has a connection of its own, so threads may share a client."""

    tls: ssl.SSLContext
    host: str = network.NODE_ADDRESS
    port: int = network.API_PORT

    def request(self, method: str, path: str, body: Document | None = None, timeout: float = 30) -> Document:
        """The answer's document; raises ApiError for a failure, OSError when nobody answers."""
        with self._open(method, path, body, timeout) as response:
            content = response.read()
        if response.status >= 400:
            raise ApiError(response.status, content.decode(errors="replace")[:300])
        document: Document = json.loads(content) if content.startswith(b"{") else {}
        return document

    def watch(self, path: str, version: str) -> Iterator[Document]:
        """The events after a resourceVersion, until the server ends the watch."""
        query = urlencode(
            {
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": _WATCH_SECONDS,
            }
        )
        with self._open("GET", f"{path}?{query}", None, _WATCH_SECONDS + 30) as response:
            if response.status >= 400:
                raise ApiError(response.status, response.read().decode(errors="replace")[:300])
            while line := response.readline():
                yield json.loads(line)

    def _open(
        self, method: str, path: str, body: Document | None, timeout: float
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(
            method,
            path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type, "Accept": "application/json", "Connection": "close"},
        )
        # With `Connection: close` the response owns the socket, and closes it.
        return connection.getresponse()


def client(layout: Layout, party: str) -> Client:
    """A client that shows the certificate of one of the parties in certs.py."""
    tls = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    tls.load_cert_chain(layout.pki / f"{party}.crt", layout.pki / f"{party}.key")
    return Client(tls)


def is_ready(client: Client, timeout: float = 2) -> bool:
    try:
        client.request("GET", "/readyz", timeout=timeout)
    except (ApiError, OSError, http.client.HTTPException):
        return False
    return True


def wait_until_ready(client: Client) -> None:
    while not is_ready(client):
        time.sleep(0.05)


class Follower:
    """Keeps a copy of all objects of one kind, by list and watch, and calls back after each change."""

    def __init__(self, client: Client, path: str, changed: Callable[[], None]) -> None:
        self._client = client
        self._path = path
        self._changed = changed
        self._objects: dict[str, Document] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._follow, daemon=True, name=self._path).start()

    def objects(self) -> list[Document] | None:
        """A copy of what is known; None until the first list."""
        with self._lock:
            return None if self._objects is None else list(self._objects.values())

    def _follow(self) -> None:
        while True:
            try:
                self._list_and_watch()
            except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
                # The API server restarts, or the version is too old to watch from (410): list again.
                print(f"{self._path}: {error}; listing again", flush=True)
                time.sleep(_RETRY_SECONDS)

    def _list_and_watch(self) -> None:
        listed = self._client.request("GET", self._path)
        with self._lock:
            self._objects = {item["metadata"]["uid"]: item for item in listed["items"]}
        self._changed()
        version = listed["metadata"]["resourceVersion"]
        while True:
            for event in self._client.watch(self._path, version):
                document = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(document.get("code", 500), document.get("message", ""))
                version = document["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                with self._lock:
                    if event["type"] == "DELETED":
                        self._objects.pop(document["metadata"]["uid"], None)
                    else:
                        self._objects[document["metadata"]["uid"]] = document
                self._changed()


def reconcile_forever(
    client: Client,
    paths: tuple[str, ...],
    reconcile: Callable[[tuple[list[Document], ...]], None],
    settle_seconds: float,
) -> Never:
    """Calls `reconcile` with all objects of all paths whenever any changed; bursts count as one change."""
    dirty = threading.Event()
    followers = [Follower(client, path, dirty.set) for path in paths]
    for follower in followers:
        follower.start()
    while True:
        dirty.wait()
        time.sleep(settle_seconds)
        dirty.clear()
        known = [objects for follower in followers if (objects := follower.objects()) is not None]
        if len(known) < len(followers):
            continue
        try:
            reconcile(tuple(known))
        except (ApiError, OSError, http.client.HTTPException) as error:
            print(f"{error}; trying again", flush=True)
            time.sleep(_RETRY_SECONDS)
            dirty.set()
