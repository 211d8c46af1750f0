"""The data folder: made, locked, cleared, probed; each kind of trouble in one clear line."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from thumbnails_local.data_folder import DataFolder, next_generation, open_data_folder
from thumbnails_local.trouble import StartError


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    folder, lock = open_data_folder(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert folder.run.is_dir()
    assert folder.jobs.parent.is_dir()
    assert folder.lock.read_text() == f"{os.getpid()}\n"
    os.close(lock)


def test_what_an_earlier_run_left_is_cleared_and_data_stays(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (folder.run / "spool").mkdir(parents=True)
    (folder.run / "token").write_text("x")
    (folder.jobs.parent / "watchers").mkdir(parents=True)
    folder.jobs.write_text("jobs")
    _, lock = open_data_folder(tmp_path)
    assert list(folder.run.iterdir()) == []
    assert [path.name for path in folder.jobs.parent.iterdir()] == ["jobs.db"]
    os.close(lock)


def test_a_second_instance_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    _, lock = open_data_folder(tmp_path)
    with pytest.raises(StartError, match=rf"process {os.getpid()}\b"):
        open_data_folder(tmp_path)
    os.close(lock)
    _, again = open_data_folder(tmp_path)
    os.close(again)


def test_children_of_a_dead_instance_are_waited_for(tmp_path: Path) -> None:
    lock_path = DataFolder(tmp_path).lock
    lock_path.write_text("999999999\n")
    child_lock = os.open(lock_path, os.O_RDWR)
    fcntl.flock(child_lock, fcntl.LOCK_EX)
    # Holds the lock for a moment longer, as a child that is being killed does.
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[child_lock])
    os.close(child_lock)
    killer = threading.Timer(0.2, child.kill)
    killer.start()
    _, lock = open_data_folder(tmp_path)
    assert child.wait(60) == -signal.SIGKILL
    assert child.stdin is not None
    child.stdin.close()
    killer.join()
    os.close(lock)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StartError, match="is no folder"):
            open_data_folder(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StartError, match="cannot be written"):
        open_data_folder(tmp_path)


def test_a_full_disk(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))  # a bound that a test can set
    try:
        with pytest.raises(StartError, match="no space left"):
            open_data_folder(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_generations_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "generation"
    assert [next_generation(path) for _ in range(3)] == [1, 2, 3]
    path.write_text("damaged")
    assert next_generation(path) > 3
