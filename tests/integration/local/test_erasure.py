"""What is deleted is gone: of a job and of a whole account nothing is left in the bucket, whatever is killed.

With an S3 server of the test's own, so that the bucket can be looked into.
"""

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thumbnails_common.s3 import S3ObjectStore
from thumbnails_common.s3_settings import S3Settings
from thumbnails_local.weed import WeedServer

PATIENCE_SECONDS = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Settings]:
    server = WeedServer(tmp_path / "s3")
    yield server.start()
    server.stop(grace_seconds=0)


@pytest.fixture
def bucket(server: S3Settings) -> Iterator[S3ObjectStore]:
    with contextlib.closing(S3ObjectStore(server)) as objects:
        yield objects


@pytest.fixture
def environment(server: S3Settings) -> dict[str, str]:
    return {
        "THUMBNAILS_S3_ENDPOINT": server.endpoint,
        "THUMBNAILS_S3_ACCESS_KEY": server.access_key,
        "THUMBNAILS_S3_SECRET_KEY": server.secret_key,
        "THUMBNAILS_ERASURE_SECONDS": "4",
        "THUMBNAILS_ERASURE_POLL_SECONDS": "0.2",
    }


def contents(bucket: S3ObjectStore, part: str = "") -> list[str]:
    """The keys in the bucket that have this in them."""
    return [facts.key for facts in bucket.list("") if part in facts.key]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_of_an_erased_account_nothing_is_left(
    start_service: Any, picture: Any, eventually: Any, bucket: S3ObjectStore, environment: dict[str, str]
) -> None:
    service = start_service(THUMBNAILS_LOGIN="on", **environment)
    made = {name: service.keys("create", "--account", name) for name in ("shop", "rival")}
    who = {name: {"Authorization": f"Bearer {key}"} for name, key in made.items()}

    def post(name: str, number: int, **headers: str) -> Any:
        return service.request("POST", "/images", data=picture(number), headers=who[name] | headers)

    eventually(lambda: service.request("GET", "/jobs", headers=who["rival"]).status_code == 404)
    theirs = post("rival", 1, Prefer="wait=30", **{"Idempotency-Key": '"theirs"'})
    assert theirs.json()["status"] == "complete"
    for number in range(20):  # some are done, some are being made, some wait
        assert post("shop", number, **{"Idempotency-Key": f'"{number}"'}).status_code == 201
    before = contents(bucket, "/rival/")
    command = service.administer("accounts", "erase", "shop", "--revoke-keys", "--url", service.url)
    eventually(lambda: post("shop", 0).json().get("reason") == "AccountBeingErased", "uploads are refused")
    assert post("rival", 2).status_code == 201
    for role in ("operator", "worker", "operator", "api"):
        for pid in service.pids(role):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda role=role: service.pids(role), f"another {role}")
    try:
        _, said = command.communicate(timeout=PATIENCE_SECONDS * 2)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    if command.returncode:  # it was told so when the API was killed
        assert "cannot be reached" in said or "answers 5" in said
        eventually(lambda: contents(bucket, "erasures/done/"), "the erasure is done")
    else:
        assert "it is erased: " in said
    assert contents(bucket, "/shop") == ["erasures/done/thumbnails/shop"]
    assert set(before) <= set(contents(bucket, "/rival/"))
    assert service.request("GET", theirs.json()["thumbnailPath"], headers=who["rival"]).status_code == 200
    assert "is erased: " in service.log()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_of_a_deleted_job_nothing_is_left_at_whatever_moment(
    start_service: Any, picture: Any, eventually: Any, bucket: S3ObjectStore, environment: dict[str, str]
) -> None:
    service, chance = start_service(**environment), random.Random(1)
    kept = service.finished(service.upload(picture(1000), name="kept")["id"])
    for number in range(12):
        job = service.upload(picture(number), width=str(100 + number))
        service.request(
            "GET", f"/jobs/{job['id']}", headers={"Prefer": f"wait={chance.choice([0, 0, 0, 1])}"}
        )
        path, statuses = f"/jobs/{job['id']}", set[int]()

        def is_over(path: str = path, statuses: set[int] = statuses) -> bool:
            statuses.add(service.request("DELETE", path, headers={"Prefer": "wait=10"}).status_code)
            return not statuses <= {202}

        eventually(is_over, "nothing of the job is left")
        assert statuses & {202, 204}  # 404: it was gone between two questions
        left = contents(bucket)
        assert not [key for key in left if job["id"] in key]
        # One original and one thumbnail: those of the job that is kept.
        assert [key.split("/")[0] for key in left if key.startswith(("sources/", "thumbnails/"))] == [
            "sources",
            "thumbnails",
        ]
    assert service.request("GET", kept["thumbnailPath"]).status_code == 200
