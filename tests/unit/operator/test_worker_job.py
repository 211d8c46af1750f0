"""The manifest of a worker's Job."""

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
