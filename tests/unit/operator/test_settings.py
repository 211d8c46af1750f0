"""The operator's settings, from the environment."""

from ipaddress import ip_network

import pytest

from thumbnails_contract.environment import InvalidSetting
from thumbnails_operator.settings import OperatorSettings


def test_the_defaults_are_those_of_an_empty_environment() -> None:
    assert OperatorSettings.from_environment({}) == OperatorSettings()
    assert OperatorSettings.from_environment({"THUMBNAILS_MAX_WORKERS": " "}) == OperatorSettings()


def test_values_are_read() -> None:
    settings = OperatorSettings.from_environment(
        {
            "THUMBNAILS_MAX_WORKERS": "7",
            "THUMBNAILS_MIN_WORKERS": "1",
            "THUMBNAILS_LINGER_SECONDS": "0.5",
            "THUMBNAILS_MAX_PIXELS": "1000",
            "THUMBNAILS_RENDER_WALL_SECONDS": "9",
            "THUMBNAILS_TTL_SECONDS": "0",
            "THUMBNAILS_KEEP_DAYS": "30",
            "THUMBNAILS_WEBHOOK_ALLOW": "10.0.0.0/8, 192.168.1.5 fd00::/8",
            "THUMBNAILS_WORKER_LABELS": "kueue.x-k8s.io/queue-name=pictures,team=a",
            "THUMBNAILS_EXCHANGE_PORT": "0",
            "WEBHOOK_URL": "https://example.com/hook",
        }
    )
    assert (settings.max_workers, settings.min_workers, settings.linger_seconds) == (7, 1, 0.5)
    assert (settings.limits.pixels, settings.limits.wall_seconds) == (1000, 9)
    assert (settings.ttl_seconds, settings.thumbnails_keep_days) == (0, 30)
    assert settings.webhook_allow == tuple(
        ip_network(text) for text in ("10.0.0.0/8", "192.168.1.5/32", "fd00::/8")
    )
    assert settings.worker_labels == {"kueue.x-k8s.io/queue-name": "pictures", "team": "a"}
    assert settings.webhook_url == "https://example.com/hook"


@pytest.mark.parametrize(
    ("environment", "source_bytes"),
    [
        ({}, 134_217_728),
        ({"THUMBNAILS_MAX_UPLOAD_BYTES": "300000000"}, 300_000_000),
        ({"THUMBNAILS_MAX_UPLOAD_BYTES": "300000000", "THUMBNAILS_MAX_SOURCE_BYTES": "5"}, 5),
    ],
)
def test_what_may_be_uploaded_can_be_rendered(environment: dict[str, str], source_bytes: int) -> None:
    assert OperatorSettings.from_environment(environment).limits.source_bytes == source_bytes


def test_the_projects_own_name_of_the_webhook_goes_before_the_contracts() -> None:
    settings = OperatorSettings.from_environment(
        {"THUMBNAILS_WEBHOOK_URL": "http://a/", "WEBHOOK_URL": "http://b/"}
    )
    assert settings.webhook_url == "http://a/"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THUMBNAILS_MAX_WORKERS", "0"),
        ("THUMBNAILS_MAX_WORKERS", "many"),
        ("THUMBNAILS_MAX_WORKERS", "-1"),
        ("THUMBNAILS_MIN_WORKERS", "5"),
        ("THUMBNAILS_LEASE_SECONDS", "0"),
        ("THUMBNAILS_LINGER_SECONDS", "nan"),
        ("THUMBNAILS_KEEP_DAYS", "0"),
        ("THUMBNAILS_MAX_PIXELS", "1e6"),
        ("THUMBNAILS_EXCHANGE_PORT", "65536"),
        ("THUMBNAILS_NAMESPACE", "Not A Namespace"),
        ("THUMBNAILS_WEBHOOK_ALLOW", "10.0.0.0/99"),
        ("THUMBNAILS_WEBHOOK_URL", "ftp://secret-token@example.com"),
        ("THUMBNAILS_WORKER_LABELS", "queue"),
        ("THUMBNAILS_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_gives_one_line_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        OperatorSettings.from_environment({variable: value})
    text = str(caught.value)
    assert text.startswith(f"{variable}: ")
    assert "\n" not in text
    assert "secret-token" not in text
