"""Two replicas, of which one leads."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

Eventually = Callable[..., Any]
FINISHED = {"Succeeded", "Failed"}


def test_one_leads_is_marked_and_hands_over_when_it_ends(world: Any, eventually: Eventually) -> None:
    first = world.start_leader("operator-a")
    second = world.start_operator("operator-b")
    eventually(lambda: world.marked_pods() == {"operator-a"}, "the leader's pod is marked")
    eventually(second.ready, "the other one stands by")
    before = world.lease()
    assert before["holder"].startswith("operator-a_") and not second.leads()

    first.process.send_signal(signal.SIGTERM)
    eventually(second.leads, "the other one leads")
    eventually(lambda: world.marked_pods() == {"operator-b"}, "the mark went along")
    assert world.lease()["transitions"] > before["transitions"]
    assert first.process.wait(60) == 0, first.log


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_leader_that_is_gone_is_replaced_and_does_not_come_back(
    world: Any, eventually: Eventually, how: signal.Signals
) -> None:
    first = world.start_leader("operator-a")
    second = world.start_operator("operator-b")
    eventually(second.ready, "the other one stands by")
    first.process.send_signal(how)
    world.create_job("meanwhile", f"sources/{world.namespace}/missing.jpg")
    eventually(lambda: world.phase("meanwhile") == "Failed", "the other one has taken over")
    assert second.leads()
    eventually(lambda: world.marked_pods() == {"operator-b"}, "the mark went along")
    if how is signal.SIGSTOP:
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(60) == 1, "it must end, since another one leads"
        assert world.lease()["holder"].startswith("operator-b_")
