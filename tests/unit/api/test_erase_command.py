"""`thumbnails-api accounts erase`: with and without a login, and what is said when it fails."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3

from thumbnails_api.erase_command import EraseAccount, EraseFailed
from thumbnails_api.keys import ApiKey, digest_of, key_id_of, parse_entries
from thumbnails_api.keys_directory import DirectoryKeyStore

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
ERASURE = {"id": "e-1", "account": "shop", "status": "running", "jobs": None, "objects": None}
DONE = ERASURE | {"status": "done", "jobs": 3, "objects": 7}
Answers = Iterator[tuple[int, Any]]


@dataclass
class Reply:
    status: int
    data: bytes


@dataclass
class Service:
    """Answers with what a test says, one after another; keeps what it was asked."""

    answers: Answers
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout: Any) -> Reply:
        assert timeout is not None
        self.asked.append((method, url, headers.get("Authorization")))
        status, document = next(self.answers)
        if isinstance(document, Exception):
            raise document
        return Reply(status, document if isinstance(document, bytes) else json.dumps(document).encode())


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Service, str]]:
    def run(*answers: tuple[int, Any], **options: Any) -> tuple[Service, str]:
        service, messages = Service(iter(answers)), io.StringIO()
        http: Any = service
        command = EraseAccount(
            "http://thumbnails.example/",
            lambda: DirectoryKeyStore(tmp_path),
            "thumbnails",
            messages,
            http=http,
            sleep=lambda _seconds: None,
            now=lambda: NOW,
        )
        command.run("shop", **{"namespace": None, "revoke_keys": False, "wait": True} | options)
        return service, messages.getvalue()

    return run


def keys(folder: Path) -> dict[str, ApiKey]:
    stored = DirectoryKeyStore(folder).read()
    assert stored is not None
    found, troubles = parse_entries(stored.entries)
    assert troubles == []
    return found


def add(folder: Path, key_id: str, account: str, namespace: str | None = None) -> None:
    DirectoryKeyStore(folder).update(lambda _: ApiKey(key_id, account, digest_of(key_id), namespace))


def test_without_a_login_no_key_is_made(run: Callable[..., tuple[Service, str]], tmp_path: Path) -> None:
    service, said = run((404, {}), (202, ERASURE), (200, ERASURE), (200, DONE))
    erasure = "http://thumbnails.example/accounts/shop/erasure"
    assert service.asked == [
        ("GET", erasure, None),
        ("DELETE", "http://thumbnails.example/accounts/shop", None),
        ("GET", erasure, None),
        ("GET", erasure, None),
    ]
    assert said == "the account shop is being erased\nit is erased: 3 jobs, 7 objects\n"
    assert list(tmp_path.iterdir()) == []


def test_with_a_login_its_key_is_of_the_account_and_is_revoked_at_the_end(
    run: Callable[..., tuple[Service, str]], tmp_path: Path
) -> None:
    # The key is new to each replica.
    service, said = run((401, {}), (401, {}), (202, ERASURE), (401, {}), (200, DONE))
    (shown,) = {authorization for _, _, authorization in service.asked if authorization}
    ((key_id, key),) = keys(tmp_path).items()
    assert key_id == key_id_of(shown.removeprefix("Bearer "))
    assert (key.account, key.namespace, key.revoked_at) == ("shop", None, NOW)
    assert shown.removeprefix("Bearer ") not in said


def test_whatever_happens_the_key_is_revoked(run: Callable[..., tuple[Service, str]], tmp_path: Path) -> None:
    with pytest.raises(EraseFailed, match=r"^the service answers 503: Away$"):
        run((401, {}), (202, ERASURE), (503, {"title": "Away"}))
    ((_, key),) = keys(tmp_path).items()
    assert key.revoked_at == NOW


def test_the_account_s_keys_are_revoked_when_that_is_wanted_and_nobody_else_s(
    run: Callable[..., tuple[Service, str]], tmp_path: Path
) -> None:
    add(tmp_path, "a" * 12, "shop", "team-a")
    add(tmp_path, "b" * 12, "rival", "team-a")
    add(tmp_path, "c" * 12, "shop-2", "team-a")
    _, said = run((401, {}), (202, DONE), namespace="team-a", revoke_keys=True)
    revoked = {key_id for key_id, key in keys(tmp_path).items() if key.revoked_at}
    assert len(keys(tmp_path)) == 4
    assert {key_id for key_id in revoked if key_id[0] * 12 == key_id} == {"a" * 12}
    assert f"the key {'a' * 12} is revoked" in said


def test_it_need_not_be_waited_for(run: Callable[..., tuple[Service, str]]) -> None:
    assert run((404, {}), (202, ERASURE), wait=False)[1] == "the account shop is being erased\n"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(0, urllib3.exceptions.HTTPError("secret"))], "cannot be reached"),
        ([(200, b"<html>")], "is not the service"),
        ([(200, b"[]")], "is not the service"),
        ([(404, {}), (404, {"title": "No such account"})], "answers 404: No such account"),
        ([(404, {}), (202, ERASURE), (200, DONE | {"id": "e-2"})], "another erasure"),
    ],
)
def test_failures_are_one_line(
    run: Callable[..., tuple[Service, str]], answers: list[Any], message: str
) -> None:
    with pytest.raises(EraseFailed, match=message) as caught:
        run(*answers)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
