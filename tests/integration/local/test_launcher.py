"""`python -m thumbnails_local`: how it starts, refuses to start, recovers and ends."""

import io
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thumbnails_local.weed import WeedServer

Picture = Callable[[int], bytes]


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)
    return value


def refusal(service: Any, **environment: str) -> str:
    """The one line with which the service refuses to start."""
    process = service.launch(**environment)
    assert process.wait(60) == 2, service.log()
    (line,) = service.log().splitlines()
    assert line.startswith("thumbnails: ")
    return str(line)


# ---- starting ------------------------------------------------------------------------------


def test_data_outlives_a_restart(start_service: Any, picture: Picture, webhook_receiver: Any) -> None:
    service = start_service()
    job_id = service.upload(picture(1), webhookUrl=webhook_receiver.url)["id"]
    delivery = webhook_receiver.of_job(job_id)[0]
    job = eventually(lambda: (job := service.job(job_id))["webhook"]["status"] == "delivered" and job)
    assert job["status"] == "complete"
    thumbnail = service.request("GET", job["thumbnailPath"]).content
    assert Image.open(io.BytesIO(thumbnail)).size == (100, 100)
    secret = (service.data / "webhook-secret").read_text().strip()
    delivery.verify(secret)
    assert service.stop() == 0

    service.start()
    assert service.job(job["id"]) == job
    assert service.request("GET", job["thumbnailPath"]).content == thumbnail
    assert (service.data / "webhook-secret").read_text().strip() == secret
    service.render(picture(2))


