"""Whom the exchange lets in, with tokens of a real API server."""

from collections.abc import Callable
from typing import Any

Eventually = Callable[..., Any]
# `{}` is no request of the protocol: who is let in is told so.
LET_IN, REFUSED = 400, 401


def test_tokens_of_workers_alone_are_let_in(world: Any) -> None:
    operator = world.start_leader()
    uid = world.make_worker("worker-one")
    assert operator.ask(world.token("worker-one-pod", uid)) == LET_IN
    other_audience = world.token("worker-one-pod", uid, audience="https://kubernetes.default.svc")
    assert operator.ask(other_audience) == REFUSED
    assert operator.ask("no.token.at-all") == REFUSED

    by_hand = world.make_pod("by-hand", {"thumbnails.dev/worker": "worker-one"}, account="thumbnails-worker")
    assert operator.ask(world.token("by-hand", by_hand)) == REFUSED

    other = world.make_worker("worker-two", account="other")
    assert operator.ask(world.token("worker-two-pod", other, account="other")) == REFUSED


def test_a_workers_token_ends_with_its_pod(world: Any, eventually: Eventually) -> None:
    operator = world.start_leader()
    token = world.token("worker-one-pod", world.make_worker("worker-one"))
    assert operator.ask(token) == LET_IN
    world.core.delete_namespaced_pod("worker-one-pod", world.namespace, grace_period_seconds=0)
    eventually(lambda: operator.ask(token) == REFUSED, "the token is worthless")
