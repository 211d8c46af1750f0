"""Batches through the whole service: a ZIP in, thumbnails and one webhook out, and nobody else delayed."""

import io
import os
import signal
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from PIL import Image

ZIP = {"Content-Type": "application/zip"}


def pack(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def jobs(service: Any, batch: str, **query: Any) -> list[dict[str, Any]]:
    answer = service.request("GET", "/jobs", params={"batch": batch, "limit": 1000, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_a_zip_becomes_thumbnails_and_one_webhook(
    service: Any, photo: Any, webhook_receiver: Any, eventually: Any
) -> None:
    pictures = {f"album/{number}.jpg": photo(300 + number, 200) for number in range(6)}
    data = pack(
        {
            "album/": b"",
            **pictures,
            "album/damaged.png": photo(format_="PNG")[:5000],
            "album/notes.txt": b"Holidays.",
            "__MACOSX/album/._0.jpg": b"\x00\x05\x16\x07",
        }
    )
    query = {"width": "64", "batchWebhooks": "once", "webhookUrl": webhook_receiver.url}
    answer = service.request("POST", "/images", params=query, data=data, headers=ZIP)
    assert answer.status_code == 207, answer.text
    batch, items = answer.json()["batchId"], answer.json()["items"]
    names = [item["fileName"] for item in items]
    assert names == [*(f"{number}.jpg" for number in range(6)), "damaged.png", "notes.txt"]
    assert items[7]["reason"] == "UnsupportedFormat"

    (delivery,) = webhook_receiver.of_job(batch)
    delivery.verify((service.data / "webhook-secret").read_text().strip())
    event = delivery.event
    assert event["type"] == "thumbnailjob.batch.completed"
    told = event["data"]
    assert (told["size"], told["jobs"]) == (8, 7)
    assert (told["complete"], told["failed"], told["cancelled"]) == (6, 1, 0)
    assert told["jobsPath"] == f"/jobs?batch={batch}"

    listed = jobs(service, batch)
    assert [job["id"] for job in listed] == [item["id"] for item in items[6::-1]]
    assert [job["fileName"] for job in jobs(service, batch, status="failed")] == ["damaged.png"]
    for job in jobs(service, batch, status="complete"):
        thumbnail = service.request("GET", job["thumbnailPath"])
        assert Image.open(io.BytesIO(thumbnail.content)).width == 64
    # Nothing of its jobs, and nothing twice.
    assert [each.about for each in webhook_receiver.deliveries] == [batch]


def test_a_batch_s_webhook_comes_whenever_the_operator_is_killed(
    start_service: Any, photo: Any, webhook_receiver: Any, eventually: Any
) -> None:
    service = start_service(WEBHOOK_URL=webhook_receiver.url)
    files = [("image", (f"{number}.jpg", photo(), "image/jpeg")) for number in range(12)]
    answer = service.request("POST", "/images", files=files)
    assert answer.status_code == 201, answer.text
    batch = answer.json()["batchId"]
    for least in (2, 6):
        eventually(lambda least=least: len(jobs(service, batch, status="complete")) >= least)
        for pid in service.pids("operator"):
            os.kill(pid, signal.SIGKILL)
    deliveries = webhook_receiver.of_job(batch)
    assert {(each.id, each.body) for each in deliveries} == {(f"msg_{batch}", deliveries[0].body)}
    assert deliveries[0].event["data"]["complete"] == 12
    for item in answer.json()["items"]:
        assert webhook_receiver.of_job(item["id"])


def test_a_job_that_is_deleted_holds_up_no_batch(
    start_service: Any, photo: Any, webhook_receiver: Any
) -> None:
    """Whether it has ended or not: the batch is told of with those that are left."""
    service = start_service(WEBHOOK_URL=webhook_receiver.url, THUMBNAILS_MAX_WORKERS="1")
    files = [("image", (f"{number}.jpg", photo(), "image/jpeg")) for number in range(8)]
    body = service.request("POST", "/images", files=files).json()
    for item in body["items"][4:]:
        assert service.request("DELETE", f"/jobs/{item['id']}").status_code == 204
    told = webhook_receiver.of_job(body["batchId"])[0].event["data"]
    assert told["size"] == 8
    assert 4 <= told["jobs"] <= 8
    assert told["complete"] == told["jobs"]


def same_pixels(picture: bytes, number: int) -> bytes:
    """A PNG that is another file: with a comment of its own."""
    comment = b"tEXtComment\x00" + str(number).encode()
    chunk = struct.pack(">I", len(comment) - 4) + comment + struct.pack(">I", zlib.crc32(comment))
    at = picture.index(b"IDAT") - 4
    return picture[:at] + chunk + picture[at:]


@pytest.mark.timeout(600)  # 200 pictures are taken in, however slow the machine is
def test_single_uploads_overtake_a_batch_that_waits(start_service: Any, photo: Any, eventually: Any) -> None:
    """One worker, and 200 pictures of a batch that are slow to decode: who comes later is served before."""
    service = start_service(THUMBNAILS_MAX_WORKERS="1")
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000), (90, 120, 30)).save(file, "PNG", compress_level=9)
    data = pack({f"{number}.png": same_pixels(file.getvalue(), number) for number in range(200)})
    answers: list[Any] = []

    def post() -> None:
        with requests.Session() as session:
            session.trust_env = False
            answers.append(session.post(f"{service.url}/images", data=data, headers=ZIP, timeout=500))

    thread = threading.Thread(target=post)
    thread.start()
    # Some while the batch is still being taken in, ...
    eventually(lambda: service.request("GET", "/jobs").status_code == 200)
    early = [service.upload(photo())["id"] for _ in range(3)]
    assert {service.finished(job_id)["status"] for job_id in early} == {"complete"}
    thread.join()
    assert answers[0].status_code == 201, answers[0].text
    batch = answers[0].json()["batchId"]
    waiting = len(jobs(service, batch, status="pending"))
    assert waiting > 50
    # ... and some while all of it waits.
    late = [service.upload(photo())["id"] for _ in range(5)]
    assert {service.finished(job_id)["status"] for job_id in late} == {"complete"}
    assert len(jobs(service, batch, status="pending")) > 0
    assert {job["priority"] for job in jobs(service, batch)} == {"bulk"}
