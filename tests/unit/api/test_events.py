"""`/events` and `/jobs/{id}/events` as an EventSource sees them."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest


def parse(result: Any) -> tuple[list[tuple[str, Any]], str, int]:
    """Events as (type, data), the last event id, and `retry`, as WHATWG HTML 9.2.6 reads them."""
    assert result.status_code == 200
    assert result.headers["content-type"].startswith("text/event-stream")
    assert result.headers["cache-control"] == "no-store"
    events, last_id, retry = [], "", 0
    for block in result.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        last_id = fields.get("id", last_id)
        retry = int(fields.get("retry", retry))
        if "data" in fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events, last_id, retry


@pytest.fixture
def service(make_service: Callable[..., Any]) -> Any:
    return make_service(watching=True)


def follow(service: Any, path: str, last_id: str | None) -> tuple[list[tuple[str, Any]], str, int]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    return parse(service.get(path, headers=headers))


def collect(service: Any, path: str, last_id: str, wanted: int) -> tuple[list[tuple[str, Any]], str]:
    """As many events as wanted, over as many answers as it takes."""
    events: list[tuple[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(events) < wanted:
        assert time.monotonic() < deadline
        more, last_id, _ = follow(service, path, last_id)
        events += more
    return events, last_id


def test_all_that_happens_is_told_once_and_in_order(service: Any, jpeg: bytes) -> None:
    before = service.upload(jpeg).json["id"]
    _, last_id = collect(service, "/events", "0", 1)
    assert follow(service, "/events", None)[0] == [], "a follower begins now"
    first, second = (service.upload(jpeg).json["id"] for _ in range(2))
    events, last_id = collect(service, "/events", last_id, 2)
    assert [(kind, data["id"], data["status"]) for kind, data in events] == [
        ("job", first, "pending"),
        ("job", second, "pending"),
    ]
    service.finish(first)
    service.request("DELETE", f"/jobs/{before}")
    events, last_id = collect(service, "/events", last_id, 2)
    assert [(kind, data["id"]) for kind, data in events] == [("job", first), ("deleted", before)]
    assert events[0][1] == service.get(f"/jobs/{first}").json


def test_a_follower_of_one_job_sees_it_end_and_is_sent_away(service: Any, jpeg: bytes) -> None:
    job = service.upload(jpeg).json["id"]
    path = f"/jobs/{job}/events"
    events, last_id, retry = follow(service, path, None)
    assert [(kind, data["status"]) for kind, data in events] == [("job", "pending")]
    assert retry <= 1000
    service.finish(job)
    events, last_id = collect(service, path, last_id, 1)
    assert events[0][1]["status"] == "complete"
    gone = service.get(path, headers={"Last-Event-ID": last_id})
    assert (gone.status_code, gone.text) == (204, "")


def test_followers_without_anything_to_expect_come_less_often(service: Any, jpeg: bytes) -> None:
    assert follow(service, "/events", None)[2] >= 5000
    service.upload(jpeg)
    assert follow(service, "/events", None)[2] <= 1000


@pytest.mark.parametrize("last_id", ["x", "-1", "0" * 30, "0"])
def test_who_missed_too_much_starts_anew(service: Any, jpeg: bytes, last_id: str) -> None:
    service.upload(jpeg)
    service.jobs._changes.begin(1)  # the watch broke off, and all was listed again
    events, next_id, _ = follow(service, "/events", last_id)
    assert events == [("reset", {})]
    assert int(next_id) >= 1


def test_a_job_that_is_not_there(service: Any) -> None:
    assert service.get("/jobs/nothing/events").status_code == 404
