"""Operators that freeze or die together, while uploads flow."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from hack.cluster.faults import RunningNode, frozen

AtOnce = Callable[[Callable[[], Any]], AbstractContextManager[None]]
LEASE_SECONDS = 15


def processes(node: RunningNode, pod: Any) -> list[int]:
    """Those of a pod's first container."""
    return node.container_pids(pod["status"]["containerStatuses"][0]["containerID"])


def test_the_leader_is_paused_for_longer_than_its_lease(
    outages: Any, faulty: Any, node: RunningNode, eventually: Callable[..., Any]
) -> None:
    eventually(faulty.leader, "an operator leads")
    before = faulty.leading_process()
    (leader,) = (pod for pod in faulty.pods("operator") if pod["metadata"]["name"] == faulty.leader())
    jobs = outages.run(
        "operator's leader paused for 25 s", frozen(processes(node, leader)), seconds=LEASE_SECONDS + 10
    )
    assert faulty.leading_process() not in {"", before}, "another process leads"
    assert {job["status"].get("attempts", 0) for job in jobs.values()} <= {0, 1}, "that was no attempt"

    name = leader["metadata"]["name"]
    eventually(lambda: faulty.kubectl("logs", name).count("standing by") == 2, "it starts anew")
    after = faulty.get("pod", name)["status"]["containerStatuses"][0]
    assert after["restartCount"] == leader["status"]["containerStatuses"][0]["restartCount"]


def test_both_operators_are_killed(outages: Any, faulty: Any, node: RunningNode, at_once: AtOnce) -> None:
    def kill() -> None:
        for pod in faulty.pods("operator"):
            for pid in processes(node, pod):
                os.kill(pid, signal.SIGKILL)

    outages.run("both operators killed", at_once(kill))


def test_no_operator_runs_for_a_while(outages: Any, faulty: Any) -> None:
    @contextmanager
    def none() -> Iterator[None]:
        faulty.kubectl("scale", "deployment/thumbnails-operator", "--replicas=0")
        try:
            yield
        finally:
            faulty.kubectl("scale", "deployment/thumbnails-operator", "--replicas=2")

    outages.run("no operator for 30 s", none(), seconds=30)
