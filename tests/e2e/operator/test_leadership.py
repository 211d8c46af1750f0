"""Two replicas, of which one leads."""

import io
import signal
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

Eventually = Callable[..., Any]


def a_picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


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
        eventually(lambda: first.log.count("standing by") == 2, "it starts anew, since another one leads")
        eventually(first.ready, "it stands by")
        assert first.process.poll() is None, "its container would have to wait for its next start"
        assert world.lease()["holder"].startswith("operator-b_")
        assert not first.leads()


@pytest.mark.slow
def test_a_worker_that_waits_for_a_frozen_leader_goes_to_the_next_one(
    world: Any, eventually: Eventually
) -> None:
    """The kernel keeps the connections of a frozen process alive: only its silence tells."""
    first = world.start_leader("operator-a")
    second = world.start_operator("operator-b")
    eventually(second.ready, "the other one stands by")
    service = world.start_service(first)
    world.start_worker(service, "worker-one")
    world.create_job("one", world.upload("one.jpg", a_picture(100)))
    eventually(lambda: world.phase("one") == "Succeeded", "the worker works, and waits again")

    first.process.send_signal(signal.SIGSTOP)
    world.create_job("two", world.upload("two.jpg", a_picture(200)))
    eventually(lambda: world.marked_pods() == {"operator-b"}, "the other one leads")
    service.endpoint = second.exchange_port
    # The worker's poll began just before, and would go on for longer than this.
    eventually(lambda: world.phase("two") == "Succeeded", "the worker has come along", 25)
