"""What an admin may say of workers' pods."""

import json

import pytest

from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.worker_job import worker_job
from thumbnails_operator.worker_pod import WorkerPod

SAID = {
    "nodeSelector": {"pool": "pictures"},
    "tolerations": [{"key": "pictures", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "low",
    "runtimeClassName": "gvisor",
}


def test_pods_run_where_and_as_whom_it_is_said() -> None:
    text = json.dumps(
        {**SAID, "annotations": {"a": "b"}, "securityContext": {"runAsNonRoot": True, "fsGroup": 7}}
    )
    settings = OperatorSettings.from_environment({"THUMBNAILS_WORKER_POD": text})
    template = worker_job(settings, "red", "a")["spec"]["template"]
    assert {name: template["spec"][name] for name in SAID} == SAID
    assert template["metadata"]["annotations"] == {"a": "b"}
    assert template["spec"]["securityContext"] == {"runAsNonRoot": True, "fsGroup": 7}


def test_what_is_empty_is_not_said() -> None:
    pod = WorkerPod.parse('{"nodeSelector": {}, "priorityClassName": "", "tolerations": []}')
    assert pod == WorkerPod()
    template = worker_job(OperatorSettings(), "red", "a")["spec"]["template"]
    assert not SAID.keys() & template["spec"].keys()
    assert "annotations" not in template["metadata"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pool=pictures", "must be JSON"),
        ("[]", "must be a JSON object"),
        ('{"containers": [], "hostNetwork": true}', "may not say containers, hostNetwork, only affinity"),
        ('{"nodeSelector": "pictures"}', "nodeSelector must be an object"),
        ('{"tolerations": {}}', "tolerations must be an array"),
        ('{"runtimeClassName": 1}', "runtimeClassName must be a text"),
        ('{"securityContext": {"runAsUser": 0}}', "securityContext must have runAsNonRoot: true"),
    ],
)
def test_anything_else_is_refused_with_the_name_of_the_setting(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"THUMBNAILS_WORKER_POD: {said}"):
        OperatorSettings.from_environment({"THUMBNAILS_WORKER_POD": text})
