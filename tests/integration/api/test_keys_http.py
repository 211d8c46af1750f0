"""Keys on the real server: who brings no valid one is refused before the body, and a key counts at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from thumbnails_api.accounts import KeyAuthenticator
from thumbnails_api.cli import main
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_api.keys_watch import KeyWatch

GIF = b"GIF89a\x0a\x00\x0a\x00\x00\x00\x00"


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `thumbnails-api keys` on the service's directory; what it printed."""

    def run(command: str, *arguments: str) -> str:
        assert main(["keys", command, "--directory", str(tmp_path), *arguments]) == 0
        return capsys.readouterr().out.strip()

    return run


@pytest.fixture
def server(start_server: Any, tmp_path: Path) -> Iterator[Any]:
    watch = KeyWatch(DirectoryKeyStore(tmp_path), service_namespace="thumbnails", refresh_seconds=0.02)
    watch.start()
    yield start_server(authenticator=KeyAuthenticator(watch))
    watch.stop()


@pytest.mark.parametrize("credentials", [b"", b"Authorization: Bearer wrong\r\n"])
@pytest.mark.parametrize(
    "length", [b"Content-Length: 900000000\r\nExpect: 100-continue", b"Transfer-Encoding: chunked"]
)
def test_a_body_of_nobody_is_refused_before_it_comes(
    server: Any, answer_on: Any, credentials: bytes, length: bytes
) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /images HTTP/1.1\r\nHost: t.example.org\r\nContent-Type: image/gif\r\n"
            + credentials
            + length
            + b"\r\n\r\n"
        )
        answer = answer_on(connection)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="thumbnails"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["reason"] == "Unauthorized"


def announce(server: Any, key: str, length: int) -> Any:
    """A connection on which an upload is announced, and the body held back."""
    connection = server.connect()
    connection.sendall(
        b"POST /images HTTP/1.1\r\nHost: t.example.org\r\nContent-Type: image/gif\r\nExpect: 100-continue\r\n"
        + f"Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return connection


def test_a_body_of_a_key_that_may_only_read_is_refused_before_it_comes(
    server: Any, keys: Any, answer_on: Any, eventually: Any
) -> None:
    key = keys("create", "--account", "shop", "--scope", "read")
    eventually(lambda: ask(server, key).status_code == 404, "the key counts")
    with announce(server, key, 900_000_000) as connection:
        answer = answer_on(connection)
    assert (answer.status, answer.json["reason"]) == (403, "InsufficientScope")
    assert 'scope="write"' in answer.headers["www-authenticate"]


def test_a_body_over_a_quota_that_is_used_up_is_refused_before_it_comes(
    start_server: Any, tmp_path: Path, keys: Any, answer_on: Any
) -> None:
    key = keys("create", "--account", "shop")
    watch = KeyWatch(DirectoryKeyStore(tmp_path), service_namespace="thumbnails")
    watch.refresh()
    server = start_server(authenticator=KeyAuthenticator(watch), rate_limit_upload_bytes=100)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/gif"}
    uploaded = requests.post(f"{server.url}/images", data=GIF, headers=headers, timeout=60)
    assert uploaded.status_code == 201
    with announce(server, key, 101 - len(GIF)) as connection:
        answer = answer_on(connection)
    assert (answer.status, answer.json["reason"]) == (429, "QuotaExceeded")
    assert int(answer.headers["retry-after"]) > 0
    again = requests.post(f"{server.url}/images", data=GIF, headers=headers, timeout=60)
    assert again.status_code == 201


def ask(server: Any, key: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.get(f"{server.url}/jobs", headers=headers, timeout=60)


def test_a_key_counts_while_the_service_runs_until_it_is_revoked(
    server: Any, keys: Any, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = keys("create", "--account", "shop")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/gif", "Host": "t.example.org"}

    def status() -> int:
        result = requests.post(f"{server.url}/images", data=GIF, headers=headers, timeout=60)
        return result.status_code

    eventually(lambda: status() == 201, "the new key is known")
    assert {namespace for namespace, _ in server.store.documents} == {"thumbnails"}
    assert {document["spec"]["account"] for document in server.store.documents.values()} == {"shop"}
    assert requests.get(f"{server.url}/jobs", headers=headers, timeout=60).status_code == 200
    keys("revoke", key[3:15])
    eventually(lambda: status() == 401, "the revoked key is refused")
    assert requests.get(f"{server.url}/jobs", headers=headers, timeout=60).status_code == 401
    assert requests.get(f"{server.url}/healthz", timeout=60).status_code == 200
    assert key[16:] not in caplog.text
