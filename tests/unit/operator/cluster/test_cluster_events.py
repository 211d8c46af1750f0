"""Events of jobs: few, and nobody waits for them."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbnails_contract.job import JobKey
from thumbnails_operator.cluster_api import ApiError
from thumbnails_operator.cluster_events import MAX_QUEUED, REPEAT_SECONDS, Budget, ClusterEventSink

PATH = "/api/v1/namespaces/red/events"
KEY = JobKey("red", "a" * 253)


@pytest.fixture
def sink(api: Any, monotonic: Any) -> Iterator[ClusterEventSink]:
    numbers = iter(range(1_000_000))
    sink = ClusterEventSink(
        api,
        instance="pod-1",
        clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        monotonic=monotonic,
        new_suffix=lambda: f"{next(numbers):x}",
    )
    yield sink
    sink.close()


def emit(sink: ClusterEventSink, uid: str = "u", message: str = "m", *, warning: bool = False) -> None:
    sink.emit(KEY, uid, warning=warning, reason="Completed", message=message)


def write(sink: ClusterEventSink) -> None:
    sink.start()
    sink.close()


def test_an_event_is_about_its_job(api: Any, sink: ClusterEventSink) -> None:
    emit(sink, message="x" * 5000, warning=True)
    write(sink)
    ((path, event),) = api.created
    assert path == PATH
    assert event["involvedObject"] == {
        "apiVersion": "thumbnails.dev/v1alpha1",
        "kind": "ThumbnailJob",
        "namespace": "red",
        "name": KEY.name,
        "uid": "u",
    }
    assert (event["type"], event["reason"], event["lastTimestamp"]) == (
        "Warning",
        "Completed",
        "2026-01-02T03:04:05Z",
    )
    assert len(event["metadata"]["name"]) <= 253 and len(event["message"]) == 1024


def test_what_was_said_is_not_repeated_for_a_while(api: Any, sink: ClusterEventSink, monotonic: Any) -> None:
    emit(sink)
    emit(sink)
    emit(sink, message="something else")
    monotonic.now += REPEAT_SECONDS
    emit(sink)
    write(sink)
    assert len(api.created) == 3
    assert (sink.written, sink.left_out) == (3, 1)


def test_thousands_of_successes_are_a_few_events_and_leave_room_for_warnings(
    api: Any, sink: ClusterEventSink
) -> None:
    for number in range(1000):
        emit(sink, uid=str(number))
    emit(sink, uid="bad", warning=True)
    write(sink)
    assert len(api.created) < 50
    assert api.created[-1][1]["type"] == "Warning"


def test_an_api_server_that_hangs_holds_up_nobody(api: Any, sink: ClusterEventSink, monotonic: Any) -> None:
    release = threading.Event()
    api.answers[PATH] = lambda body: release.wait(60) and body
    sink.start()
    for number in range(2 * MAX_QUEUED):
        monotonic.now += 10.0
        emit(sink, uid=str(number), warning=True)
    assert sink.left_out >= MAX_QUEUED - 2
    release.set()


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no"), RuntimeError("odd")])
def test_one_that_is_refused_does_not_end_the_others(
    api: Any, sink: ClusterEventSink, error: Exception
) -> None:
    answers = iter([error, None])

    def answer(body: Any) -> Any:
        refusal = next(answers)
        if refusal is not None:
            raise refusal
        return body

    api.answers[PATH] = answer
    emit(sink, uid="a")
    emit(sink, uid="b")
    write(sink)
    assert sink.written == 1


def test_a_budget_is_a_burst_and_a_rate() -> None:
    budget = Budget(rate=2.0, burst=3.0, now=0.0)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.take(1.0) for _ in range(3)] == [True, True, False]
    assert [budget.take(1000.0) for _ in range(4)] == [True, True, True, False]
