"""Whom the exchange believes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from thumbnails_contract.errors import Unavailable
from thumbnails_operator.cluster_api import TOKEN_REVIEWS, ApiError
from thumbnails_operator.identity import POD_NAME, POD_UID, REVIEW_SECONDS, TokenReviewIdentifier, bearer_of
from thumbnails_operator.ports import WorkerIdentity
from thumbnails_operator.worker_watch import WorkerWatch

Document = dict[str, Any]
POD_PATH = "/api/v1/namespaces/red/pods/w-x"
JOB_PATH = "/apis/batch/v1/namespaces/red/jobs/w"
WORKER = WorkerIdentity("red", "w", "pod-1")


def a_review(**changes: Any) -> Document:
    status: Document = {
        "authenticated": True,
        "audiences": ["exchange"],
        "user": {
            "username": "system:serviceaccount:red:worker",
            "extra": {POD_NAME: ["w-x"], POD_UID: ["pod-1"]},
        },
    }
    return {"status": {**status, **changes}}


class World:
    """A worker's token, pod and Job, as they should be; tests change them."""

    def __init__(self, api: Any, run_blocking: Any, monotonic: Any) -> None:
        self.api = api
        self.review = a_review()
        api.answers[TOKEN_REVIEWS] = lambda _body: self.review
        self.pod: Document = {
            "metadata": {
                "namespace": "red",
                "name": "w-x",
                "uid": "pod-1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"thumbnails.dev/worker": "w"},
                "ownerReferences": [{"kind": "Job", "name": "w", "uid": "job-1", "controller": True}],
            },
            "status": {"phase": "Running"},
        }
        self.job: Document = {
            "metadata": {
                "namespace": "red",
                "name": "w",
                "uid": "job-1",
                "labels": {"thumbnails.dev/worker": "w"},
            }
        }
        api.objects |= {POD_PATH: self.pod, JOB_PATH: self.job}
        self.watch = WorkerWatch(lambda _state: None, monotonic)
        self.identifier = TokenReviewIdentifier(
            api,
            self.watch,
            run_blocking,
            audience="exchange",
            service_account="worker",
            namespaces=("red",),
            monotonic=monotonic,
        )

    def identify(self, token: str = "token") -> WorkerIdentity | None:
        return asyncio.run(self.identifier.identify(token))

    def asked(self, path: str) -> int:
        return sum(called == path for _, called in self.api.calls)


@pytest.fixture
def world(api: Any, run_blocking: Any, monotonic: Any) -> World:
    return World(api, run_blocking, monotonic)


def test_a_worker_is_known(world: World) -> None:
    assert world.identify() == WORKER


def test_what_the_watch_knows_is_not_asked_for(world: World) -> None:
    world.watch.job_changed("ADDED", world.job)
    world.watch.pod_changed("ADDED", world.pod)
    assert world.identify() == WORKER
    assert world.asked(POD_PATH) == world.asked(JOB_PATH) == 0


def test_a_review_holds_for_a_while_but_the_pod_is_looked_at_each_time(world: World, monotonic: Any) -> None:
    for _ in range(3):
        assert world.identify() == WORKER
    assert (world.asked(TOKEN_REVIEWS), world.asked(POD_PATH)) == (1, 3)
    assert world.identify("another token") == WORKER
    monotonic.now += REVIEW_SECONDS
    world.identify()
    assert world.asked(TOKEN_REVIEWS) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticated": False},
        {"audiences": ["https://kubernetes.default.svc"]},
        {"audiences": None},
        {"user": {"username": "system:serviceaccount:red:worker"}},
        {"user": {"username": "alice", "extra": {POD_NAME: ["w-x"], POD_UID: ["pod-1"]}}},
        {"user": {"username": "system:serviceaccount:red", "extra": {POD_NAME: ["w-x"], POD_UID: ["pod-1"]}}},
    ],
    ids=["refused", "other audience", "no audience", "bound to no pod", "a person", "half a name"],
)
def test_tokens_of_others_are_none(world: World, changes: Document) -> None:
    world.review = a_review(**changes)
    assert bearer_of(world.review["status"], "exchange") is None
    assert world.identify() is None


def test_other_service_accounts_are_no_workers(world: World) -> None:
    world.review["status"]["user"]["username"] = "system:serviceaccount:red:builder"
    assert world.identify() is None


def test_namespaces_that_are_not_ours_have_no_workers(world: World) -> None:
    world.review["status"]["user"]["username"] = "system:serviceaccount:blue:worker"
    assert world.identify() is None


def change(part: str, *keys: str, to: Any) -> Callable[[World], None]:
    def apply(world: World) -> None:
        target = getattr(world, part)
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    "apply",
    [
        lambda world: world.api.objects.pop(POD_PATH),
        change("pod", "metadata", "uid", to="pod-2"),
        change("pod", "status", "phase", to="Failed"),
        change("pod", "metadata", "ownerReferences", to=[]),
        change("pod", "metadata", "ownerReferences", to=[{"kind": "Job", "uid": "job-1"}]),
        change("pod", "metadata", "labels", to={}),
        lambda world: world.api.objects.pop(JOB_PATH),
        change("job", "metadata", "uid", to="job-2"),
        change("job", "metadata", "labels", to={}),
    ],
    ids=[
        "pod deleted",
        "pod of the same name",
        "pod ended",
        "pod made by hand",
        "pod owned by, not controlled",
        "pod not labelled",
        "Job deleted",
        "Job of the same name",
        "Job not ours",
    ],
)
def test_pods_that_are_no_workers(world: World, apply: Callable[[World], None]) -> None:
    apply(world)
    assert world.identify() is None


def test_a_pod_that_died_after_its_review_is_out(world: World) -> None:
    assert world.identify() == WORKER
    del world.api.objects[POD_PATH]
    assert world.identify() is None


@pytest.mark.parametrize("path", [("POST", TOKEN_REVIEWS), ("GET", POD_PATH), ("GET", JOB_PATH)])
@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no right"), Unavailable()])
def test_what_cannot_be_asked_is_no_refusal(world: World, path: tuple[str, str], error: Exception) -> None:
    world.api.refuse[path] = error
    with pytest.raises(Unavailable):
        world.identify()
