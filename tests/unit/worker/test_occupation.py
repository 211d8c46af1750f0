"""How busy renderers were: gaps between pictures count, pauses without work do not."""

import pytest

from thumbnails_worker.occupation import Occupation


def test_gaps_between_pictures_are_waiting() -> None:
    done = Occupation()
    assert done.waiting_share == 0
    done.add(0.9, 0.0)  # the first one waited for nobody
    done.add(0.8, 0.1)
    assert done.pictures == 2
    assert done.busy_seconds == pytest.approx(1.7)
    assert done.waiting_share == pytest.approx(0.1 / 1.8)


def test_a_pause_without_work_is_no_waiting() -> None:
    done = Occupation()
    done.add(1.0, 0.0)
    done.add(1.0, 60.0)
    assert done.waiting_share == 0


def test_the_pace_follows_what_pictures_take_lately() -> None:
    done = Occupation()
    assert done.pace_seconds is None
    done.add(1.0, 0.0)
    assert done.pace_seconds == pytest.approx(1.0)
    for _ in range(50):
        done.add(0.02, 0.0)
    assert done.pace_seconds == pytest.approx(0.02, rel=0.1)
