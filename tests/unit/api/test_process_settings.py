"""Where the API listens when it runs by itself, and the door that stays shut without a login."""

import pytest

from thumbnails_api.process_settings import ProcessSettings
from thumbnails_contract.environment import InvalidSetting


def settings(requires_login: bool = True, /, **env: str) -> ProcessSettings:
    return ProcessSettings.from_environment(env, requires_login=requires_login)


def test_defaults() -> None:
    assert settings(False) == ProcessSettings()
    assert ProcessSettings() == ProcessSettings("127.0.0.1", 3000, 8080, 5.0, ("thumbnails",))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "fd00::1"])
def test_other_addresses_than_loopback_need_a_login(host: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        settings(False, THUMBNAILS_HOST=host)
    message = str(caught.value)
    assert message.startswith("THUMBNAILS_HOST: ")
    assert "THUMBNAILS_API_KEYS_SECRET" in message
    assert "\n" not in message
    assert settings(THUMBNAILS_HOST=host).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert settings(False, THUMBNAILS_HOST=host).host


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THUMBNAILS_HOST", "example.com"),
        ("PORT", "65536"),
        ("THUMBNAILS_PROBE_PORT", "x"),
        ("THUMBNAILS_DRAIN_SECONDS", "-1"),
        ("THUMBNAILS_NAMESPACES", "a,B"),
        ("THUMBNAILS_NAMESPACES", ","),
        ("THUMBNAILS_NAMESPACE", "a b"),
    ],
)
def test_wrong_values_are_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{variable}: "):
        settings(**{variable: value})


@pytest.mark.parametrize(
    ("home", "text", "namespaces"),
    [
        ("", "", ("thumbnails",)),
        ("team", "", ("team",)),
        ("team", "a, b,a", ("a", "b")),
        ("team", "*", None),
    ],
)
def test_namespaces(home: str, text: str, namespaces: tuple[str, ...] | None) -> None:
    assert settings(THUMBNAILS_NAMESPACE=home, THUMBNAILS_NAMESPACES=text).namespaces == namespaces
