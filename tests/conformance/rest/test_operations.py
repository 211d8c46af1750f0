"""What operations need: traces from a request to its webhook, readiness, and the command `thumbnails`."""

from pathlib import Path
from typing import Any

import pytest
import requests

from thumbnails_client import Client

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_trace_goes_from_the_request_through_the_job_to_the_webhook(
    service: Any, account: Any, picture: Any, webhook_receiver: Any
) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    job = account.rendered(picture(), f"webhookUrl={webhook_receiver.url}", **headers)
    annotations = service.document(job["id"])["metadata"]["annotations"]
    assert any(TRACE in value for value in annotations.values())
    (delivery,) = webhook_receiver.of_job(job["id"])
    delivery.verify(service.webhook_secret)
    assert delivery.headers["traceparent"].split("-")[1] == TRACE
    assert delivery.event["type"] == "thumbnailjob.completed"
    assert delivery.event["data"]["thumbnailPath"] == job["thumbnailPath"]


def test_the_webhook_s_end_is_told_with_the_job(
    account: Any, picture: Any, webhook_receiver: Any, eventually: Any
) -> None:
    job = account.rendered(picture(), f"webhookUrl={webhook_receiver.url}")
    webhook_receiver.of_job(job["id"])
    told = eventually(
        lambda: (
            webhook
            if (webhook := account.get(f"/jobs/{job['id']}").json()["webhook"])["status"] == "delivered"
            else None
        ),
        "it is written down",
    )
    assert told["attempts"] == 1


def test_it_is_ready_as_long_as_its_stores_answer(service: Any) -> None:
    for replica in service.replicas:
        answer = requests.get(f"{replica.url}/readyz", timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")


@pytest.mark.timeout(300)
def test_the_client_puts_waits_gets_lists_and_removes(account: Any, picture: Any, tmp_path: Path) -> None:
    file = tmp_path / "holiday.png"
    file.write_bytes(picture())
    for replica in account.replicas:
        with Client(replica.url, key=account.key) as client:
            job = client.wait(client.put(file, width=32).id, timeout_seconds=90)
            assert (job.status, job.file_name) == ("complete", "holiday.png")
            saved = tmp_path / "thumbnail.png"
            client.get(job.id, saved)
            assert saved.read_bytes() == account.get(job.document["thumbnailPath"]).content
            assert [each.id for each in client.jobs()] == [job.id]
            client.remove(job.id)
            account.is_without(job.id)
