"""Replicas of the API that die while uploads flow: an upload that was answered is never lost."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def delete(trial: Any, pod: str) -> None:
    trial.installation.delete_pod(pod, grace=0)


def kill(trial: Any, pod: str) -> None:
    trial.kill(pod)


@pytest.mark.parametrize("end", [delete, kill])
def test_one_replica_after_the_other_ends_while_uploads_flow(
    trial: Any, end: Callable[[Any, str], None]
) -> None:
    with trial.uploads_flow() as await_more:
        for pod in trial.installation.pods("api"):
            await_more(10)
            end(trial, pod["metadata"]["name"])
            await_more(10)
            trial.await_ready("api", 2)
        await_more(10)
    assert trial.setbacks["connection"], "no client noticed"
    trial.check()


def test_all_replicas_are_killed_and_what_is_sent_again_is_one_job(trial: Any) -> None:
    trial.idempotent = True
    with trial.uploads_flow() as await_more:
        await_more(10)
        for pod in trial.installation.pods("api"):
            trial.kill(pod["metadata"]["name"])
        await_more(30)
    assert trial.setbacks["connection"], "no client noticed"
    trial.await_ready("api", 2)
    trial.check()
