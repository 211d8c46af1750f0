"""One trace from a request to all that it caused: the job, what its worker logs, its webhook."""

from typing import Any

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
STATE = "vendor=t61rcWkgMzE"


def upload(service: Any, receiver: Any, picture: bytes, **headers: str) -> str:
    answer = service.request(
        "POST",
        "/images",
        params={"webhookUrl": receiver.url},
        data=picture,
        headers={"Content-Type": "image/jpeg", **headers},
    )
    assert answer.status_code == 201
    job_id: str = answer.json()["id"]
    return job_id


def test_a_trace_comes_back_with_the_webhook(
    service: Any, webhook_receiver: Any, photo: Any, eventually: Any
) -> None:
    damaged = photo()[:3000]  # which its worker has something to say of
    job_id = upload(service, webhook_receiver, damaged, traceparent=TRACE, tracestate=STATE)
    (delivery, *_) = webhook_receiver.of_job(job_id)
    assert delivery.headers["traceparent"] == TRACE
    assert delivery.headers["tracestate"] == STATE

    def lines() -> list[str]:
        return [line for line in service.log().splitlines() if f"traceId={TRACE_ID}" in line]

    assert any("POST /images 201" in line and " api: " in line for line in lines())
    assert eventually(
        lambda: [line for line in lines() if " worker: " in line and job_id in line], "the worker's line"
    )


def test_an_upload_without_a_trace_begins_one(service: Any, webhook_receiver: Any, photo: Any) -> None:
    job_id = upload(service, webhook_receiver, photo(), **{"X-Request-Id": "without-a-trace"})
    (delivery, *_) = webhook_receiver.of_job(job_id)
    trace_id = delivery.headers["traceparent"].split("-")[1]
    assert any(
        f"traceId={trace_id}" in line and "requestId=without-a-trace" in line
        for line in service.log().splitlines()
    )
    assert "tracestate" not in delivery.headers
