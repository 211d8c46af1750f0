"""The S3 server that runs as a child: private, on loopback, gone with its parent, its data kept."""

import contextlib
import functools
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_local.credentials import S3Credentials
from thumbnails_local.weed import WeedError, WeedServer

StartServer = Callable[..., WeedServer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def start(folder: Path) -> Iterator[StartServer]:
    """Starts servers, and ends them after the test."""
    with contextlib.ExitStack() as stack:

        def start(path: Path = folder, on_exit: Callable[[int], None] | None = None) -> WeedServer:
            server = WeedServer(path, on_exit=on_exit)
            stack.callback(server.stop, grace_seconds=0)
            server.start()
            return server

        yield start


def opened(settings: S3Settings) -> contextlib.closing[S3ObjectStore]:
    return contextlib.closing(S3ObjectStore(settings))


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def listening_addresses(pid: int) -> set[str]:
    """The addresses (hexadecimal, as in /proc/net/tcp) that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:  # TCP_LISTEN
                found.add(fields[1].partition(":")[0])
    return found


def test_data_and_keys_are_kept_between_runs(start: StartServer) -> None:
    first = start()
    with opened(first.settings) as store:
        store.put("sources/a", io.BytesIO(b"kept"), 4)
    before = first.settings
    first.stop()
    second = start()  # of its own, so most likely on other ports
    assert (second.settings.access_key, second.settings.secret_key) == (before.access_key, before.secret_key)
    with opened(second.settings) as store, contextlib.closing(store.get("sources/a")) as body:
        assert body.read() == b"kept"
        assert [facts.key for facts in store.list("")] == ["sources/a"], "the probe of the start is gone"


def test_a_folder_may_have_any_name(start: StartServer, tmp_path: Path) -> None:
    server = start(tmp_path / 'Fotos, 2026 "für \'uns" -x=y' / "objects")
    with opened(server.settings) as store:
        store.put("sources/a", io.BytesIO(b"kept"), 4)
        assert [facts.key for facts in store.list("")] == ["sources/a"]


def test_it_comes_back_on_the_same_address(start: StartServer) -> None:
    statuses: list[int] = []
    ended = threading.Event()

    def note(status: int) -> None:
        statuses.append(status)
        ended.set()

    server = start(on_exit=note)
    before, pid = server.settings, server.pid
    assert pid is not None
    with opened(before) as store:
        store.put("sources/a", io.BytesIO(b"kept"), 4)
        url = store.presign_get("sources/a", expires_seconds=600)
    os.kill(pid, signal.SIGKILL)
    assert ended.wait(60)
    assert statuses == [-signal.SIGKILL]
    assert server.pid is None
    assert server.start() == before
    assert requests.get(url, timeout=20).content == b"kept"
    server.stop()
    assert statuses == [-signal.SIGKILL], "an end that was asked for is no surprise"


def test_it_listens_on_loopback_alone(start: StartServer) -> None:
    server = start()
    assert server.pid is not None
    assert listening_addresses(server.pid) == {"0100007F"}


def test_strangers_get_nothing_from_any_of_its_ports(start: StartServer) -> None:
    server = start()
    settings = server.settings
    with opened(settings) as store:
        store.put("sources/a", io.BytesIO(b"private"), 7)
    assert requests.get(f"{settings.endpoint}/{settings.bucket}/sources/a", timeout=20).status_code == 403
    command = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
    ports = [argument.partition("=")[2] for argument in command if ".port=" in argument]
    assert len(ports) == 5
    for port in ports:
        assert eventually(functools.partial(answers, int(port)))  # one starts after S3 does
        for path in (f"/buckets/{settings.bucket}/sources/a", f"/col/delete?collection={settings.bucket}"):
            answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=20)
            assert answer.status_code in {400, 403, 404}
            assert b"private" not in answer.content
    with opened(settings) as store:
        assert store.head("sources/a").bytes == 7


def test_its_keys_are_for_its_bucket_alone(start: StartServer) -> None:
    settings = start().settings
    other = S3Settings(
        settings.endpoint, settings.access_key, settings.secret_key, bucket="other", retry_seconds=0.1
    )
    with opened(other) as store, pytest.raises(Exception, match="refuses this service"):
        store.ensure_bucket()


def test_its_files_are_for_their_owner_alone(start: StartServer, folder: Path) -> None:
    start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("credentials.json", "s3.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_its_secret_is_in_no_command_line_and_no_log(start: StartServer, folder: Path) -> None:
    server = start()
    secret = server.settings.secret_key
    assert secret not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert secret not in Path(f"/proc/{server.pid}/environ").read_text()
    assert "I am the leader" in (folder / "weed.log").read_text()
    assert secret not in (folder / "weed.log").read_text()


def test_an_idle_store_takes_little_of_the_disk(start: StartServer, folder: Path) -> None:
    start()
    blocks = sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
    assert blocks * 512 < 10_000_000


def test_nothing_of_the_environment_reaches_it(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stranger-secret")
    settings = start().settings
    stranger = S3Settings(settings.endpoint, "stranger", "stranger-secret", retry_seconds=0.1)
    with opened(stranger) as store, pytest.raises(Exception, match="refuses this service"):
        store.check()


def test_stop_ends_it_and_leaves_nothing(start: StartServer) -> None:
    server = start()
    pid = server.pid
    assert pid is not None
    port = server.settings.endpoint.rpartition(":")[2]
    server.stop()
    assert is_gone(pid)
    assert server.pid is None
    assert server.wait(0) is not None
    server.stop()
    assert not Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()


def test_it_dies_with_its_parent(folder: Path) -> None:
    program = (
        "import pathlib, sys, time; from thumbnails_local.weed import WeedServer; "
        "server = WeedServer(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); "
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    assert eventually(lambda: is_gone(pid))


def test_it_outlives_the_thread_that_started_it(start: StartServer, folder: Path) -> None:
    servers: list[WeedServer] = []
    thread = threading.Thread(target=lambda: servers.append(start()))
    thread.start()
    thread.join()
    (server,) = servers
    assert server.wait(0.5) is None
    with opened(server.settings) as store:
        store.check()


# ---- what can be wrong, each one line ------------------------------------------------------


def test_a_second_instance_on_the_same_folder(start: StartServer) -> None:
    start()
    with pytest.raises(WeedError, match=r"in use by another instance$"):
        start()


def test_a_folder_that_cannot_be_made(tmp_path: Path, start: StartServer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeedError, match=r"cannot be used: Not a directory$"):
        start(tmp_path / "file" / "objects")


def test_keys_that_cannot_be_read(folder: Path, start: StartServer) -> None:
    folder.mkdir()
    (folder / "credentials.json").write_text("{")
    with pytest.raises(WeedError, match="does not hold S3 keys"):
        start()


def test_data_that_is_damaged(folder: Path, start: StartServer) -> None:
    folder.mkdir()
    (folder / "filerldb2").write_text("no database")
    with pytest.raises(WeedError) as caught:
        start()
    assert str(caught.value).startswith("the S3 server ")
    assert "\n" not in str(caught.value)


def test_a_port_that_was_taken_meanwhile(start: StartServer) -> None:
    server = start()
    host, _, port = server.settings.endpoint.removeprefix("http://").partition(":")
    server.stop()
    with socket.create_server((host, int(port))), pytest.raises(WeedError, match="ports are taken"):
        server.start()
    assert server.start().endpoint == f"http://{host}:{port}"


# ---- keys ----------------------------------------------------------------------------------


def test_keys_are_made_once_and_are_random(tmp_path: Path) -> None:
    first = S3Credentials.load_or_create(tmp_path / "keys")
    assert S3Credentials.load_or_create(tmp_path / "keys") == first
    assert S3Credentials.load_or_create(tmp_path / "others") != first
    assert len(first.secret_key) >= 40
    assert first.secret_key not in repr(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "others"], "no draft is left"


def test_keys_open_to_others_are_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_text(json.dumps({"accessKey": "a", "secretKey": "s"}))
    path.chmod(0o644)
    assert S3Credentials.load_or_create(path) == S3Credentials("a", "s")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "was open to others" in caplog.text


def test_two_that_make_keys_at_once_get_the_same(tmp_path: Path) -> None:
    found: list[S3Credentials] = []
    barrier = threading.Barrier(8)

    def load() -> None:
        barrier.wait(30)
        found.append(S3Credentials.load_or_create(tmp_path / "keys"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
