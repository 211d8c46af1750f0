"""An object store that goes away while uploads flow: clients are told to come back, and nothing is lost."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APicture = Callable[..., Any]


def test_the_object_store_is_restarted_while_uploads_flow(trial: Any) -> None:
    with trial.uploads_flow() as await_more:
        await_more(10)
        (before,) = trial.installation.pods("minio")
        trial.installation.delete_pod(before["metadata"]["name"], grace=0)
        await_more(30)
        trial.await_ready("minio", 1)
        await_more(10)
    (after,) = trial.installation.pods("minio")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    trial.check()


def test_the_object_store_is_away_for_a_while(trial: Any, a_slow_picture: APicture) -> None:
    trial.upload(a_slow_picture() for _ in range(12))
    trial.await_middle()
    with trial.uploads_flow() as await_more:
        trial.scale("minio", 0)
        trial.await_setbacks("503", 3)
        trial.scale("minio", 1)
        await_more(20)
    trial.check()
