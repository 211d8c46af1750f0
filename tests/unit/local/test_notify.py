"""Wake-ups through named pipes: none is waited for in vain, none blocks who rings, dead ones go away."""

import os
import threading
import time
from pathlib import Path

from thumbnails_local.notify import Bell, ring_all

LONG_SECONDS = 60.0


def waits(bell: Bell, seconds: float) -> float:
    before = time.monotonic()
    bell.wait(seconds)
    return time.monotonic() - before


def test_a_ring_wakes_every_watcher(tmp_path: Path) -> None:
    with Bell(tmp_path) as one, Bell(tmp_path) as two:
        timer = threading.Timer(0.05, ring_all, (tmp_path,))
        timer.start()
        assert waits(one, LONG_SECONDS) < LONG_SECONDS
        assert waits(two, LONG_SECONDS) < LONG_SECONDS
        timer.join()


def test_rings_before_the_wait_count_once(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        ring_all(tmp_path)
        ring_all(tmp_path)
        assert waits(bell, LONG_SECONDS) < LONG_SECONDS
        assert waits(bell, 0.05) >= 0.05


def test_nobody_rings_nobody_wakes(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        assert waits(bell, 0.05) >= 0.05


def test_a_watcher_that_never_looks_blocks_nobody(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        for _ in range(70_000):  # more bytes than a pipe holds
            bell.ring()
        ring_all(tmp_path)
        assert waits(bell, LONG_SECONDS) < LONG_SECONDS


def test_the_pipe_of_a_dead_watcher_goes_away(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead")
    with Bell(tmp_path):
        ring_all(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    ring_all(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_bell_may_be_rung_and_closed_again(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    bell.close()
    bell.ring()
    bell.close()
