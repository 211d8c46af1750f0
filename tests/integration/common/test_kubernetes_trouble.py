"""An API server in trouble, over real HTTP: what a healthy one never does to the conformance tests."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from thumbnails_common.jobstore import Conflict, Expired, WatchEvent, WatchEventType
from thumbnails_common.kubernetes_jobstore import KubernetesJobStore
from thumbnails_common.kubernetes_rest import KubernetesRest
from thumbnails_common.kubernetes_watch import JobWatch, Stream
from thumbnails_contract.errors import JobStoreUnavailable

PATIENCE_SECONDS = 60.0
Reply = Callable[[BaseHTTPRequestHandler], None]


class TroubledServer:
    """Answers each request with the next of its replies; the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append(f"{self.command} {self.path}")
                server.tokens.append(self.headers.get("Authorization"))
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                reply(self)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Clients that go away are what is tested here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def says(code: int, body: Any, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def tells(*messages: Any, then: str = "end", apart: bool = False) -> Reply:
    """A watch's stream; `then` it may `end`, be `cut` within a line, or be `silent`."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def chunk(data: bytes) -> None:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()

        for message in messages:
            line = json.dumps(message).encode() + b"\n"
            for part in [line[:9], line[9:]] if apart else [line]:
                chunk(part)
        if then == "cut":
            chunk(b'{"type": "ADD')
            hangs_up(handler)
        elif then == "silent":
            time.sleep(PATIENCE_SECONDS)
        else:
            chunk(b"")

    return reply


def job(version: int, name: str = "one", namespace: str = "ns") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "resourceVersion": str(version)}}


def added(version: int, **where: str) -> dict[str, Any]:
    return {"type": "ADDED", "object": job(version, **where)}


def error(code: int) -> dict[str, Any]:
    return {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "too old"}}


CLOSED = error(410)


@pytest.fixture
def server() -> Iterator[TroubledServer]:
    server = TroubledServer()
    yield server
    server.close()


def connect(url: str, namespaces: tuple[str, ...] | None = ("ns",), token: str = "") -> KubernetesJobStore:
    configuration = Configuration(host=url)
    if token:
        configuration.api_key["BearerToken"] = f"Bearer {token}"
    return KubernetesJobStore(ApiClient(configuration), namespaces=namespaces)


@pytest.fixture
def store(server: TroubledServer) -> Iterator[KubernetesJobStore]:
    store = connect(server.url)
    yield store
    store.close()


def read(watch: JobWatch, count: int) -> list[str]:
    with closing(watch):
        return [event.resource_version for event in itertools.islice(watch, count)]


# ---- calls -----------------------------------------------------------------------------------------


def test_a_read_over_a_connection_that_broke_is_sent_again_once(
    server: TroubledServer, store: KubernetesJobStore
) -> None:
    server.replies = [hangs_up, says(200, job(7))]
    assert store.get("ns", "one") == job(7)
    server.replies = [hangs_up]
    with pytest.raises(JobStoreUnavailable):
        store.get("ns", "one")
    assert len(server.requests) == 4


def test_a_write_over_a_connection_that_broke_is_not(
    server: TroubledServer, store: KubernetesJobStore
) -> None:
    server.replies = [hangs_up]
    with pytest.raises(JobStoreUnavailable):
        store.create(job(0))
    assert len(server.requests) == 1


def test_what_was_turned_away_is_sent_again_when_the_server_says(server: TroubledServer) -> None:
    slept: list[float] = []
    rest = KubernetesRest(ApiClient(Configuration(host=server.url)), sleep=slept.append)
    server.replies = [says(429, {}, Retry_After="3"), says(429, {}, Retry_After="2"), says(201, {"a": 1})]
    assert rest.call("POST", "/x", body={}) == {"a": 1}
    assert slept == [3, 2]
    rest.close()


def test_a_long_wait_is_left_to_the_caller(server: TroubledServer, store: KubernetesJobStore) -> None:
    server.replies = [says(429, {}, Retry_After="30")]
    with pytest.raises(JobStoreUnavailable) as caught:
        store.get("ns", "one")
    assert caught.value.retry_after_seconds == 30


def test_a_server_in_trouble_is_unavailable(server: TroubledServer, store: KubernetesJobStore) -> None:
    server.replies = [says(500, b"<html>oops", Retry_After="4")]
    for call in (store.check, lambda: store.get("ns", "one"), lambda: store.create(job(0))):
        with pytest.raises(JobStoreUnavailable) as caught:
            call()
        assert caught.value.retry_after_seconds == 4
        assert "oops" not in caught.value.message


def test_no_server_at_all_is_unavailable_and_its_address_no_news() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    store = connect(f"http://127.0.0.1:{port}")
    with pytest.raises(JobStoreUnavailable) as caught:
        store.get("ns", "one")
    assert str(port) not in str(caught.value)
    store.close()


def test_a_token_is_sent(server: TroubledServer) -> None:
    store = connect(server.url, token="t0ken")
    server.replies = [says(200, job(1))]
    store.get("ns", "one")
    assert server.tokens == ["Bearer t0ken"]
    store.close()


def test_a_spec_patch_that_lost_every_race_is_tried_again(
    server: TroubledServer, store: KubernetesJobStore
) -> None:
    lost = says(409, {"kind": "Status", "reason": "Conflict", "details": {"name": "one"}})
    server.replies = [lost, lost, says(200, job(2))]
    assert store.patch_spec("ns", "one", {"suspend": True}) == job(2)
    server.replies = [lost]
    with pytest.raises(Conflict):
        store.patch_spec("ns", "one", {"suspend": True}, resource_version="1")
    assert len(server.requests) == 4


def test_names_never_become_paths(server: TroubledServer, store: KubernetesJobStore) -> None:
    server.replies = [says(200, {})]
    for namespace, name in (("ns", "../x"), ("ns", ""), ("../ns", "x"), ("ns", "a?b=c"), ("", "x")):
        with pytest.raises(Exception, match="not found"):
            store.delete(namespace, name)
    assert server.requests == []


# ---- watches ---------------------------------------------------------------------------------------


def test_a_stream_that_is_cut_goes_on_where_it_was(server: TroubledServer, store: KubernetesJobStore) -> None:
    server.replies = [tells(added(5), added(6), then="cut"), tells(added(7), then="silent")]
    assert read(store.watch("4", "ns"), 3) == ["5", "6", "7"]
    assert "resourceVersion=4&" in server.requests[0]
    assert "resourceVersion=6&" in server.requests[1]


def test_lines_may_come_in_pieces(server: TroubledServer, store: KubernetesJobStore) -> None:
    server.replies = [tells(added(5), added(6), apart=True, then="silent")]
    assert read(store.watch("4", "ns"), 2) == ["5", "6"]


def test_a_silent_stream_is_opened_again(server: TroubledServer) -> None:
    rest = KubernetesRest(ApiClient(Configuration(host=server.url)))
    server.replies = [tells(added(5), then="silent"), tells(added(6), then="silent")]
    deadline = time.monotonic() + PATIENCE_SECONDS
    stream = Stream(rest, "/x", "4", deadline, silence_seconds=0.2)
    assert [event.resource_version for event in itertools.islice(stream.events(), 2)] == ["5", "6"]
    rest.close()


@pytest.mark.parametrize("reply", [tells(error(410)), says(410, {"kind": "Status"})])
def test_a_version_that_is_too_old_is_expired(
    server: TroubledServer, store: KubernetesJobStore, reply: Reply
) -> None:
    server.replies = [reply]
    with pytest.raises(Expired):
        next(store.watch("4", "ns"))


def test_a_stream_that_cannot_be_opened_ends_the_watch(
    server: TroubledServer, store: KubernetesJobStore
) -> None:
    server.replies = [tells(added(5)), says(503, {})]
    watch = store.watch("4", "ns")
    assert next(watch).resource_version == "5"
    with pytest.raises(JobStoreUnavailable):
        next(watch)
    assert list(watch) == []


@pytest.mark.parametrize("namespaces", [("ns",), ("ns", "other")])
def test_another_thread_can_close_a_watch_that_waits(
    server: TroubledServer, namespaces: tuple[str, ...]
) -> None:
    store = connect(server.url, namespaces)
    server.replies = [tells(added(5), then="silent")]
    watch = store.watch("4")
    next(watch)
    ended = threading.Event()

    def wait() -> None:
        list(watch)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    watch.close()
    assert ended.wait(PATIENCE_SECONDS / 2)
    thread.join()
    store.close()


def test_no_resource_version_at_all_is_expired(store: KubernetesJobStore) -> None:
    with pytest.raises(Expired):
        store.watch("abc")


def test_a_watch_of_several_namespaces_can_go_on_from_what_the_slowest_has_told(
    server: TroubledServer,
) -> None:
    def by_namespace(handler: BaseHTTPRequestHandler) -> None:
        if "/namespaces/busy/" in handler.path:
            tells(*(added(version, namespace="busy") for version in (10, 20, 30)), then="silent")(handler)
        else:
            tells(added(15, namespace="quiet"), then="silent")(handler)

    server.replies = [by_namespace]
    store = connect(server.url, ("busy", "quiet"))
    watch = store.watch("4")
    events: list[WatchEvent] = list(itertools.islice(watch, 4))
    watch.close()
    store.close()
    told = {event.document["metadata"]["resourceVersion"]: event for event in events}
    assert sorted(told, key=int) == ["10", "15", "20", "30"]
    # Until the quiet one has told its event, nobody may go on from later than the start; then from 15.
    quiet = events.index(told["15"])
    assert all(
        event.resource_version == "4" for event in events[:quiet] if event.type is WatchEventType.ADDED
    )
    assert int(events[-1].resource_version) <= 15
