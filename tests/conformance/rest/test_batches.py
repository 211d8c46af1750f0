"""Many pictures in one request: what became of each, `batch=`, one webhook when all have ended."""

import io
import zipfile
from typing import Any

from PIL import Image


def test_a_batch_says_of_each_picture_what_became_of_it(account: Any, picture: Any) -> None:
    answer = account.upload_batch([picture(), b"Holidays.", picture()[:150], picture()])
    assert answer.status_code == 207
    batch, items = answer.json()["batchId"], answer.json()["items"]
    assert items[1]["reason"] == "UnsupportedFormat"
    taken = [items[index]["id"] for index in (0, 2, 3)]
    ends = [
        account.finished(job_id, status)["status"]
        for job_id, status in zip(taken, ("complete", "failed", "complete"), strict=True)
    ]
    assert ends == ["complete", "failed", "complete"]
    other = account.rendered(picture())
    for status, expected in (("complete", [taken[2], taken[0]]), ("failed", [taken[1]]), ("pending", [])):
        assert [job["id"] for job in account.listed(f"batch={batch}&status={status}")] == expected
    assert [job["id"] for job in account.listed(f"batch={batch}")] == taken[::-1]
    assert [job["id"] for job in account.listed(f"batch={batch}&limit=1")] == taken[2:]
    assert account.listed()[0]["id"] == other["id"]
    assert account.listed("batch=01980000-0000-7000-8000-000000000000") == []


def test_a_zip_is_a_batch_with_one_webhook(
    service: Any, account: Any, picture: Any, webhook_receiver: Any
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(5):
            archive.writestr(f"album/{number}.png", picture())
        archive.writestr("album/damaged.png", picture()[:150])
    query = f"width=64&batchWebhooks=once&webhookUrl={webhook_receiver.url}"
    answer = account.upload(file.getvalue(), query, **{"Content-Type": "application/zip"})
    assert answer.status_code == 201
    batch, items = answer.json()["batchId"], answer.json()["items"]
    assert {item["priority"] for item in items} == {"bulk"}
    (delivery,) = webhook_receiver.of_job(batch)
    delivery.verify(service.webhook_secret)
    told = delivery.event["data"]
    assert (told["complete"], told["failed"], told["cancelled"]) == (5, 1, 0)
    assert len(account.listed(told["jobsPath"].partition("?")[2])) == 6
    for job in account.listed(f"batch={batch}&status=complete"):
        thumbnail = account.get(job["thumbnailPath"])
        assert Image.open(io.BytesIO(thumbnail.content)).width == 64
    assert [each.about for each in webhook_receiver.deliveries] == [batch]


def test_the_webhook_of_a_batch_comes_before_its_jobs_become_history(
    account: Any, picture: Any, webhook_receiver: Any
) -> None:
    query = f"ttlSecondsAfterFinished=0&batchWebhooks=once&webhookUrl={webhook_receiver.url}"
    batch = account.upload_batch([picture() for _ in range(6)], query).json()["batchId"]
    (delivery,) = webhook_receiver.of_job(batch)
    assert delivery.event["data"]["complete"] == 6
    jobs = account.listed(f"batch={batch}")
    for job in jobs:
        account.has_left_the_store(job["id"])
    assert account.listed(f"batch={batch}") == jobs
    assert account.listed(f"batch={batch}&status=failed") == []
    assert [each.about for each in webhook_receiver.deliveries] == [batch]
