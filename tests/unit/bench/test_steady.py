"""An hour of load, without the hour and without a cluster: what is sent, judged, and drawn."""

import io
import json
import os
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import steady_memory
from hack.cluster.components import CGROUP
from PIL import Image
from steady import Log, Plan, drive, publish
from steady_load import Client, Uploads, check, told, with_comment
from steady_report import COMPONENTS, MIB, Run, picture_of, read, report, slope

SETTINGS: dict[str, Any] = {
    "kind": "run",
    "rate": 3,
    "kill_minutes": 5,
    "ttl_seconds": 600,
    "sample_seconds": 10,
    "api": 2,
    "operator": 2,
}


def jpeg(colour: str = "red", size: tuple[int, int] = (100, 100)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


@dataclass
class Service:
    """The REST API, as far as the load asks for it; a test says what it answers."""

    thumbnail: bytes = field(default_factory=jpeg)
    status: str = "complete"
    answers: list[int] = field(default_factory=list)  # of the next uploads, before all others are 201
    uploads: dict[str, bytes] = field(default_factory=dict)  # by Idempotency-Key
    url: str = ""

    def post(self, key: str, body: bytes) -> tuple[int, bytes]:
        status = self.answers.pop() if self.answers else 201
        if status == 201:
            self.uploads[key] = body
        return status, json.dumps({"id": f"job-of-{key}"}).encode()

    def get(self, path: str) -> tuple[int, bytes]:
        key = path.rpartition("job-of-")[2]
        if key not in self.uploads:
            return 404, b"{}"
        if path.startswith("/jobs"):
            return 200, json.dumps({"status": self.status}).encode()
        return 200, self.thumbnail


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*service.post(self.headers["Idempotency-Key"], body))

        def do_GET(self) -> None:
            self.answer(*service.get(self.path))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the parent
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield service
        server.shutdown()
        thread.join()


@dataclass
class Written:
    """A run's file, and what is in it."""

    path: Path
    log: Log

    def of(self, kind: str) -> list[dict[str, Any]]:
        records = map(json.loads, self.path.read_text().splitlines())
        return [record for record in records if record["kind"] == kind]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    path = tmp_path / "run.jsonl"
    with path.open("w") as file:
        log = Log(file)
        log.keep(SETTINGS)
        yield Written(path, log)


def load(service: Service, written: Written, seconds: float = 0.5) -> Uploads:
    """Half a second of uploads, forty a second; the leader is killed when 0.2 s are over."""
    uploads = Uploads(Client(service.url, "key"), [jpeg(), jpeg("blue")], written.log.keep, written.log.clock)
    written.log.began = time.monotonic()
    found = steady_memory.Memory(3 * MIB, 2 * MIB)
    drive(
        Plan(rate=40, seconds=seconds, kill_seconds=0.2, sample_seconds=0.1),
        uploads,
        written.log,
        lambda: iter([("api", "api-1", found), ("api", "api-2", found)]),
        lambda: "operator-1",
    )
    return uploads


def test_a_comment_makes_another_file_of_the_same_picture() -> None:
    one, two = with_comment(jpeg(), "1"), with_comment(jpeg(), "2")
    assert len({jpeg(), one, two}) == 3
    with Image.open(io.BytesIO(one)) as picture, Image.open(io.BytesIO(jpeg())) as original:
        assert picture.info["comment"] == b"1"
        assert picture.tobytes() == original.tobytes()


def test_all_that_is_sent_is_another_file_and_is_written_down(service: Service, written: Written) -> None:
    uploads = load(service, written)
    assert uploads.sent == len(written.of("upload")) == len(set(service.uploads.values())) > 1
    assert {each["id"] for each in written.of("upload")} == uploads.jobs.keys()
    assert len(written.of("memory")) >= 4
    assert 1 <= len(written.of("kill")) <= 3


def test_who_is_sent_away_comes_again_with_the_same_upload(service: Service, written: Written) -> None:
    service.answers = [503]
    uploads = load(service, written)
    assert [each["what"] for each in written.of("setback")] == ["503"]
    assert uploads.sent == len(service.uploads) == len(uploads.jobs)


def test_an_upload_that_is_refused_is_a_failure(service: Service, written: Written) -> None:
    service.answers = [415]
    load(service, written)
    (refused,) = written.of("refused")
    assert read([SETTINGS, refused]).failures == [f"upload {refused['number']} was refused: {refused['why']}"]


def test_a_cluster_that_cannot_be_looked_at_is_a_gap_and_no_end(service: Service, written: Written) -> None:
    def away() -> Any:
        raise OSError("no route")

    uploads = Uploads(Client(service.url, None), [jpeg()], written.log.keep, written.log.clock)
    written.log.began = time.monotonic()
    drive(Plan(20, 0.3, 0.1, sample_seconds=0.1), uploads, written.log, away, away)
    assert {each["what"] for each in written.of("gap")} == {"memory", "kill"}
    assert uploads.jobs


def judged(service: Service, jobs: dict[str, int], present: set[str] | None = None) -> list[dict[str, Any]]:
    records: list[Any] = []
    check(Client(service.url, None), jobs, 2, present or set(), records.append)
    return records


