"""Settings of the API from the environment: defaults, and one clear line for what is wrong."""

import re
from typing import Any

import pytest

from thumbnails_api.settings import ApiSettings


def test_defaults_let_real_pictures_through() -> None:
    settings = ApiSettings.from_environment({})
    assert settings == ApiSettings()
    assert settings.max_upload_bytes >= 50 * 1024 * 1024
    assert settings.max_pixels >= 100_000_000
    assert settings.max_output_side_pixels == 4096
    assert settings.max_waiting_requests < settings.threads


def test_variables_are_read() -> None:
    env = {
        "THUMBNAILS_MAX_UPLOAD_BYTES": " 1000 ",
        "THUMBNAILS_API_THREADS": "40",
        "THUMBNAILS_MAX_PIXELS": "",
    }
    settings = ApiSettings.from_environment(env)
    assert settings.max_upload_bytes == 1000
    assert settings.threads == 40
    assert settings.max_pixels == ApiSettings().max_pixels


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THUMBNAILS_MAX_UPLOAD_BYTES", "many"),
        ("THUMBNAILS_MAX_UPLOAD_BYTES", "0"),
        ("THUMBNAILS_MAX_OUTPUT_SIDE", "20000"),
        ("THUMBNAILS_MAX_WAITING_REQUESTS", "24"),
        ("THUMBNAILS_API_THREADS", "1"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(variable)) as raised:
        ApiSettings.from_environment({variable: value})
    assert "\n" not in str(raised.value)
