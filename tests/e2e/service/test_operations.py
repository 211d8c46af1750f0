"""What an administrator sees of the installed service: pods, secrets, probes, workers that come and go."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("installation")]
Photo = Callable[..., bytes]
COMPONENTS = ("api", "operator", "minio", "worker")


def test_workers_come_with_work_and_end_after_lingering(
    installation: Any, photo: Photo, eventually: Callable[..., Any]
) -> None:
    job = installation.wait_job(installation.post(photo()).json()["id"])
    assert job["status"] == "complete"
    assert installation.pods("worker")
    eventually(lambda: not installation.get("jobs")["items"], "no worker Job is left")
    eventually(lambda: not installation.pods("worker"), "no worker's pod is left")
    again = installation.wait_job(installation.post(photo()).json()["id"])
    assert again["status"] == "complete"
    (worker,) = installation.pods("worker")
    name = installation.job_resource(again["id"])["status"]["workerJob"]
    assert worker["metadata"]["labels"]["batch.kubernetes.io/job-name"] == name


def test_no_secret_is_in_a_pod_s_spec_or_a_log(installation: Any, photo: Photo) -> None:
    job = installation.post(photo(), webhookUrl=f"{installation.webhooks.url}/secret?token=hush").json()["id"]
    installation.wait_job(job)
    installation.webhooks.of_job(job)
    secrets = [
        installation.key,
        installation.secret("thumbnails-s3", "secretKey"),
        installation.secret("thumbnails-minio", "rootPassword"),
        installation.secret("thumbnails-webhook-default", "secret"),
        "X-Amz-Signature",
        "token=hush",
    ]
    said = []
    for component in COMPONENTS:
        for pod in installation.pods(component):
            said.append(json.dumps({"spec": pod["spec"], "status": pod["status"]}))
            said.append(installation.kubectl("logs", pod["metadata"]["name"], "--all-containers"))
    assert sum(map(len, said)) > 1000
    for secret in secrets:
        assert not any(secret in text for text in said), f"{secret[:4]}... is there to read"
    events = installation.kubectl("get", "events", "--output=json")
    assert not any(secret in events for secret in secrets)


def test_pods_are_restricted_and_workers_have_nothing(installation: Any, photo: Photo) -> None:
    installation.wait_job(installation.post(photo()).json()["id"])
    for component in COMPONENTS:
        pods = installation.pods(component)
        assert pods, component
        for pod in pods:
            spec = pod["spec"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            for container in spec["containers"]:
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"] is True
                assert context["allowPrivilegeEscalation"] is False
    worker = installation.pods("worker")[0]["spec"]
    assert worker["automountServiceAccountToken"] is False
    (container,) = worker["containers"]
    assert not any("valueFrom" in variable for variable in container.get("env", ()))
    assert not any("secret" in volume for volume in worker["volumes"])


def test_all_replicas_are_ready_and_measured(installation: Any) -> None:
    for component in ("api", "operator"):
        for pod in installation.pods(component):
            path = f"/api/v1/namespaces/{installation.namespace}/pods/{pod['metadata']['name']}:8080/proxy"
            assert installation.tools.run("kubectl", "get", "--raw", f"{path}/readyz")
            if component == "operator":
                assert "thumbnails_operator_" in installation.tools.run(
                    "kubectl", "get", "--raw", f"{path}/metrics"
                )
    assert installation.leader() is not None
