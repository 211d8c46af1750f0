"""Keys in a Secret: the real client and command, against the Kubernetes API's rules for one Secret."""

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from thumbnails_api.cli import main
from thumbnails_api.keys import ApiKey, digest_of
from thumbnails_api.keys_cluster import open_secret
from thumbnails_api.keys_store import KeyStoreUnavailable

PATH = "/api/v1/namespaces/thumbnails/secrets"


class Cluster:
    """One namespace's Secrets, with resourceVersions that conflict, as an API server keeps them."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.refuse: int | None = None
        self.before_write: list[Callable[[], None]] = []
        self._versions = itertools.count(1)
        self.lock = threading.RLock()

    def store(self, name: str, secret: dict[str, Any]) -> dict[str, Any]:
        secret["metadata"] |= {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(next(self._versions)),
        }
        self.secrets[name] = secret
        return secret

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self.lock:
            if self.refuse is not None:
                return self.refuse, {"kind": "Status", "message": "secret text of the server"}
            if method != "GET" and self.before_write:
                self.before_write.pop()()
            name = path.removeprefix(PATH).strip("/")
            if method == "POST":
                name = body["metadata"]["name"]
                return (409, {}) if name in self.secrets else (201, self.store(name, body))
            found = self.secrets.get(name)
            if not path.startswith(PATH) or found is None:
                return 404, {}
            if method == "PATCH":
                if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                    return 409, {}
                return 200, self.store(name, found | {"data": (found.get("data") or {}) | body["data"]})
            return 200, found


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that KUBECONFIG names."""
    state = Cluster()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, self.path, self.headers.get("Content-Type") or ""))
            status, document = state.answer(self.command, self.path, json.loads(body) if body else None)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the base class's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "test", "user": {"token": "x"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    for name in ("THUMBNAILS_API_KEYS_SECRET", "THUMBNAILS_API_KEYS_DIR", "THUMBNAILS_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield state
    server.shutdown()
    thread.join(60)
    server.server_close()


def record(cluster: Cluster, key_id: str) -> ApiKey:
    entry = cluster.secrets["thumbnails-api-keys"]["data"][key_id]
    return ApiKey.parse(key_id, base64.b64decode(entry))


def test_the_first_key_makes_the_secret_and_the_next_join_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = []
    for account in ("shop", "blog"):
        assert main(["keys", "create", "--account", account]) == 0
        keys.append(capsys.readouterr().out.strip())
    secret = cluster.secrets["thumbnails-api-keys"]
    assert (secret["kind"], secret["type"]) == ("Secret", "Opaque")
    assert set(secret["data"]) == {key[3:15] for key in keys}
    assert [record(cluster, key[3:15]).digest for key in keys] == [digest_of(key) for key in keys]
    assert keys[0] not in json.dumps(secret)
    assert cluster.requests[-1] == ("PATCH", f"{PATH}/thumbnails-api-keys", "application/merge-patch+json")


def test_list_and_revoke(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "--account", "shop"])
    key_id = capsys.readouterr().out[3:15]
    assert main(["keys", "revoke", key_id]) == 0
    assert record(cluster, key_id).revoked_at is not None
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [key_id, "shop"]


def test_a_secret_of_another_name_and_namespace(cluster: Cluster) -> None:
    arguments = ["--secret", "mine", "--secret-namespace", "thumbnails", "--context", "test"]
    assert main(["keys", "create", "--account", "shop", *arguments]) == 0
    assert list(cluster.secrets) == ["mine"]


def test_a_write_that_races_another_loses_nothing(cluster: Cluster) -> None:
    store = open_secret("thumbnails", "thumbnails-api-keys")
    ours = ApiKey("a" * 12, "shop", bytes(32))

    def meanwhile(letter: str) -> None:
        secret = cluster.secrets.get("thumbnails-api-keys", {"metadata": {}, "data": {}})
        key = ApiKey(letter * 12, "blog", bytes(32))
        entry = base64.b64encode(key.to_entry()).decode()
        cluster.store("thumbnails-api-keys", secret | {"data": secret["data"] | {key.id: entry}})

    cluster.before_write = [lambda: meanwhile("c"), lambda: meanwhile("b")]
    seen: list[list[str]] = []

    def decide(existing: Any) -> ApiKey:
        seen.append(sorted(existing))
        return ours

    assert store.update(decide) == ours
    assert seen == [[], ["b" * 12], ["b" * 12, "c" * 12]]
    assert sorted(cluster.secrets["thumbnails-api-keys"]["data"]) == ["a" * 12, "b" * 12, "c" * 12]


def test_a_secret_that_is_deleted_meanwhile_is_made_again(cluster: Cluster) -> None:
    store = open_secret("thumbnails", "thumbnails-api-keys")
    cluster.store("thumbnails-api-keys", {"metadata": {}, "data": None})
    cluster.before_write = [cluster.secrets.clear]
    store.update(lambda _: ApiKey("a" * 12, "shop", bytes(32)))
    assert list(cluster.secrets["thumbnails-api-keys"]["data"]) == ["a" * 12]


def test_reading_tells_what_changed_and_needs_get_alone(cluster: Cluster) -> None:
    store = open_secret("thumbnails", "thumbnails-api-keys")
    none = store.read()
    assert none is not None
    assert none.entries == {}
    assert store.read(none.version) is None
    key = ApiKey("a" * 12, "shop", bytes(32))
    data = {key.id: base64.b64encode(key.to_entry()).decode(), "strange": "no base64"}
    cluster.store("thumbnails-api-keys", {"metadata": {}, "data": data})
    some = store.read(none.version)
    assert some is not None
    assert some.entries[key.id] == key.to_entry()
    assert store.read(some.version) is None
    assert {method for method, _, _ in cluster.requests} == {"GET"}


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "does not know us"), (403, "forbidden to us"), (422, "answers 422"), (500, "answers 500")],
)
def test_a_refusal_is_one_line_of_our_own(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], status: int, told: str
) -> None:
    cluster.refuse = status
    assert main(["keys", "create", "--account", "shop"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "secret text" not in printed.err


def test_a_missing_namespace_is_told(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.answer = lambda *_: (404, {})  # type: ignore[method-assign]
    assert main(["keys", "create", "--account", "shop"]) == 1
    assert "no such namespace" in capsys.readouterr().err


def test_no_server_is_one_line(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kubeconfig"
    config = yaml.safe_load(file.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(KeyStoreUnavailable, match="does not answer"):
        open_secret("thumbnails", "x").read()
    assert main(["keys", "list"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_that_is_logged_holds_a_hash(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    main(["keys", "create", "--account", "shop"])
    key = capsys.readouterr().out.strip()
    main(["keys", "list"])
    entry = cluster.secrets["thumbnails-api-keys"]["data"][key[3:15]]
    for secret in (key, digest_of(key).hex(), entry, entry[:40]):
        assert secret not in caplog.text
