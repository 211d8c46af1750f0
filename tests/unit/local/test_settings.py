"""Settings of the local service: what is checked before anything starts, and what children get."""

import base64
from pathlib import Path

import pytest

from thumbnails_contract.logs import LogSettings
from thumbnails_local.settings import LocalSettings
from thumbnails_local.trouble import StartError


def test_nothing_needs_to_be_set() -> None:
    settings = LocalSettings.from_environment({})
    assert settings.port == 3000
    assert settings.data == Path.cwd() / ".data"
    assert int(settings.environment["THUMBNAILS_MAX_WORKERS"]) >= 1
    assert settings.environment["THUMBNAILS_MIN_WORKERS"] == "1"
    assert settings.environment["THUMBNAILS_LINGER_SECONDS"] == "300"


def test_what_is_set_is_passed_on() -> None:
    env = {
        "PORT": "0",
        "THUMBNAILS_DATA": "/x",
        "THUMBNAILS_MAX_WORKERS": "7",
        "THUMBNAILS_LOG_LEVEL": "debug",
    }
    settings = LocalSettings.from_environment(env)
    assert (settings.port, settings.data, settings.log) == (0, Path("/x"), LogSettings("DEBUG", "text"))
    assert settings.environment["THUMBNAILS_MAX_WORKERS"] == "7"


def test_empty_is_unset() -> None:
    env = {"PORT": "", "THUMBNAILS_DATA": " ", "THUMBNAILS_LINGER_SECONDS": ""}
    settings = LocalSettings.from_environment(env)
    assert settings.port == 3000
    assert settings.environment["THUMBNAILS_LINGER_SECONDS"] == "300"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "\uff13000"),
        ("THUMBNAILS_LOG_LEVEL", "LOUD"),
        ("THUMBNAILS_MAX_UPLOAD_BYTES", "1 GB"),
        ("THUMBNAILS_MAX_WORKERS", "0"),
        ("THUMBNAILS_WEBHOOK_ALLOW", "10.0.0.0/99"),
        ("THUMBNAILS_WEBHOOK_SECRET", "secret"),
        ("THUMBNAILS_WEBHOOK_SECRET", "whsec_" + base64.b64encode(b"short").decode()),
        ("THUMBNAILS_WEBHOOK_SECRET", "whsec_not base64"),
        ("WEBHOOK_URL", "example.com"),
    ],
)
def test_a_wrong_value_gives_one_line_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(StartError) as caught:
        LocalSettings.from_environment({variable: value})
    text = str(caught.value)
    assert variable in text
    assert "\n" not in text
    if "SECRET" in variable:
        assert value not in text


def test_a_secret_of_standard_webhooks_is_taken() -> None:
    secret = "whsec_" + base64.b64encode(b"x" * 24).decode()
    LocalSettings.from_environment({"THUMBNAILS_WEBHOOK_SECRET": secret})


def test_an_s3_server_of_ones_own_is_checked_at_once() -> None:
    keys = {"THUMBNAILS_S3_ACCESS_KEY": "access", "THUMBNAILS_S3_SECRET_KEY": "a secret"}
    LocalSettings.from_environment({"THUMBNAILS_S3_ENDPOINT": "https://s3.example.com", **keys})
    with pytest.raises(StartError, match="THUMBNAILS_S3_ENDPOINT"):
        LocalSettings.from_environment({"THUMBNAILS_S3_ENDPOINT": "s3.example.com", **keys})
    with pytest.raises(StartError, match="THUMBNAILS_S3_ACCESS_KEY"):
        LocalSettings.from_environment({"THUMBNAILS_S3_ENDPOINT": "https://s3.example.com"})
