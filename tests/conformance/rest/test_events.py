"""Live progress: Server-Sent Events from one replica, gone on with at another by `Last-Event-ID`."""

import json
from collections.abc import Iterator
from typing import Any


class Follower:
    """An EventSource that comes to the replicas in turn, and holds what it hears against the description."""

    def __init__(self, account: Any, path: str = "/events") -> None:
        self._account = account
        self._path = path
        self.last_id = ""
        self.ended = False

    def __call__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What it hears with one request."""
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        answer = self._account.get(self._path, **headers)
        if answer.status_code == 204:
            self.ended = True
            return
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.text.startswith("retry: ")
        for block in answer.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.last_id = fields.get("id", self.last_id)
            if "event" in fields:
                data = json.loads(fields["data"])
                names = {"job": "Job", "deleted": "Deleted"}
                if fields["event"] in names:
                    self._account.replicas[0].checker.component(data, names[fields["event"]])
                yield fields["event"], data


def test_a_follower_sees_every_job_end_once_whichever_replica_answers(
    account: Any, picture: Any, eventually: Any
) -> None:
    follow = Follower(account)
    assert list(follow()) == []
    made = {account.upload(picture()).json()["id"] for _ in range(4)}
    ends: list[str] = []

    def all_ended() -> bool:
        for event, job in follow():
            assert event == "job"
            ends.extend([job["id"]] if job["status"] == "complete" else [])
        return len(ends) >= len(made)

    eventually(all_ended, "the follower hears of all ends")
    assert sorted(ends) == sorted(made)
    assert list(follow()) == []


def test_a_follower_hears_nothing_of_another_account(service: Any, account: Any, picture: Any) -> None:
    follow, rival = Follower(account), service.new_account()
    assert list(follow()) == []
    rival.rendered(picture())
    assert list(follow()) == []


def test_what_was_deleted_is_told_and_what_became_history_is_not(
    account: Any, picture: Any, eventually: Any
) -> None:
    kept = account.rendered(picture(), "ttlSecondsAfterFinished=3")["id"]
    deleted = account.rendered(picture())["id"]
    follow = Follower(account)
    assert list(follow()) == []
    account.request("DELETE", f"/jobs/{deleted}")
    account.has_left_the_store(kept)
    told: list[tuple[str, dict[str, Any]]] = []

    def hears_of_it() -> bool:
        told.extend(follow())
        return ("deleted", {"id": deleted}) in told

    eventually(hears_of_it, "the deletion")
    told += [*follow(), *follow()]
    assert told.count(("deleted", {"id": deleted})) == 1
    assert ("deleted", {"id": kept}) not in told


def test_the_events_of_one_job_end_with_it(account: Any, picture: Any, eventually: Any) -> None:
    job_id = account.upload(picture()).json()["id"]
    follow = Follower(account, f"/jobs/{job_id}/events")
    statuses: list[str] = []

    def has_ended() -> bool:
        statuses.extend(job["status"] for _, job in follow())
        return follow.ended

    eventually(has_ended, "an EventSource is told not to come again")
    assert statuses[-1] == "complete"
    assert statuses.count("complete") == 1


def test_who_was_away_for_too_long_is_told_to_look_anew(account: Any) -> None:
    follow = Follower(account)
    follow.last_id = "never-said"
    assert [event for event, _ in follow()] == ["reset"]
    assert follow.last_id.isdigit()
