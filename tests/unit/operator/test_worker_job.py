"""The manifest of a worker's Job."""

import pytest

from thumbnails_contract.environment import InvalidSetting
from thumbnails_contract.names import WORKER_LABEL
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.worker_job import TOKEN_DIRECTORY, worker_job, worker_name

SETTINGS = OperatorSettings(
    worker_image="registry.example/worker:1",
    worker_memory_mib=300,
    worker_renderers=2,
    worker_cpu_request_millicores=300,
    worker_labels={"kueue.x-k8s.io/queue-name": "pictures"},
    exchange_url="http://exchange:1234",
)
MANIFEST = worker_job(SETTINGS, "red", worker_name("abc"))
POD = MANIFEST["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRONMENT = {item["name"]: item["value"] for item in CONTAINER["env"]}


def test_it_is_a_job_of_ours() -> None:
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("batch/v1", "Job")
    assert MANIFEST["metadata"]["name"] == "thumbnails-worker-abc"
    assert MANIFEST["metadata"]["namespace"] == "red"
    for labels in (MANIFEST["metadata"]["labels"], POD["metadata"]["labels"]):
        assert labels[WORKER_LABEL] == "thumbnails-worker-abc"
        assert labels["kueue.x-k8s.io/queue-name"] == "pictures"


def test_kubernetes_makes_no_second_pod_but_after_a_disruption() -> None:
    spec = MANIFEST["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podReplacementPolicy"] == "Failed"
    assert POD["spec"]["restartPolicy"] == "Never"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["activeDeadlineSeconds"] == 3600
    assert spec["ttlSecondsAfterFinished"] == 300


def test_pod_security_restricted() -> None:
    pod, own = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True


def test_the_only_token_is_for_the_exchange_alone() -> None:
    assert POD["spec"]["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    (source,) = volumes["exchange-token"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "thumbnails-exchange"
    assert ENVIRONMENT["THUMBNAILS_EXCHANGE_TOKEN_FILE"] == f"{TOKEN_DIRECTORY}/token"
    assert volumes["tmp"]["emptyDir"]["medium"] == "Memory"


def test_the_object_stores_authorities_are_where_the_operator_has_them() -> None:
    settings = OperatorSettings.from_environment(
        {"THUMBNAILS_S3_CA_FILE": "/run/s3-ca/ca.crt", "THUMBNAILS_WORKER_S3_CA": "trust-bundle/ca.pem"}
    )
    pod = worker_job(settings, "red", "a")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "THUMBNAILS_S3_CA_FILE", "value": "/run/s3-ca/ca.crt"} in container["env"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["s3-ca"]["configMap"]["name"] == "trust-bundle"
    assert volumes["s3-ca"]["configMap"]["items"] == [{"key": "ca.pem", "path": "ca.crt"}]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["s3-ca"] == {"name": "s3-ca", "mountPath": "/run/s3-ca", "readOnly": True}


def test_on_one_machine_workers_read_the_file_itself() -> None:
    settings = OperatorSettings.from_environment({"THUMBNAILS_S3_CA_FILE": "/etc/pki/s3.pem"})
    pod = worker_job(settings, "red", "a")["spec"]["template"]["spec"]
    assert {"name": "THUMBNAILS_S3_CA_FILE", "value": "/etc/pki/s3.pem"} in pod["containers"][0]["env"]
    assert {volume["name"] for volume in pod["volumes"]} == {"tmp", "exchange-token"}


@pytest.mark.parametrize(
    ("value", "ca_file"),
    [
        ("trust-bundle", "/ca.crt"),
        ("trust-bundle/", "/ca.crt"),
        ("a/b/c", "/ca.crt"),
        ("Trust/ca.crt", "/ca.crt"),
        ("trust-bundle/ca.crt", ""),
        ("trust-bundle/ca.crt", "ca.crt"),
    ],
)
def test_authorities_that_cannot_be_mounted_are_refused(value: str, ca_file: str) -> None:
    environment = {"THUMBNAILS_WORKER_S3_CA": value, "THUMBNAILS_S3_CA_FILE": ca_file}
    with pytest.raises(InvalidSetting, match=r"^THUMBNAILS_WORKER_S3_CA: "):
        OperatorSettings.from_environment(environment)


def test_resources_and_everything_a_worker_needs_to_know() -> None:
    assert CONTAINER["command"] == ["python", "-m", "thumbnails_worker"]
    assert CONTAINER["resources"] == {
        "requests": {"cpu": "600m", "memory": "300Mi"},
        "limits": {"cpu": "2", "memory": "300Mi"},
    }
    assert {
        "PYTHONSAFEPATH": "1",
        "THUMBNAILS_EXCHANGE_URL": "http://exchange:1234",
        "THUMBNAILS_EXCHANGE_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
        "THUMBNAILS_WORKER_RENDERERS": "2",
        "THUMBNAILS_WORKER_MEMORY_MIB": "300",
        "THUMBNAILS_WORKER_DEADLINE_SECONDS": "3600",
        "THUMBNAILS_OPERATOR_LOST_SECONDS": "120",
        "THUMBNAILS_LOG_LEVEL": "INFO",
        "THUMBNAILS_LOG_FORMAT": "json",
    } == ENVIRONMENT
