"""Webhook secrets of one machine: from the environment, or made once and kept."""

import asyncio
import base64
import stat
from pathlib import Path

import pytest

from thumbnails_contract.errors import InvalidJob
from thumbnails_local.secrets import LocalSigningSecrets
from thumbnails_local.trouble import StartError

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def get(secrets: LocalSigningSecrets) -> str:
    return asyncio.run(secrets.get("thumbnails", "default", None))


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    assert get(LocalSigningSecrets.load({"THUMBNAILS_WEBHOOK_SECRET": SECRET}, path)) == SECRET
    assert not path.exists()


def test_one_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    first = get(LocalSigningSecrets.load({}, path))
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert get(LocalSigningSecrets.load({}, path)) == first
    assert get(LocalSigningSecrets.load({}, tmp_path / "other")) != first


def test_a_file_without_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    path.write_text("hello")
    with pytest.raises(StartError):
        LocalSigningSecrets.load({}, path)


def test_there_are_no_named_secrets() -> None:
    with pytest.raises(InvalidJob):
        asyncio.run(LocalSigningSecrets(SECRET).get("thumbnails", "default", "mine"))
