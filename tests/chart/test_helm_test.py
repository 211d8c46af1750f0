"""`helm test`: its pod runs this program, which finds what is wrong with an API, and says so in one line."""

import http.server
import importlib.util
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

PROGRAM = Path(__file__).parents[2] / "charts" / "thumbnails" / "files" / "helm_test.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("helm_test", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class FakeApi:
    """An API that keeps one job, and answers as it is told to."""

    job: dict[str, Any] = field(default_factory=lambda: {"id": "a", "status": "pending"})
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str, str, int]] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, key: str, body: bytes) -> tuple[int, bytes]:
        self.requests.append((method, path, key, len(body)))
        if path.endswith("/events"):
            self.job = {**self.job, "status": "complete"}
        if (said := f"{method} {path.partition('?')[0]}") in self.answers:
            return self.answers[said]
        if method == "POST":
            assert Image.open(BytesIO(body)).size == (8, 8)
            return 201, json.dumps(self.job).encode()
        if path == "/thumbnails/a":
            picture = BytesIO()
            Image.new("RGB", (4, 4)).save(picture, "PNG")
            return 200, picture.getvalue()
        return 200, json.dumps(self.job).encode()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = fake.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(program: ModuleType, api: FakeApi, **variables: str) -> None:
    program.main({"THUMBNAILS_URL": api.url, "THUMBNAILS_KEY": "tn_key", "KEY_SECRET": "k", **variables})


def test_a_picture_goes_all_the_way_and_leaves_nothing(
    program: ModuleType, api: FakeApi, capsys: Any
) -> None:
    run(program, api)
    assert capsys.readouterr().out.splitlines()[-1] == "the thumbnail is there, and right"
    methods = [(method, path) for method, path, _, _ in api.requests]
    assert methods == [
        ("GET", "/healthz"),
        ("POST", "/images?width=4&height=4&format=png"),
        ("GET", "/jobs/a/events"),
        ("GET", "/jobs/a"),
        ("GET", "/thumbnails/a"),
        ("DELETE", "/jobs/a"),
    ]
    assert {key for _, _, key, _ in api.requests} == {"Bearer tn_key"}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"GET /healthz": (503, b"")}, "GET /healthz: 503"),
        ({"POST /images": (401, b'{"reason": "Unauthorized"}')}, "POST /images: 401 Unauthorized"),
        ({"POST /images": (503, b"<html>")}, "POST /images: 503"),
        ({"GET /thumbnails/a": (404, b'{"reason": "NotFound"}')}, "GET /thumbnails/a: 404 NotFound"),
        ({"GET /thumbnails/a": (200, b"GIF89a")}, "the thumbnail is no PNG"),
        (
            {"GET /jobs/a": (200, b'{"id": "a", "status": "failed", "error": {"reason": "WorkerCrashed"}}')},
            "job a is failed.*WorkerCrashed",
        ),
    ],
)
def test_what_is_wrong_is_said(
    program: ModuleType, api: FakeApi, answers: dict[str, tuple[int, bytes]], said: str
) -> None:
    api.answers = answers
    with pytest.raises(SystemExit, match=said):
        run(program, api)
    if api.requests[-1][0] != "GET":
        assert api.requests[-1][:2] in (
            ("DELETE", "/jobs/a"),
            ("POST", "/images?width=4&height=4&format=png"),
        )


def test_a_thumbnail_of_another_size_is_wrong(program: ModuleType, api: FakeApi) -> None:
    api.answers = {"GET /thumbnails/a": (200, program.tiny_png(5, 4))}
    with pytest.raises(SystemExit, match=r"\(5, 4\) large, not \(4, 4\)"):
        run(program, api)


def test_a_job_that_does_not_end_is_given_up(program: ModuleType, api: FakeApi) -> None:
    api.answers = {"GET /jobs/a": (200, b'{"id": "a", "status": "processing"}')}
    with pytest.raises(program.Failed, match="job a is processing"):
        program.check(program.Api(api.url, "k"), lambda _: None, patience_seconds=40)
    assert api.requests[-1][:2] == ("DELETE", "/jobs/a")


def test_an_api_that_is_not_there_is_named_without_a_traceback(program: ModuleType) -> None:
    with pytest.raises(SystemExit, match="GET /healthz: no answer"):
        run(program, FakeApi(url="http://127.0.0.1:9"))


def test_a_first_key_that_was_deleted_is_told_how_to_replace(program: ModuleType, api: FakeApi) -> None:
    with pytest.raises(SystemExit, match="kubectl create secret generic the-key"):
        run(program, api, THUMBNAILS_KEY="", KEY_SECRET="the-key")
    assert api.requests == []


def test_the_pod_runs_it_with_the_key_and_no_rights(render: Any) -> None:
    pod = render().one("Pod", "thumbnails-test")
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c", PROGRAM.read_text("utf-8")]
    assert container["image"] == render().pods()["api"]["containers"][0]["image"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["THUMBNAILS_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "thumbnails-api-key", "key": "key", "optional": True,
    }  # fmt: skip
    other = render(settings={"tests.keySecret": "mine"}).one("Pod", "thumbnails-test")
    assert other["spec"]["containers"][0]["env"][2]["valueFrom"]["secretKeyRef"]["name"] == "mine"


def test_policies_let_it_in(render: Any) -> None:
    rendered = render("ingress-values.yaml")
    labels = rendered.one("Pod", "thumbnails-test")["metadata"]["labels"]
    (own,) = (
        peer["podSelector"]["matchLabels"]
        for rule in rendered.one("NetworkPolicy", "thumbnails-api")["spec"]["ingress"]
        for peer in rule.get("from", [])
        if "podSelector" in peer and "namespaceSelector" not in peer
    )
    assert own.items() <= labels.items()
    selected = rendered.one("NetworkPolicy", "thumbnails-test")["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= labels.items()
    assert render(settings={"tests.enabled": False}).all("Pod") == []
