"""Ctrl-C: the command ends at once, says how far it came, and the same command goes on from there."""

import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.mark.parametrize("command", [["put"], ["wait"], ["get"]], ids=lambda command: command[0])
def test_it_ends_at_once_with_the_status_of_shells(
    environment: dict[str, str], tmp_path: Path, command: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        names = [str(tmp_path / f"{number}.png") for number in range(8)]
        for name in names:
            Path(name).write_bytes(random.randbytes(100))
        process = subprocess.Popen(
            [sys.executable, "-m", "thumbnails_client.cli", *command, *names],
            env={**environment, "THUMBNAILS_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()  # it waits for an answer now, and would for long
        with connection:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert command == ["wait"] or "the same command goes on" in said


def test_the_same_command_goes_on(
    service: Any, run: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(12):
        Image.frombytes("RGB", (8, 6), random.randbytes(144)).save(folder / f"{number:02}.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "thumbnails_client.cli", "put", str(folder), "--parallel", "1"],
        env={**environment, "THUMBNAILS_URL": service.url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline().split()[0]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    result = run(service.url, "put", folder)
    assert result.returncode == 0, result.stderr
    jobs = [line.split()[0] for line in result.stdout.splitlines()]
    assert len(jobs) == 12 and first in jobs
    made = service.request("GET", "/jobs?limit=1000").json()
    names = [job["fileName"] for job in made if job["id"] in jobs]
    assert len(set(names)) == 12
