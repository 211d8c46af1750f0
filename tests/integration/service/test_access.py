"""Links and Idempotency-Keys on the running service, with a real object store: also across a restart."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

KEY = {"Idempotency-Key": '"0193-a-client-s-own"'}


def post(service: Any, picture: bytes, **headers: str) -> Any:
    return service.request(
        "POST", "/images", data=picture, headers={"Content-Type": "image/jpeg", **KEY, **headers}
    )


def test_an_upload_sent_again_after_a_restart_is_answered_as_before(start_service: Any, photo: Any) -> None:
    service, picture = start_service(), photo()
    first = post(service, picture, Prefer="wait=30")
    assert (first.status_code, first.json()["status"]) == (201, "complete")
    link = service.request("GET", f"/jobs/{first.json()['id']}/links").json()["thumbnailPath"]
    service.kill()
    service.start()
    again = post(service, picture)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert post(service, photo()).json()["reason"] == "IdempotencyKeyReused"
    assert len(service.request("GET", "/jobs").json()) == 1
    # The secret of links outlives the service too, and is its owner's alone.
    shown = service.request("GET", link)
    assert (shown.status_code, shown.headers["Cache-Control"].split(",")[0]) == (200, "public")
    assert (service.data / "link-secret").stat().st_mode & 0o077 == 0
    assert (service.data / "link-secret").read_text().strip() not in service.log()


def test_of_many_at_once_one_makes_the_job(service: Any, photo: Any) -> None:
    picture, key = photo(), {"Idempotency-Key": '"all-at-once"'}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(service, picture, **key), range(8)))
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(made) == 1
    fresh = [a for a in answers if a.status_code == 201 and "Idempotency-Replayed" not in a.headers]
    assert len(fresh) == 1
