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
        {"s3.publicEndpoint": "s3.example.com"},
        {"s3.bucket": "Pictures"},
        {"s3.region": ""},
        {"s3.secretKey": "in the open"},
        {"s3.ca.bundle": "c2VjcmV0"},
        {"s3.ca.existingConfigMap": "Trust"},
        {"s3.ca.key": "../ca.crt"},
        {"s3.ca.existingSecret": "trust"},
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
        {"fullnameOverride": "Pictures"},
        {"commonLabels": {"team": "a b"}},
        {"podSecurityContext.runAsNonRoot": False},
        {"podSecurityContext.runAsUser": 0},
        {"podSecurityContext.privileged": True},
        {"api.autoscaling.enable": True},
        {"api.autoscaling.minReplicas": 0},
        {"api.autoscaling.behavior": {"scaleSideways": {}}},
        {"api.podDisruptionBudget.maxUnavailable": "100%"},
        {"api.podDisruptionBudget.minAvailable": 1},
        {"api.service.nodePort": 80},
        {"api.service.loadBalancerSourceRanges": ["10.0.0.1"]},
        {"api.ingress.hosts": ["https://thumbnails.example.com"]},
        {"api.ingress.path": "thumbnails"},
        {"api.ingress.tls": [{"secret": "a"}]},
        {"api.serviceAccount.annotations": {"a": 1}},
        {"api.tolerations": [{"key": "a", "op": "Exists"}]},
        {"api.affinity": {"antiAffinity": {}}},
        {"api.topologySpreadConstraints": [{"topologyKey": "zone"}]},
        {"api.extraEnv": [{"name": "A", "valueFrom": {}}]},
        {"api.extraEnv": [{"name": "a-b", "value": "1"}]},
        {"api.podLabels": {"a": "-"}},
        {"operator.nodeSelector": {"a": True}},
        {"networkPolicy.metricsFrom": [{}]},
        {"networkPolicy.apiFrom": [{"podSelector": {"app": "nginx"}}]},
        {"monitoring.podMonitor.interval": "often"},
        {"monitoring.prometheusRule.alertLabels": {"the-team": "a"}},
        {"monitoring.prometheusRule.runbookUrl": "wiki"},
        {"monitoring.serviceMonitor": {"enabled": True}},
        {"tests.key": "in the open"},
        {"worker.replicas": 3},
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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"s3.endpoint": "https://s3.example.com"}, "s3.endpoint: is another object store"),
        ({"s3.ca.existingConfigMap": "a"}, "s3.ca: only the certificate of an https s3.endpoint"),
        (
            {"s3.ca": {"bundle": "-----BEGIN CERTIFICATE-----", "existingConfigMap": "a"}},
            "s3.ca: set bundle or existingConfigMap",
        ),
        ({"webhook.url": "https://a.b", "webhook.existingSecret": "a"}, "webhook: set url or existingSecret"),
        ({"api.ingress.enabled": True}, "api.ingress.hosts: name at least one"),
        ({"settings.minWorkers": 5}, "settings.minWorkers: must not be above"),
        ({"settings.minWorkers": 3, "settings.maxWorkers": 2}, "settings.minWorkers: must not be above"),
        ({"monitoring.podMonitor.enabled": True}, "networkPolicy.metricsFrom says where it is"),
        ({"api.serviceAccount.create": False}, "api.serviceAccount.name: name the account"),
        ({"operator.serviceAccount.create": False}, "operator.serviceAccount.name: name the account"),
        (
            {"api.autoscaling.enabled": True, "api.autoscaling.minReplicas": 7},
            "minReplicas must not be above maxReplicas",
        ),
        (
            {"api.autoscaling.enabled": True, "api.autoscaling.targetCPUUtilizationPercentage": 0},
            "set targetCPUUtilizationPercentage or",
        ),
        (
            {"api.autoscaling.enabled": True, "api.resources.requests.cpu": None},
            "api.resources.requests.cpu: autoscaling is measured by it",
        ),
    ],
    ids=json.dumps,
)
def test_values_that_do_not_go_together_are_refused_with_what_to_do(
    render: Any, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception, match=re.escape(said)):
        render(settings=values)


def test_a_refusal_names_the_value(render: Any) -> None:
    with pytest.raises(Exception, match=r"(?s)/settings.*maxWorker\b"):
        render(settings={"settings.maxWorker": 3})
    with pytest.raises(Exception, match=r"(?s)/api/replicas.*want 1"):
        render(settings={"api.replicas": 0})


def objects(schema: dict[str, Any], path: str = "") -> Any:
    if "properties" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}" if path else name)


def test_no_object_takes_names_that_it_does_not_know() -> None:
    for path, schema in [*objects(SCHEMA), *((name, d) for name, d in SCHEMA["$defs"].items())]:
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path


def test_every_value_has_a_default_and_every_default_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, schema in objects(SCHEMA):
        # The components have the defaults of the first; of the others Kubernetes does.
        if path == "settings" or path.startswith("podSecurityContext") or path.endswith(("hosts", "tls")):
            continue
        here = values
        for name in filter(None, path.split(".")):
            here = here[name]
        if path.endswith("behavior"):
            continue
        assert set(here) == set(schema["properties"]) - {"global"}, path
