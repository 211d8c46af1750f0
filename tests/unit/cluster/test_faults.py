"""What of a running node can be taken away and given back, as far as that needs no node."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hack.cluster.components import audit_policy
from hack.cluster.faults import RunningNode, frozen
from hack.cluster.record import Record, birth, write_record
from hack.cluster.shell import ClusterError


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_frozen_process_goes_on_whatever_happens_meanwhile(process: "subprocess.Popen[bytes]") -> None:
    def freeze_and_fail() -> None:
        with frozen([process.pid]):
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            assert state(process.pid) == "T"
            raise ValueError("meanwhile")

    with pytest.raises(ValueError, match="meanwhile"):
        freeze_and_fail()
    os.waitid(os.P_PID, process.pid, os.WCONTINUED)
    assert state(process.pid) in "SR"


def test_one_that_ended_while_it_was_frozen_is_no_error(process: "subprocess.Popen[bytes]") -> None:
    with frozen([process.pid]):
        process.kill()
        process.wait()


def test_a_node_is_known_by_its_own_kubeconfig_and_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "run" / "owner.json"
    kubeconfig = tmp_path / ".cluster" / "kubeconfig"
    assert RunningNode.of_kubeconfig(kubeconfig, path) is None
    alive = Record(str(tmp_path), "/cache/programs", pid=os.getpid(), born=birth(os.getpid()) or 0)
    write_record(path, alive)
    node = RunningNode.of_kubeconfig(kubeconfig, path)
    assert node is not None
    assert node.layout.logs == tmp_path / ".cluster" / "logs"
    assert RunningNode.of_kubeconfig(tmp_path / "another", path) is None
    write_record(path, Record(str(tmp_path), "/cache/programs", pid=os.getpid(), born=1))
    assert RunningNode.of_kubeconfig(kubeconfig, path) is None


def test_processes_of_a_container_are_found_by_their_control_group(tmp_path: Path) -> None:
    node = RunningNode(Record(str(tmp_path), "/cache/programs"))
    with pytest.raises(ClusterError, match="No process"):
        node.container_pids("containerd://0123456789abcdef")


def test_the_audit_log_has_all_that_workloads_ask_for_and_every_write() -> None:
    rules = audit_policy()["rules"]
    system, workloads = "system:serviceaccounts:kube-system", "system:serviceaccounts"
    of_workloads = next(index for index, rule in enumerate(rules) if rule.get("userGroups") == [workloads])
    assert rules[of_workloads] == {"level": "Metadata", "userGroups": [workloads]}
    assert all(rule["userGroups"] == [system] for rule in rules[:of_workloads])
    assert rules[-1] == {"level": "None"}
    assert set(rules[-2]["verbs"]) == {"create", "update", "patch", "delete", "deletecollection"}