def test_the_service_listens_on_loopback_alone(service: Any) -> None:
    port = int(service.url.rpartition(":")[2])
    listening = subprocess.run(
        ["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=False
    )
    if listening.returncode:
        pytest.skip("there is no ss here")
    addresses = {line.split()[3].rpartition(":")[0] for line in listening.stdout.splitlines()}
    assert addresses in ({"127.0.0.1"}, {"127.0.0.1", "[::1]"})


def test_data_and_secrets_are_for_their_owner_alone(service: Any) -> None:
    assert service.data.stat().st_mode & 0o077 == 0
    assert (service.data / "webhook-secret").stat().st_mode & 0o077 == 0
    for pid in service.processes():
        secret = (service.data / "webhook-secret").read_text().strip()
        assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_workers_have_no_keys(service: Any, picture: Picture) -> None:
    service.render(picture(3))
    workers = service.pids("worker")
    assert workers
    for pid in workers:
        names = {
            item.partition(b"=")[0].decode()
            for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        }
        assert not {name for name in names if "S3" in name or "SECRET" in name or "WEBHOOK" in name}


def test_a_port_in_use_gives_one_clear_line(start_service: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refusal(start_service(ready=False), PORT=str(port))
    assert f"port {port} is in use" in line
    assert "PORT=" in line


def test_a_second_instance_on_the_same_data_gives_one_clear_line(service: Any, start_service: Any) -> None:
    second = start_service(ready=False)
    line = refusal(second, THUMBNAILS_DATA=str(service.data))
    assert f"process {service.process.pid}" in line
    assert str(service.data) in line
    assert service.request("GET", "/readyz").status_code == 200


def test_a_file_in_place_of_the_data_folder_gives_one_clear_line(start_service: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    assert f"{path} is no folder" in refusal(start_service(ready=False), THUMBNAILS_DATA=str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_cannot_be_written_gives_one_clear_line(
    start_service: Any, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    line = refusal(start_service(ready=False), THUMBNAILS_DATA=str(tmp_path / "data"))
    tmp_path.chmod(0o700)
    assert "cannot be written" in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "http"), ("THUMBNAILS_MAX_PIXELS", "many"), ("THUMBNAILS_WEBHOOK_SECRET", "secret")],
)
def test_a_wrong_setting_gives_one_clear_line(start_service: Any, variable: str, value: str) -> None:
    assert variable in refusal(start_service(ready=False), **{variable: value})


def test_jobs_of_a_newer_version_give_one_clear_line(start_service: Any) -> None:
    service = start_service(ready=False)
    (service.data / "jobs").mkdir(parents=True)
    with closing(sqlite3.connect(service.data / "jobs" / "jobs.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "newer program" in refusal(service)


def test_an_s3_server_of_ones_own(start_service: Any, picture: Picture, tmp_path: Path) -> None:
    server = WeedServer(tmp_path / "s3")
    try:
        s3 = server.start()
        environment = {
            "THUMBNAILS_S3_ENDPOINT": s3.endpoint,
            "THUMBNAILS_S3_ACCESS_KEY": s3.access_key,
            "THUMBNAILS_S3_SECRET_KEY": s3.secret_key,
        }
        service = start_service(**environment)
        service.render(picture(1))
        assert service.pids("s3") == []
        assert service.stop() == 0
    finally:
        server.stop(grace_seconds=0)


def test_an_s3_server_that_is_not_there_gives_a_clear_line(start_service: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        service = start_service(ready=False)
        process = service.launch(
            THUMBNAILS_S3_ENDPOINT=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            THUMBNAILS_S3_ACCESS_KEY="access",
            THUMBNAILS_S3_SECRET_KEY="secret key",
            THUMBNAILS_S3_RETRY_SECONDS="0.1",
        )
        assert process.wait(60) == 2, service.log()
    assert service.log().splitlines()[-1].startswith("thumbnails: THUMBNAILS_S3_ENDPOINT: ")
    assert service.processes() == {}


# ---- ending --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_within_ten_seconds(
    start_service: Any, picture: Picture, number: signal.Signals
) -> None:
    service = start_service()
    service.render(picture(1))
    for index in range(2, 12):
        service.upload(picture(index))
    assert set(service.processes().values()) >= {"launcher", "api", "operator", "worker", "s3"}
    began = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - began < 10
    assert service.processes() == {}
    assert "Traceback" not in service.log()
    assert not (service.data / "run" / "endpoint").exists()

    # What was under way was handed back, and is done by the next run.
    service.start()
    for job in service.request("GET", "/jobs").json():
        assert service.finished(job["id"])["status"] == "complete"


def test_a_second_signal_hurries(start_service: Any) -> None:
    service = start_service()
    service.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 0
    assert service.processes() == {}
    assert "Traceback" not in service.log()


def test_a_signal_while_it_starts(start_service: Any) -> None:
    service = start_service(ready=False)
    process = service.launch()
    eventually(lambda: len(service.processes()) > 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, service.log()
    assert service.processes() == {}
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("group", [False, True], ids=["launcher", "process group"])
def test_nothing_is_left_when_the_launcher_is_killed(
    start_service: Any, picture: Picture, group: bool
) -> None:
    service = start_service()
    service.render(picture(1))
    if group:
        os.killpg(service.process.pid, signal.SIGKILL)
    else:
        service.process.kill()
    service.process.wait(60)
    eventually(lambda: service.processes() == {})
    service.start().render(picture(2))


# ---- recovering ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["api", "operator", "worker", "s3"])
def test_a_child_that_is_killed_is_started_again(start_service: Any, picture: Picture, role: str) -> None:
    service = start_service()
    before = service.render(picture(1))
    victim = service.pids(role)[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in service.pids(role) and service.pids(role))
    assert service.render(picture(1)) == before
    service.render(picture(2))
    if role != "worker":
        assert "was ended by SIGKILL; starting it again" in service.log()


def test_connections_wait_for_an_api_that_is_started_again(start_service: Any, picture: Picture) -> None:
    service = start_service()
    os.kill(service.pids("api")[0], signal.SIGKILL)
    # Not a single one is refused: the sockets are the launcher's.
    jobs = [service.upload(picture(number)) for number in range(3)]
    for job in jobs:
        assert service.finished(job["id"])["status"] == "complete"


def test_a_child_that_dies_again_and_again_ends_all(start_service: Any) -> None:
    service = start_service()
    killed: set[int] = set()

    def kill() -> None:
        while service.process.poll() is None:
            for pid in set(service.pids("api")) - killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    assert service.process.wait(90) == 1
    thread.join()
    assert "thumbnails: the API ended 5 times before it was ready: giving up" in service.log()
    assert service.processes() == {}
