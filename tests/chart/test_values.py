"""Which values the chart takes, and which it refuses before anything is installed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "thumbnails"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        {"apis": {}},
        {"api.replicas": 0},
        {"api.replicas": "two"},
        {"api.service.type": "ExternalName"},
        {"api.resources.limits": {"memory": "lots"}},
        {"api.image.digest": "sha256:123"},
        {"image.pullPolicy": "Sometimes"},
        {"image.registry": "https://registry.example.com/"},
        {"namespaces": ["*"]},
        {"namespaces": ["a", "a"]},
        {"settings.maxWorker": 3},
        {"settings.maxWorkers": "3"},
        {"settings.maxWorkers": 1.5},
        {"settings.lingerSeconds": -1},
        {"settings.logLevel": "LOUD"},
        {"settings.presets": "card"},
        {"settings.presets": {"Card": {}}},
        {"settings.workerCpuRequestMillicores": "250m"},
        {"s3.endpoint": "s3.example.com"},
        {"s3.endpoint": "https://user:password@s3.example.com"},
        {"s3.bucket": "Pictures"},
        {"s3.secretKey": "in the open"},
        {"apiKeys.account": "Shop"},
        {"webhook.url": "ftp://example.com"},
        {"kubernetesTokens.audience": ""},
        {"kubernetesTokens.account": "Shop"},
        {"links.secret": "in the open"},
        {"rateLimits.port": 0},
        {"settings.rateLimitRequests": -1},
        {"settings.linkSeconds": 0},
        {"networkPolicy.dns": []},
        {"networkPolicy.apiFrom": [{"cidr": "10.0.0.0/8"}]},
        {"minio.persistence.size": "big"},
        {"minio.enabled": False},
        {"minio.enabled": False, "s3.endpoint": "https://s3.example.com"},
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused(render: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=re.compile("schema|needed without", re.IGNORECASE)):
        render(settings=wrong)


def test_what_is_missing_without_minio_is_named(render: Any) -> None:
    with pytest.raises(Exception, match=r"s3\.endpoint: needed without the bundled MinIO"):
        render(settings={"minio.enabled": False})
    with pytest.raises(Exception, match=r"s3\.existingSecret: needed without the bundled MinIO"):
        render(settings={"minio.enabled": False, "s3.endpoint": "https://s3.example.com"})


def objects(schema: dict[str, Any], path: str = "") -> Any:
    if "properties" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}" if path else name)


def test_no_object_takes_names_that_it_does_not_know() -> None:
    for path, schema in objects(SCHEMA):
        assert schema["additionalProperties"] is False, path


def test_every_value_has_a_default_and_every_default_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, schema in objects(SCHEMA):
        if path == "settings":  # whose defaults are the components'
            continue
        here = values
        for name in filter(None, path.split(".")):
            here = here[name]
        assert set(here) == set(schema["properties"]) - {"global"}, path
