"""Wake-ups through named pipes: none is waited for in vain, none blocks who rings, dead ones go away."""

import os
import threading
import time
from pathlib import Path

from thumbnails_local.notify import Bell, Ringer

LONG_SECONDS = 60.0


def waits(bell: Bell, seconds: float) -> float:
    before = time.monotonic()
    bell.wait(seconds)
    return time.monotonic() - before


def test_a_ring_wakes_every_watcher(tmp_path: Path) -> None:
    with Bell(tmp_path) as one, Bell(tmp_path) as two:
        timer = threading.Timer(0.05, Ringer(tmp_path).ring)
        timer.start()
        assert waits(one, LONG_SECONDS) < LONG_SECONDS
        assert waits(two, LONG_SECONDS) < LONG_SECONDS
        timer.join()


def test_rings_before_the_wait_count_once(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        Ringer(tmp_path).ring()
        Ringer(tmp_path).ring()
        assert waits(bell, LONG_SECONDS) < LONG_SECONDS
        assert waits(bell, 0.05) >= 0.05


def test_nobody_rings_nobody_wakes(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        assert waits(bell, 0.05) >= 0.05


def test_a_watcher_that_never_looks_blocks_nobody(tmp_path: Path) -> None:
    with Bell(tmp_path) as bell:
        for _ in range(70_000):  # more bytes than a pipe holds
            bell.ring()
        Ringer(tmp_path).ring()
        assert waits(bell, LONG_SECONDS) < LONG_SECONDS


def test_a_ringer_finds_watchers_that_come_and_forgets_those_that_go(tmp_path: Path) -> None:
    ringer = Ringer(tmp_path)
    for _ in range(50):  # some of them within one tick of the file system's clock
        with Bell(tmp_path) as bell:
            ringer.ring()
            assert waits(bell, LONG_SECONDS) < LONG_SECONDS
    for _ in range(50):
        with Bell(tmp_path):
            ringer.ring()
            with Bell(tmp_path) as second:
                ringer.ring()
                assert waits(second, 10) < 10
    with Bell(tmp_path) as first:
        time.sleep(0.15)  # until the folder counts as settled
        ringer.ring()
        ringer.ring()
        first.wait(0)
        with Bell(tmp_path) as second:
            ringer.ring()
            assert waits(first, LONG_SECONDS) < LONG_SECONDS
            assert waits(second, LONG_SECONDS) < LONG_SECONDS
    ringer.ring()
    ringer.close()
    assert list(tmp_path.iterdir()) == []


def test_the_pipe_of_a_dead_watcher_goes_away(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead")
    with Bell(tmp_path):
        Ringer(tmp_path).ring()
        assert len(list(tmp_path.iterdir())) == 1
    Ringer(tmp_path).ring()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_bell_may_be_rung_and_closed_again(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    bell.close()
    bell.ring()
    bell.close()
