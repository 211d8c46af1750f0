"""Workers that die while they work: other workers do what was left."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APicture = Callable[..., Any]


@pytest.mark.parametrize("grace_seconds", [0, 10], ids=["at once", "with time to end"])
def test_a_worker_pod_that_is_deleted_is_no_pictures_fault(
    trial: Any, a_slow_picture: APicture, grace_seconds: int
) -> None:
    names = trial.upload(a_slow_picture() for _ in range(20))
    trial.await_middle()
    pod = trial.workers.await_running()
    trial.installation.delete_pod(pod, grace=grace_seconds)
    jobs = trial.check()
    assert pod not in trial.workers.running(), "the pod lives on"
    assert {jobs[name]["status"]["attempts"] for name in names} == {1}


def test_a_worker_that_is_killed_fails_no_picture(trial: Any, a_slow_picture: APicture) -> None:
    names = trial.upload(a_slow_picture() for _ in range(12))
    trial.await_middle()
    pod = trial.workers.await_running()
    trial.kill(pod)
    jobs = trial.check()
    assert pod in trial.workers.ended()
    again = [name for name in names if jobs[name]["status"]["attempts"] > 1]
    assert 1 <= len(again) < len(names), "only what it held is tried again"
