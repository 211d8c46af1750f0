"""Who leads, by one Lease."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thumbnails_operator.election import (
    RETURN_SECONDS,
    Election,
    LeaseRecord,
    Move,
    new_spec,
    released_spec,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
RECORD = LeaseRecord("other", 15, "r1", "a1", 3, "7", NOW)


@pytest.fixture
def election() -> Election:
    return Election("me")


def stored(spec: dict[str, Any], created: str = "2026-01-02T03:04:05Z") -> LeaseRecord:
    return LeaseRecord.parse(
        {"metadata": {"resourceVersion": "8", "creationTimestamp": created}, "spec": spec}
    )


def test_a_missing_lease_is_created(election: Election) -> None:
    assert election.next_move(None, 0.0) is Move.CREATE


def test_a_holder_that_renews_is_left_alone_however_long(election: Election) -> None:
    for second in range(0, 100, 10):
        assert election.next_move(replace(RECORD, renew_time=f"r{second}"), second) is Move.WAIT


def test_a_holder_that_is_silent_for_the_leases_duration_is_replaced(election: Election) -> None:
    assert election.next_move(RECORD, 100.0) is Move.WAIT
    assert election.next_move(RECORD, 114.9) is Move.WAIT
    assert election.next_move(RECORD, 115.0) is Move.TAKE


def test_a_holder_has_time_to_come_back_when_nobody_could_look(election: Election) -> None:
    assert election.next_move(RECORD, 100.0) is Move.WAIT
    election.could_not_look()
    assert election.next_move(RECORD, 130.0) is Move.WAIT
    assert election.next_move(RECORD, 130.0 + RETURN_SECONDS - 0.1) is Move.WAIT
    assert election.next_move(RECORD, 130.0 + RETURN_SECONDS) is Move.TAKE


def test_a_short_gap_shortens_nobodys_time(election: Election) -> None:
    assert election.next_move(RECORD, 100.0) is Move.WAIT
    election.could_not_look()
    assert election.next_move(RECORD, 102.0) is Move.WAIT
    assert election.next_move(RECORD, 114.9) is Move.WAIT
    assert election.next_move(RECORD, 115.0) is Move.TAKE


def test_what_was_released_or_is_ones_own_pods_is_taken_after_a_gap_too() -> None:
    election = Election("operator-a_5678", "operator-a")
    held = replace(RECORD, holder="operator-a_1234")
    for record in (held, stored(released_spec(RECORD, NOW))):
        assert election.next_move(RECORD, 100.0) is Move.WAIT
        election.could_not_look()
        assert election.next_move(record, 120.0) is Move.TAKE


def test_clocks_of_others_do_not_count(election: Election) -> None:
    assert election.next_move(replace(RECORD, renew_time="1970-01-01T00:00:00.000000Z"), 0.0) is Move.WAIT


def test_a_released_lease_is_taken_at_once(election: Election) -> None:
    assert election.next_move(stored(released_spec(RECORD, NOW)), 0.0) is Move.TAKE


@pytest.mark.parametrize(
    ("pod_name", "holder", "move"),
    [
        ("operator-a", "operator-a_1234", Move.TAKE),
        ("operator-a", "operator-a2_1234", Move.WAIT),
        ("operator", "operator-a_1234", Move.WAIT),
        ("", "operator_1234", Move.WAIT),
    ],
)
def test_a_container_that_was_restarted_does_not_wait_for_itself(
    pod_name: str, holder: str, move: Move
) -> None:
    assert Election("operator-a_5678", pod_name).next_move(replace(RECORD, holder=holder), 0.0) is move


def test_ones_own_is_renewed(election: Election) -> None:
    assert election.next_move(replace(RECORD, holder="me"), 0.0) is Move.RENEW


def test_taking_over_counts_and_renewing_does_not() -> None:
    taken = stored(new_spec(RECORD, "me", 15, NOW))
    assert (taken.holder, taken.transitions, taken.acquire_time) == ("me", 4, "2026-01-02T03:04:05.000006Z")
    renewed = stored(new_spec(taken, "me", 15, NOW + timedelta(seconds=2)))
    assert (renewed.transitions, renewed.acquire_time) == (4, taken.acquire_time)
    assert renewed.renew_time != taken.renew_time
    assert stored(new_spec(None, "me", 15, NOW)).transitions == 0


def test_a_released_lease_is_counted_by_who_takes_it() -> None:
    released = stored(released_spec(RECORD, NOW))
    assert stored(new_spec(released, "me", 15, NOW)).transitions == RECORD.transitions + 1


def test_generations_grow_also_when_the_lease_is_made_anew() -> None:
    old = stored({"holderIdentity": "a", "leaseTransitions": 900})
    taken = stored({"holderIdentity": "b", "leaseTransitions": 901})
    anew = stored({"holderIdentity": "c", "leaseTransitions": 0}, created="2026-01-02T03:04:06Z")
    assert old.generation < taken.generation < anew.generation < 2**53
