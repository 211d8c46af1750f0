"""The mark of the leader's pod."""

from typing import Any

import pytest

from thumbnails_operator.cluster_api import ApiError
from thumbnails_operator.leader_label import LEADER_LABEL, LeaderLabel

PODS = "/api/v1/namespaces/home/pods"
OURS = {"app.kubernetes.io/name": "thumbnails", "app.kubernetes.io/instance": "one"}


@pytest.fixture
def label(api: Any) -> LeaderLabel:
    for name, labels in {
        "me": OURS,
        "old": {**OURS, LEADER_LABEL: "true"},
        "stranger": {**OURS, "app.kubernetes.io/instance": "two", LEADER_LABEL: "true"},
    }.items():
        api.store(f"{PODS}/{name}", {"metadata": {"name": name, "labels": labels}})
    return LeaderLabel(api, "home", "me")


def marked(api: Any) -> set[str]:
    return {
        pod["metadata"]["name"] for pod in api.objects.values() if LEADER_LABEL in pod["metadata"]["labels"]
    }


def test_it_is_taken_from_others_of_the_deployment_first(api: Any, label: LeaderLabel) -> None:
    label.take()
    assert marked(api) == {"me", "stranger"}
    patched = [path for method, path in api.calls if method == "PATCH"]
    assert patched == [f"{PODS}/old", f"{PODS}/me"]


def test_what_is_right_already_is_left_alone(api: Any, label: LeaderLabel) -> None:
    label.take()
    api.calls.clear()
    label.take()
    assert "PATCH" not in {method for method, _ in api.calls}


def test_a_pod_that_is_gone_meanwhile_is_no_trouble(api: Any, label: LeaderLabel) -> None:
    api.refuse["PATCH", f"{PODS}/old"] = ApiError(404, "NotFound", "gone")
    label.take()
    assert "me" in marked(api)


def test_a_process_outside_a_pod_is_not_marked(api: Any) -> None:
    LeaderLabel(api, "home", "").take()
    assert api.calls == []
