"""How often a child of the launcher may die, and how its end is told."""

import pytest

from thumbnails_local.launcher import CrashCounter, describe
from thumbnails_local.trouble import CrashLoop


def test_a_child_that_was_ready_is_started_again_however_often() -> None:
    now = [0.0]
    crashes = CrashCounter("the API", lambda: now[0])
    waits = []
    for _ in range(20):
        waits.append(crashes.died(was_ready=True))
        now[0] += 1
    assert waits == [0.0, 0.5, 1.0, *[2.0] * 17]


def test_the_first_death_in_a_while_costs_no_time() -> None:
    now = [0.0]
    crashes = CrashCounter("the API", lambda: now[0])
    for _ in range(5):
        crashes.died(was_ready=True)
    now[0] += 61
    assert crashes.died(was_ready=True) == 0.0


def test_starts_that_come_to_nothing_are_given_up() -> None:
    crashes = CrashCounter("the API", lambda: 0.0)
    for _ in range(4):
        crashes.died(was_ready=False)
    crashes.died(was_ready=True)
    for _ in range(4):
        crashes.died(was_ready=False)
    with pytest.raises(CrashLoop, match="the API ended 5 times before it was ready"):
        crashes.died(was_ready=False)


@pytest.mark.parametrize(
    ("status", "text"),
    [(-9, "was ended by SIGKILL"), (-11, "was ended by SIGSEGV"), (3, "ended with exit status 3")],
)
def test_an_end_in_words(status: int, text: str) -> None:
    assert describe(status) == text
