"""The cluster's own parts go away: what is taken is kept, and goes on when they are back."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from hack.cluster.faults import RunningNode
from hack.cluster.proxy import ApiProxy

AtOnce = Callable[[Callable[[], Any]], AbstractContextManager[None]]


def test_the_api_server_is_away(outages: Any, node: RunningNode) -> None:
    outages.run("kube-apiserver away for 20 s", node.away("kube-apiserver"), seconds=20)


def test_the_api_server_does_not_answer(outages: Any, node: RunningNode) -> None:
    outages.run("kube-apiserver silent for 20 s", node.frozen("kube-apiserver"), seconds=20)


def test_etcd_is_out_of_space(outages: Any, node: RunningNode) -> None:
    outages.run("etcd out of space for 20 s", node.store_without_space(), seconds=20)


def test_containerd_is_restarted(outages: Any, node: RunningNode, at_once: AtOnce) -> None:
    outages.run("containerd restarted", at_once(lambda: node.restart("containerd")))


def test_the_kubelet_is_away(outages: Any, node: RunningNode) -> None:
    outages.run("kubelet stopped for 60 s", node.away("kubelet"), seconds=60)


# ---- an API server that answers, and wrongly ---------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(faulty: Any, node: RunningNode) -> Iterator[ApiProxy]:
    """All components call the API server through it."""
    proxy = ApiProxy(node.layout)
    deployments = ["deployment/thumbnails-api", "deployment/thumbnails-operator"]
    try:
        faulty.kubectl(
            *("set", "env", *deployments),
            *(f"KUBERNETES_SERVICE_HOST={proxy.host}", f"KUBERNETES_SERVICE_PORT={proxy.port}"),
        )
        for deployment in deployments:
            faulty.kubectl("rollout", "status", deployment, "--timeout=180s")
        yield proxy
        faulty.kubectl("set", "env", *deployments, "KUBERNETES_SERVICE_HOST-", "KUBERNETES_SERVICE_PORT-")
    finally:
        proxy.close()


def every(count: int, status: int) -> Callable[[str, str], int | None]:
    """Answers all but each `count`-th request with this status."""
    asked = 0

    def interfere(_method: str, _path: str) -> int | None:
        nonlocal asked
        asked += 1
        return None if asked % count == 0 else status

    return interfere


@pytest.mark.parametrize("status", [429, 500])
def test_the_api_server_refuses_most_requests(outages: Any, proxy: ApiProxy, status: int) -> None:
    refused = proxy.answered[status]
    outages.run(f"kube-apiserver answers {status} for 20 s", proxy.answering(every(10, status)), seconds=20)
    assert proxy.answered[status] > refused, "nobody was refused"


def test_watches_expire_and_lists_do_too(outages: Any, proxy: ApiProxy) -> None:
    """What happened meanwhile is found all the same: jobs that came, and one that was deleted."""

    def gone(method: str, path: str) -> int | None:
        return 410 if method == "GET" and ("watch=" in path or "continue=" in path) else None

    @contextmanager
    def expired() -> Iterator[None]:
        with proxy.answering(gone):
            assert proxy.expire_watches() >= 2, "nobody watched"
            yield

    outages.run("kube-apiserver answers 410 to watches for 20 s", expired(), seconds=20)
    assert proxy.answered[410]


# ---- what an administrator allows --------------------------------------------------------------------


@contextmanager
def quota(faulty: Any, **hard: Any) -> Iterator[None]:
    """A ResourceQuota of the namespace; returns once it counts."""
    manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight"},
        "spec": {"hard": hard},
    }
    faulty.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
    try:
        faulty.kubectl("wait", "--for=jsonpath={.status.hard}", "resourcequota/tight", "--timeout=60s")
        yield
    finally:
        faulty.kubectl("delete", "resourcequota", "tight", "--ignore-not-found")


def test_no_more_jobs_may_be_created(outages: Any, faulty: Any) -> None:
    there = len(faulty.get("thumbnailjobs")["items"])
    outages.run(
        "ResourceQuota of ThumbnailJobs reached for 20 s",
        quota(faulty, **{"count/thumbnailjobs.thumbnails.dev": str(there)}),
        seconds=20,
        later=frozenset({429}),
    )


def test_no_more_pods_may_be_created(outages: Any, faulty: Any) -> None:
    @contextmanager
    def no_pods() -> Iterator[None]:
        with quota(faulty, pods="0"):
            faulty.kubectl("delete", "jobs", "--selector=thumbnails.dev/worker", "--cascade=foreground")
            yield

    outages.run("ResourceQuota of pods reached", no_pods(), told=frozenset({"FailedCreate", "QuotaExceeded"}))
