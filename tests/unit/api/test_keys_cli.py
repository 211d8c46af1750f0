"""`thumbnails-api keys` on a directory: what it prints where, its exit codes, and what it leaves behind."""

import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from thumbnails_api.accounts import KeyAuthenticator
from thumbnails_api.cli import main
from thumbnails_api.keys import ApiKey, digest_of
from thumbnails_api.keys_directory import DirectoryKeyStore
from thumbnails_api.keys_watch import KeyWatch
from thumbnails_contract.errors import Unauthorized

KEY = re.compile(r"tn_[a-z0-9]{12}_[A-Za-z0-9]{43}")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("THUMBNAILS_", "KUBE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "a" / "keys"


@pytest.fixture
def keys(directory: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        command, *rest = arguments
        code = main(["keys", command, "--directory", str(directory), *rest])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_create_prints_the_key_alone_and_keeps_its_hash_alone(keys: Any, directory: Path) -> None:
    code, out, err = keys("create", "--account", "shop", "--name", "the web shop", "--namespace", "pictures")
    key = out.removesuffix("\n")
    assert code == 0
    assert KEY.fullmatch(key)
    assert key not in err
    assert "shop" in err
    (file,) = directory.iterdir()
    record = ApiKey.parse(file.name, file.read_bytes())
    assert (record.account, record.name, record.namespace) == ("shop", "the web shop", "pictures")
    assert record.digest == digest_of(key)
    assert key[16:] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_list_shows_all_but_hashes(keys: Any, directory: Path) -> None:
    first = keys("create", "--account", "shop", "--name", "the web shop")[1].strip()
    second = keys("create", "--account", "blog")[1].strip()
    keys("revoke", second[3:15])
    (directory / "zzzzzzzzzzzz").write_text("{}")
    (directory / "yyyyyyyyyyyy").write_bytes(ApiKey("y" * 12, "zoo", bytes(32), name="a\x1b[2Jb").to_entry())
    code, out, err = keys("list")
    assert code == 0
    header, *lines = out.splitlines()
    assert header.split() == ["ID", "ACCOUNT", "NAMESPACE", "SCOPES", "CREATED", "REVOKED", "NAME"]
    assert [line.split()[:3] for line in lines] == [
        [second[3:15], "blog", "thumbnails"],
        [first[3:15], "shop", "thumbnails"],
        ["yyyyyyyyyyyy", "zoo", "thumbnails"],
    ]
    assert lines[0].split()[5].endswith("Z")
    assert lines[1].split()[5] == "-"
    assert lines[1].endswith("the web shop")
    assert "\x1b" not in out
    assert "zzzzzzzzzzzz" in err
    assert digest_of(first).hex() not in out + err
    assert first[16:] not in out + err


def test_a_key_may_be_for_reading_alone(keys: Any, directory: Path) -> None:
    for scopes, shown in ((("read",), "read"), (("write", "read"), "read,write"), ((), "read,write")):
        options = [word for scope in scopes for word in ("--scope", scope)]
        key = keys("create", "--account", "shop", *options)[1].strip()
        stored = ApiKey.parse(key[3:15], (directory / key[3:15]).read_bytes())
        assert ",".join(sorted(stored.scopes)) == shown
        (line,) = (line for line in keys("list")[1].splitlines() if line.startswith(key[3:15]))
        assert line.split()[3] == shown


def test_a_service_without_kubernetes_has_its_keys_in_its_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--data", str(tmp_path / "one"), "--account", "shop"]) == 0
    assert len(list((tmp_path / "one" / "api-keys").iterdir())) == 1
    monkeypatch.setenv("THUMBNAILS_DATA", str(tmp_path / "two"))
    assert main(["keys", "create", "--account", "shop"]) == 0
    assert len(list((tmp_path / "two" / "api-keys").iterdir())) == 1
    monkeypatch.setenv("THUMBNAILS_API_KEYS_DIR", str(tmp_path / "three"))
    assert main(["keys", "create", "--account", "shop"]) == 0
    assert len(list((tmp_path / "three").iterdir())) == 1
    capsys.readouterr()


def test_list_of_a_directory_that_is_not_there_is_empty(keys: Any, directory: Path) -> None:
    code, out, _ = keys("list")
    assert (code, len(out.splitlines())) == (0, 1)
    assert not directory.exists()


@pytest.mark.parametrize("by_key", [True, False])
def test_a_running_service_takes_new_keys_and_drops_revoked_ones(
    keys: Any, directory: Path, by_key: bool
) -> None:
    watch = KeyWatch(DirectoryKeyStore(directory), service_namespace="thumbnails")
    authenticator = KeyAuthenticator(watch)
    watch.refresh()
    key = keys("create", "--account", "shop")[1].strip()
    watch.refresh()
    assert authenticator.authenticate(f"Bearer {key}").caller.account == "shop"
    code, out, err = keys("revoke", key if by_key else key[3:15])
    assert (code, out) == (0, "")
    assert key[16:] not in err
    watch.refresh()
    with pytest.raises(Unauthorized):
        authenticator.authenticate(f"Bearer {key}")


def test_a_change_in_place_is_seen_and_no_change_reads_no_file(keys: Any, directory: Path) -> None:
    keys("create", "--account", "shop")
    store = DirectoryKeyStore(directory)
    stored = store.read()
    assert stored is not None
    assert store.read(stored.version) is None
    (file,) = directory.iterdir()
    with file.open("r+b") as opened:
        opened.write(b"{}          ")
    os.utime(file, (2_000_000_000, 2_000_000_000))  # clocks of file systems are coarse
    changed = store.read(stored.version)
    assert changed is not None
    assert changed.entries != stored.entries


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    def mount(version: str, *keys: ApiKey) -> None:
        data = tmp_path / f"..{version}"
        data.mkdir()
        for key in keys:
            (data / key.id).write_bytes(key.to_entry())
        link = tmp_path / "..tmp"
        link.symlink_to(data.name)
        link.replace(tmp_path / "..data")
        for key in keys:
            (tmp_path / key.id).unlink(missing_ok=True)
            (tmp_path / key.id).symlink_to(f"..data/{key.id}")

    store = DirectoryKeyStore(tmp_path)
    key = ApiKey("a" * 12, "shop", bytes(32))
    mount("1", key)
    first = store.read()
    assert first is not None
    assert dict(first.entries) == {key.id: key.to_entry()}
    other = ApiKey("a" * 12, "blog", bytes(32))
    mount("2", other)
    second = store.read(first.version)
    assert second is not None
    assert dict(second.entries) == {key.id: other.to_entry()}


def test_writers_at_once_lose_nothing(directory: Path) -> None:
    store = DirectoryKeyStore(directory)
    seen: list[int] = []

    def add(number: int) -> None:
        def decide(existing: Any) -> ApiKey:
            seen.append(len(existing))
            return ApiKey(f"{number:012}", "shop", bytes(32))

        store.update(decide)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(seen) == list(range(20))
    assert len(list(directory.iterdir())) == 20


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["revoke", "zzzzzzzzzzzz"], "no key with the id zzzzzzzzzzzz"),
        (["revoke", "../../etc/passwd"], "no key id"),
        (["create", "--account", "shop", "--namespace", "other"], "belongs to the namespace thumbnails"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_1(keys: Any, arguments: list[str], told: str) -> None:
    keys("create", "--account", "shop")
    code, out, err = keys(*arguments)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"thumbnails-api: .*{told}.*\n", err)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["keys"],
        ["keys", "create"],
        ["keys", "create", "--account", "A b"],
        ["keys", "create", "--account", "a", "--name", "two\nlines"],
        ["keys", "create", "--account", "a", "--namespace", "a.b"],
        ["keys", "list", "--secret", "a", "--directory", "b"],
        ["keys", "revoke"],
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_the_environment_names_the_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THUMBNAILS_API_KEYS_DIR", str(directory))
    assert main(["keys", "create", "--account", "shop"]) == 0
    assert len(list(directory.iterdir())) == 1
    monkeypatch.setenv("THUMBNAILS_API_KEYS_SECRET", "x")
    assert main(["keys", "list"]) == 1
    assert "THUMBNAILS_API_KEYS_DIR" in capsys.readouterr().err


def test_a_directory_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for command in (["create", "--account", "a"], ["list"]):
        assert main(["keys", *command, "--directory", str(file)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_a_cluster_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list"]) == 1
    assert re.fullmatch(r"thumbnails-api: there is no usable kubeconfig.*\n", capsys.readouterr().err)


def test_a_key_that_cannot_be_printed_is_told(directory: Path) -> None:
    code = "import sys; from thumbnails_api.cli import main; sys.exit(main())"
    arguments = ["keys", "create", "--account", "shop", "--directory", str(directory)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "thumbnails-api: cannot write the answer" in done.stderr
    assert "Traceback" not in done.stderr
    (file,) = directory.iterdir()
    assert json.loads(file.read_bytes())["hash"] not in done.stderr
