"""compose.yaml: the whole service in one container, which asks for keys and keeps its data."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from thumbnails_contract.variables import complaints
from thumbnails_local.data_folder import DataFolder
from thumbnails_local.settings import LocalSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
(SERVICE,) = COMPOSE["services"].values()
DOCKERFILE = (ROOT / "local" / "Dockerfile").read_text("utf-8")


def image_environment() -> dict[str, str]:
    """What the image sets, of our variables."""
    return dict(re.findall(r"(THUMBNAILS_\w+)=(\S+)", DOCKERFILE))


def test_compose_takes_it(compose_schema: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(compose_schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []


def test_what_is_wrong_is_found(compose_schema: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(compose_schema)
    broken = {"services": {"thumbnails": {**SERVICE, "port": ["3000:3000"]}}}
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(broken)


def test_its_settings_are_ones_that_the_service_starts_with() -> None:
    unset = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in SERVICE["environment"].items()
    }
    environment = {**image_environment(), **unset}
    assert list(complaints(environment)) == []
    settings = LocalSettings.from_environment(environment)
    assert settings.login
    assert settings.host == "0.0.0.0"
    assert settings.port == 3000


def test_only_this_machine_reaches_it_until_somebody_decides_otherwise() -> None:
    assert SERVICE["ports"] == ["127.0.0.1:3000:3000"]


def test_data_outlives_the_container_and_nothing_else_can_be_written() -> None:
    data = image_environment()["THUMBNAILS_DATA"]
    assert [volume.split(":")[1] for volume in SERVICE["volumes"]] == [data]
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert re.search(rf"^USER {SERVICE['user']}$", DOCKERFILE, re.MULTILINE)


def test_the_first_key_is_where_the_file_says_it_is() -> None:
    key = DataFolder(Path(image_environment()["THUMBNAILS_DATA"])).first_key
    assert f"docker compose exec thumbnails cat {key}\n" in TEXT
    assert f"docker compose exec thumbnails cat {key}" in (ROOT / "README.md").read_text("utf-8")


def test_the_image_has_what_it_copies_and_installs() -> None:
    assert (ROOT / SERVICE["build"]["dockerfile"]).is_file()
    allowed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists()
            assert f"!{source.split('/')[0]}" in allowed
