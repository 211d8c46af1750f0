"""A process that stands for election, with an API server in memory."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thumbnails_operator.cluster_settings import ClusterSettings
from thumbnails_operator.election import LeaseRecord
from thumbnails_operator.leadership import Leadership

PATIENCE = 30.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/thumbnails/leases/thumbnails-operator"


class Candidate:
    """One process."""

    def __init__(self, api: Any, identity: str, **settings: float) -> None:
        self.elected = threading.Event()
        self.lost = threading.Event()
        self.generation = 0
        self.alive = True
        self.leadership = Leadership(
            api,
            ClusterSettings(identity=identity, **{"retry_seconds": 0.05, **settings}),  # type: ignore[arg-type]
            elected=self._on_elected,
            lost=self.lost.set,
            alive=lambda: self.alive,
        )
        self.leadership.start()

    def _on_elected(self, generation: int) -> None:
        self.generation = generation
        self.elected.set()


@pytest.fixture
def stand(api: Any) -> Iterator[Callable[..., Candidate]]:
    candidates: list[Candidate] = []

    def start(identity: str, **settings: float) -> Candidate:
        candidates.append(Candidate(api, identity, **settings))
        return candidates[-1]

    yield start
    api.away = False
    for candidate in candidates:
        candidate.leadership.release()


def holder(api: Any) -> str:
    return LeaseRecord.parse(api.objects[LEASE]).holder


def wait_for_calls(api: Any, count: int) -> None:
    """Somebody has looked at the Lease so often."""
    deadline = time.monotonic() + PATIENCE
    while len(api.calls) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_first_leads_and_the_second_follows_once_it_lets_go(
    api: Any, stand: Callable[..., Candidate]
) -> None:
    first = stand("first", retry_seconds=60.0)
    assert first.elected.wait(PATIENCE)
    api.calls.clear()
    second = stand("second")
    wait_for_calls(api, 2)
    assert not second.elected.is_set() and not second.leadership.leads
    first.leadership.release()
    assert second.elected.wait(PATIENCE)
    assert holder(api) == "second"
    assert second.generation > first.generation
    assert not first.lost.is_set() and not first.leadership.leads


def test_one_that_cannot_renew_is_lost(api: Any, stand: Callable[..., Candidate]) -> None:
    leader = stand("leader", renew_deadline_seconds=0.3)
    assert leader.elected.wait(PATIENCE)
    api.away = True
    assert leader.lost.wait(PATIENCE)
    assert not leader.leadership.leads


def test_one_whose_loop_hangs_does_not_renew(api: Any, stand: Callable[..., Candidate]) -> None:
    leader = stand("leader", renew_deadline_seconds=0.3)
    assert leader.elected.wait(PATIENCE)
    leader.alive = False
    assert leader.lost.wait(PATIENCE)


def test_one_whose_lease_another_one_took_is_lost(api: Any, stand: Callable[..., Candidate]) -> None:
    leader = stand("leader")
    assert leader.elected.wait(PATIENCE)
    api.store(LEASE, {**api.objects[LEASE], "spec": {"holderIdentity": "thief", "leaseDurationSeconds": 15}})
    assert leader.lost.wait(PATIENCE)
    assert holder(api) == "thief"


def test_a_silent_leader_is_followed(api: Any, stand: Callable[..., Candidate]) -> None:
    api.store(LEASE, {"spec": {"holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": 6}})
    follower = stand("follower")
    assert follower.elected.wait(PATIENCE)
    assert LeaseRecord.parse(api.objects[LEASE]).transitions == 7


def test_a_follower_outlasts_an_api_server_that_is_away(api: Any, stand: Callable[..., Candidate]) -> None:
    api.away = True
    candidate = stand("candidate")
    wait_for_calls(api, 1)
    api.away = False
    assert candidate.elected.wait(PATIENCE)
    assert not candidate.lost.is_set()


def test_one_that_never_led_has_nothing_to_release(api: Any, stand: Callable[..., Candidate]) -> None:
    api.store(LEASE, {"spec": {"holderIdentity": "other", "leaseDurationSeconds": 60}})
    candidate = stand("candidate")
    candidate.leadership.release()
    assert holder(api) == "other"
