"""Operators that die while pictures are rendered: workers go on, and tell the next leader what they have."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Eventually = Callable[..., Any]
APicture = Callable[..., Any]


def delete(trial: Any, pod: str) -> None:
    trial.installation.delete_pod(pod, grace=0)


def kill(trial: Any, pod: str) -> None:
    trial.kill(pod)


@pytest.mark.parametrize("end", [delete, kill])
def test_the_leader_ends_and_another_one_goes_on(
    trial: Any, a_slow_picture: APicture, eventually: Eventually, end: Callable[[Any, str], None]
) -> None:
    before = trial.upload(a_slow_picture() for _ in range(20))
    trial.await_middle()
    leader, process = trial.installation.leader(), trial.installation.leading_process()
    end(trial, leader)
    meanwhile = trial.upload(a_slow_picture() for _ in range(4))
    jobs = trial.check()
    eventually(lambda: trial.installation.leading_process() not in {"", process}, "another process leads")
    if end is delete:  # a killed one may be back in its pod, and lead again, before the other one is
        eventually(lambda: trial.installation.leader() not in {None, leader}, "the other pod leads")
    assert {jobs[name]["status"]["attempts"] for name in before + meanwhile} == {1}, "that was no attempt"


def test_both_operators_are_deleted(trial: Any, a_slow_picture: APicture, eventually: Eventually) -> None:
    trial.upload(a_slow_picture() for _ in range(20))
    trial.await_middle()
    old = {pod["metadata"]["name"] for pod in trial.installation.pods("operator")}
    for pod in old:
        trial.installation.delete_pod(pod, grace=0)
    trial.upload(a_slow_picture() for _ in range(4))
    trial.check()
    assert trial.installation.leader() not in old
