"""When a child that died is started again, and when all is given up."""

import pytest

from thumbnails_local.launcher import CrashCounter, describe
from thumbnails_local.trouble import CrashLoop


def test_the_first_death_in_a_while_costs_no_time() -> None:
    now = [0.0]
    crashes = CrashCounter("the API", lambda: now[0])
    for _ in range(20):
        assert crashes.died() == 0
        now[0] += 61


def test_deaths_in_a_row_are_answered_ever_slower_and_then_not_at_all() -> None:
    now = [0.0]
    crashes = CrashCounter("the API", lambda: now[0])
    waits = []
    for _ in range(4):
        waits.append(crashes.died())
        now[0] += 10
    assert waits == sorted(set(waits))
    with pytest.raises(CrashLoop, match="the API ended 5 times"):
        crashes.died()


def test_how_a_process_ended_in_words() -> None:
    assert describe(-9) == "was ended by SIGKILL"
    assert describe(3) == "ended with exit status 3"
