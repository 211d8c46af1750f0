"""Several replicas of the API on one job store and one object store: clients see one service."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from thumbnails_common.s3_settings import S3Settings
from thumbnails_local import leash
from thumbnails_local.child import LISTEN_FDS, READY_LINE
from thumbnails_local.data_folder import open_data_folder
from thumbnails_local.weed import WeedServer

FINISHED = {"complete", "failed", "cancelled"}


@dataclass(frozen=True)
class Address:
    """Where requests go, each on a connection of its own."""

    url: str

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def upload(self, picture: bytes, **headers: str) -> requests.Response:
        return self.request("POST", "/images", data=picture, headers={"Content-Type": "image/jpeg"} | headers)


@dataclass(frozen=True)
class Replicas:
    """Two replicas, each with an address of its own, and one that they share as behind a load balancer."""

    first: Address
    second: Address
    shared: Address
    processes: tuple["subprocess.Popen[bytes]", ...]


def start(
    module: str, environment: dict[str, str], settings: S3Settings, inherited: tuple[int, ...] = ()
) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        leash.command(sys.executable, "-m", module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        pass_fds=inherited,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(dataclasses.asdict(settings)).encode())
    process.stdin.close()
    return process


def await_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == READY_LINE


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("THUMBNAILS_")}
    with contextlib.ExitStack() as stack:
        folder, lock = open_data_folder(tmp_path / "data")
        stack.callback(os.close, lock)
        weed = WeedServer(folder.pictures)
        settings = weed.start()
        stack.callback(weed.stop)
        environment = {**kept, "THUMBNAILS_DATA": str(folder.root), "PYTHONSAFEPATH": "1"}
        processes = [start("thumbnails_local.operator_process", environment, settings)]
        stack.callback(end, processes[0])
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        shared = listeners[2]
        for own in listeners[:2]:
            descriptors = (own.fileno(), shared.fileno())
            mine = {**environment, LISTEN_FDS: ",".join(map(str, descriptors))}
            process = start("thumbnails_local.api_process", mine, settings, descriptors)
            stack.callback(end, process)
            processes.append(process)
        for process in processes:
            await_ready(process)
        first, second, both = (
            Address(f"http://127.0.0.1:{listener.getsockname()[1]}") for listener in listeners
        )
        yield Replicas(first, second, both, tuple(processes[1:]))


@pytest.mark.timeout(600)
def test_what_one_has_taken_the_other_has_at_once(replicas: Replicas, photo: Any, eventually: Any) -> None:
    for _ in range(10):
        job = replicas.first.upload(photo()).json()
        assert replicas.second.get(f"/jobs/{job['id']}").json()["id"] == job["id"]
    ended = eventually(
        lambda: (
            next(iter([each] if each["status"] in FINISHED else []), None)
            if (each := replicas.second.get(f"/jobs/{job['id']}").json())
            else None
        ),
        "the job ends",
    )
    assert ended["status"] == "complete"
    thumbnails = [each.get(ended["thumbnailPath"]) for each in (replicas.first, replicas.second)]
    assert thumbnails[0].content == thumbnails[1].content
    assert thumbnails[0].headers["ETag"] == thumbnails[1].headers["ETag"]
    listed = [[job["id"] for job in each.get("/jobs").json()] for each in (replicas.first, replicas.second)]
    assert listed[0] == listed[1]
    assert len(listed[0]) == 10


@pytest.mark.timeout(600)
def test_a_page_of_one_is_continued_by_the_other(replicas: Replicas, photo: Any, eventually: Any) -> None:
    uploaded = [replicas.shared.upload(photo()).json()["id"] for _ in range(5)]
    eventually(lambda: len(replicas.second.get("/jobs").json()) == 5, "the watch brings them")
    page = replicas.first.get("/jobs?limit=3")
    following = page.links["next"]["url"].removeprefix(replicas.first.url)
    rest = replicas.second.get(following)
    assert sorted(job["id"] for job in [*page.json(), *rest.json()]) == sorted(uploaded)


@pytest.mark.timeout(600)
def test_an_idempotency_key_holds_for_both(replicas: Replicas, photo: Any) -> None:
    picture = photo()
    both = [replicas.first, replicas.second] * 4
    with ThreadPoolExecutor(len(both)) as threads:
        answers = list(
            threads.map(lambda each: each.upload(picture, **{"Idempotency-Key": "same-key"}), both)
        )
    assert {answer.status_code for answer in answers} <= {201, 409}
    taken = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(taken) == 1
    again = replicas.second.upload(picture, **{"Idempotency-Key": "same-key"})
    assert {again.json()["id"]} == taken
    assert len(replicas.first.get("/jobs").json()) == 1
    assert replicas.first.upload(photo(), **{"Idempotency-Key": "same-key"}).status_code == 422


@pytest.mark.timeout(600)
def test_a_follower_may_come_to_either(replicas: Replicas, photo: Any, eventually: Any) -> None:
    last_id = event_id(replicas.first.get("/events").text)
    job_id = replicas.first.upload(photo()).json()["id"]
    seen: list[str] = []
    turns = iter([replicas.second, replicas.first] * 1000)

    def has_ended() -> bool:
        nonlocal last_id
        text = next(turns).get("/events", headers={"Last-Event-ID": last_id}).text
        last_id = event_id(text)
        seen.extend(
            job["status"]
            for line in text.splitlines()
            if line.startswith("data: ") and (job := json.loads(line[6:]))["id"] == job_id
        )
        return "complete" in seen

    eventually(has_ended, "the follower sees the end")
    assert seen.count("complete") == 1


def event_id(text: str) -> str:
    return [line for line in text.splitlines() if line.startswith("id: ")][-1][4:]


@pytest.mark.timeout(600)
def test_what_one_has_deleted_the_other_does_not_have(
    replicas: Replicas, photo: Any, eventually: Any
) -> None:
    job_id = replicas.first.upload(photo(), Prefer="wait=30").json()["id"]
    path = f"/thumbnails/{job_id}"
    eventually(lambda: replicas.second.get(path).status_code == 200, "it is in the memory of the second")
    assert replicas.first.request("DELETE", f"/jobs/{job_id}").status_code == 204
    eventually(lambda: replicas.second.get(path).status_code == 404, "the watch says so")
    assert "thumbnails_api_cache_entries 0.0" in replicas.second.get("/metrics").text


@pytest.mark.timeout(600)
def test_one_that_ends_is_missed_by_nobody(replicas: Replicas, photo: Any) -> None:
    pictures = [photo() for _ in range(30)]

    def upload(number: int) -> int:
        if number == 10:
            replicas.processes[0].send_signal(signal.SIGTERM)
        return replicas.shared.upload(pictures[number]).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(upload, range(len(pictures))))
    assert statuses == [201] * len(pictures)
    assert len(replicas.second.get("/jobs").json()) == len(pictures)