def test_jobs_are_right_whether_they_are_history_or_not(service: Service, written: Written) -> None:
    jobs = load(service, written).jobs
    records = judged(service, jobs, {next(iter(jobs))})
    assert [each["why"] for each in records] == [""] * len(jobs)
    assert sum(not each["history"] for each in records) == 1


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("status", "failed", "it is failed"),
        ("thumbnail", jpeg(size=(100, 99)), "its thumbnail is JPEG of 100 x 99"),
        ("thumbnail", b"no picture", "its thumbnail cannot be opened"),
        ("uploads", {}, "its status is answered with 404"),
    ],
)
def test_a_job_that_is_not_right_is_found(
    service: Service, written: Written, attribute: str, value: Any, why: str
) -> None:
    jobs = load(service, written).jobs
    setattr(service, attribute, value)
    records = judged(service, jobs)
    assert {each["why"] for each in records} == {why}
    assert len(read([SETTINGS, *records]).failures) == len(jobs)


def test_the_same_picture_has_the_same_thumbnail(service: Service) -> None:
    service.uploads = {"0": b"", "2": b""}
    others = iter([jpeg("red"), jpeg("green")])

    @dataclass
    class Changing(Service):
        def get(self, path: str) -> tuple[int, bytes]:
            return (200, next(others)) if path.startswith("/thumbnails") else super().get(path)

    service.__class__ = Changing
    found = [each["why"] for each in judged(service, {"job-of-0": 0, "job-of-2": 2})]
    assert sorted(found) == ["", "its thumbnail is another one than that of the same picture before"]


def test_webhooks_are_counted_by_job() -> None:
    def delivery(type_: str, **data: str) -> dict[str, str]:
        return {"body": json.dumps({"type": type_, "data": data})}

    deliveries = [
        delivery("thumbnailjob.completed", jobId="a"),
        delivery("thumbnailjob.completed", jobId="a"),
        delivery("thumbnailjob.failed", jobId="b"),
        delivery("batch.completed", batchId="c"),
        delivery("thumbnailjob.completed", jobId="another"),
    ]
    assert told(deliveries, ["a", "b"]) == {"a": 2, "b": 0}


def hour(minutes: int = 60, rise: float = 0.0) -> Iterator[dict[str, Any]]:
    """Samples of all components, in which one pod of the API grows by so many MiB an hour."""
    yield SETTINGS
    for second in range(0, minutes * 60, 10):
        for component in COMPONENTS:
            grown = rise * second / 3600 if component == "api" else 0.0
            for name, size in (("one", 50.0 + grown), ("two", 40.0)):
                memory = {"working_set": int(size * MIB), "anonymous": int(size * MIB / 2)}
                yield {"kind": "memory", "at": second, "component": component, "name": name, **memory}


def test_the_table_tells_flat_from_rising() -> None:
    seen = read(hour(rise=12))
    api, operator = (
        next(line for line in report(seen, "steady.svg").splitlines() if line.startswith(f"| {name} |"))
        for name in ("api", "operator")
    )
    assert api.split(" | ")[1:] == [
        *("50 MiB", "51 MiB", "61 MiB", "62 MiB", "+12.0 MiB/h", "26 MiB", "30 MiB", "+6.0 MiB/h |")
    ]
    assert "+0.0 MiB/h" in operator


def test_two_samples_are_no_slope() -> None:
    assert slope([(0, 1.0), (10, 2.0)], 0) is None
    assert slope([(0, 1.0), (10, 2.0), (20, 3.0)], 0) == pytest.approx(360)


def test_a_run_that_was_cut_short_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "cut.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in hour(minutes=4)) + '{"kind": "mem')
    assert publish(file, print_only=True)
    seen = read(hour(minutes=4))
    assert "the run was cut short" in report(seen, "steady.svg")
    titles = {
        element.text for element in ET.fromstring(picture_of(seen)).iter("{http://www.w3.org/2000/svg}text")
    }
    assert set(COMPONENTS) <= titles


def test_a_run_without_any_sample_is_drawn_too() -> None:
    assert "not seen" in report(Run(SETTINGS), "steady.svg")
    ET.fromstring(picture_of(Run(SETTINGS)))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("quality", ["", "burstable", "besteffort"])
def test_memory_of_a_pod_is_read_from_its_control_group(tmp_path: Path, version: int, quality: str) -> None:
    top = tmp_path if version == 2 else tmp_path / "memory"
    group = top / CGROUP / "kubepods" / quality / "pod1-2-3"
    group.mkdir(parents=True)
    if version == 2:
        (tmp_path / "cgroup.controllers").touch()
        (group / "memory.current").write_text("1000\n")
        (group / "memory.stat").write_text("anon 700\nfile 300\ninactive_file 100\n")
    else:
        (group / "memory.usage_in_bytes").write_text("1000\n")
        (group / "memory.stat").write_text("rss 1\ninactive_file 2\ntotal_rss 700\ntotal_inactive_file 100\n")
    assert steady_memory.of_pod("1-2-3", tmp_path) == (900, 700)
    assert steady_memory.of_pod("4-5-6", tmp_path) is None


def test_memory_of_a_process_is_what_the_kernel_says() -> None:
    found = steady_memory.of_process(os.getpid())
    assert found is not None
    assert 0 < found.anonymous < found.working_set
    assert steady_memory.of_process(2**22 + 1) is None
