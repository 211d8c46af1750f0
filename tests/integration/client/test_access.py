"""Keys of the command: kept by `login` where nobody else can read them, and asked for in words."""

import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

Run = Callable[..., Any]
KEY = "tnk_right"
REFUSED = b'{"reason": "Unauthorized", "detail": "Show an API key.", "status": 401}'


@pytest.fixture
def guarded() -> Iterator[str]:
    """The URL of a server that knows one key, and has no jobs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers["Authorization"] == f"Bearer {KEY}"
            body = (b"{}" if self.path == "/presets" else b"[]") if right else REFUSED
            self.send_response(200 if right else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def key_file(environment: dict[str, str]) -> Path:
    return Path(environment["XDG_CONFIG_HOME"]) / "thumbnails" / "keys.json"


def test_login_keeps_a_key_and_logout_forgets_it(guarded: str, run: Run, key_file: Path) -> None:
    assert run(guarded, "ls").returncode == 4
    assert run(guarded, "login", stdin=f"{KEY}\n").returncode == 0
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert run(guarded, "ls").returncode == 0
    assert run(guarded, "ls", THUMBNAILS_KEY="tnk_other").returncode == 4, "the variable takes its place"
    assert run(guarded, "logout").returncode == 0
    assert KEY not in key_file.read_text()
    assert run(guarded, "ls").returncode == 4


def test_a_key_goes_to_its_own_server_alone(guarded: str, run: Run, key_file: Path) -> None:
    assert run(guarded, "login", stdin=KEY).returncode == 0
    elsewhere = guarded.replace("127.0.0.1", "localhost")
    assert run(elsewhere, "ls").returncode == 4


def test_a_wrong_key_is_said_and_not_kept(guarded: str, run: Run, key_file: Path) -> None:
    result = run(guarded, "login", stdin="tnk_wrong\n")
    assert result.returncode == 4 and "Unauthorized" in result.stderr
    assert not key_file.exists()


def test_a_file_that_others_can_read_is_not_used(guarded: str, run: Run, key_file: Path) -> None:
    run(guarded, "login", stdin=KEY)
    key_file.chmod(0o640)
    result = run(guarded, "ls")
    assert result.returncode == 2 and "chmod 600" in result.stderr
    assert KEY not in result.stderr


def test_without_access_nothing_more_is_tried(guarded: str, run: Run, tmp_path: Path) -> None:
    pictures = [tmp_path / f"{number}.png" for number in range(20)]
    for picture in pictures:
        picture.write_bytes(picture.name.encode())
    result = run(guarded, "put", *pictures, "--parallel", 1)
    assert result.returncode == 4
    assert result.stderr.count("Unauthorized") == 1 and "19 were not begun" in result.stderr
    assert "thumbnails login" in result.stderr
