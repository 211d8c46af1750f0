"""Requests, against a server that answers what a test wants."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import ApiClient, Configuration

from thumbnails_contract.errors import Unavailable
from thumbnails_operator.cluster_api import ApiError, ClusterApi, jobs_path, pods_path


class Server:
    """Answers in order; requests are kept as method, path, query, headers, body."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, str, dict[str, list[str]], Any, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                url = urlsplit(self.path)
                server.requests.append((self.command, url.path, parse_qs(url.query), self.headers, body))
                status, answer = server.answers.pop(0)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cluster_api(server: Server) -> Iterator[ClusterApi]:
    settings = Configuration(host=f"http://127.0.0.1:{server.http.server_port}")
    settings.api_key["authorization"] = "Bearer secret"
    api = ClusterApi(ApiClient(settings))
    yield api
    api.close()


def test_requests_say_who_we_are(server: Server, cluster_api: ClusterApi) -> None:
    server.answers = [(200, {"metadata": {"name": "x"}})]
    assert cluster_api.get("/api/v1/x")["metadata"]["name"] == "x"
    assert server.requests[0][3]["Authorization"] == "Bearer secret"


def test_bodies_and_their_types(server: Server, cluster_api: ClusterApi) -> None:
    server.answers = [(201, {}), (200, {}), (200, {}), (200, {})]
    cluster_api.create("/a", {"n": 1})
    cluster_api.replace("/a", {"n": 2})
    cluster_api.patch("/a", {"n": 3})
    cluster_api.delete("/a")
    sent = [(method, body, headers["Content-Type"]) for method, _, _, headers, body in server.requests]
    assert sent == [
        ("POST", {"n": 1}, "application/json"),
        ("PUT", {"n": 2}, "application/json"),
        ("PATCH", {"n": 3}, "application/merge-patch+json"),
        ("DELETE", None, None),
    ]
    assert server.requests[3][2] == {"propagationPolicy": ["Background"]}


def test_a_list_is_all_its_pages(server: Server, cluster_api: ClusterApi) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]}),
        (200, {"metadata": {}, "items": [{"n": 2}]}),
    ]
    assert list(cluster_api.list("/pods", labels="a=b", fields="c=d")) == [{"n": 1}, {"n": 2}]
    first, second = (request[2] for request in server.requests)
    assert (first["labelSelector"], first["fieldSelector"]) == (["a=b"], ["c=d"])
    assert second["continue"] == ["next"] and second["labelSelector"] == ["a=b"]


def test_what_is_not_there_is_none(server: Server, cluster_api: ClusterApi) -> None:
    server.answers = [(404, {"reason": "NotFound"})]
    assert cluster_api.find("/a") is None


def test_refusals_carry_the_servers_words(server: Server, cluster_api: ClusterApi) -> None:
    server.answers = [(403, {"reason": "Forbidden", "message": "exceeded quota"})]
    with pytest.raises(ApiError) as raised:
        cluster_api.find("/a")
    assert (raised.value.status, raised.value.reason, raised.value.message) == (
        403,
        "Forbidden",
        "exceeded quota",
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_unavailable(server: Server, cluster_api: ClusterApi, status: int) -> None:
    server.answers = [(status, b"<html>no JSON</html>")]
    with pytest.raises(Unavailable):
        cluster_api.get("/a")


def test_no_server_is_unavailable_and_says_no_address() -> None:
    api = ClusterApi(ApiClient(Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(Unavailable) as raised:
        api.get("/a")
    assert "127.0.0.1" not in str(raised.value)


def test_paths() -> None:
    assert jobs_path("red", "a/b") == "/apis/batch/v1/namespaces/red/jobs/a%2Fb"
    assert pods_path(None) == "/api/v1/pods"
