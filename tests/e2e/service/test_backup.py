"""What docs/operating.md says about backups: jobs and bucket are saved, lost, and restored."""

import io
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Photo = Callable[..., bytes]


@pytest.fixture
def release(start_installation: Callable[..., Any]) -> Any:
    """One of its own: it is destroyed."""
    return start_installation(operator={"replicas": 1}, settings={"lingerSeconds": 2})


def test_jobs_and_bucket_are_restored(release: Any, photo: Photo, eventually: Callable[..., Any]) -> None:
    done = [release.post(photo()).json()["id"] for _ in range(3)]
    whole = photo(1200, 900, "PNG")
    broken = release.post(whole[: len(whole) // 2]).json()["id"]
    for job in (*done, broken):
        release.wait_job(job)
        release.webhooks.of_job(job)
    before = {job: release.request("GET", f"/thumbnails/{job}").content for job in done}

    # What is saved
    saved = json.loads(release.kubectl("get", "thumbnailjobs", "--output=json"))
    contents = {}
    for listed in release.objects.list(""):
        with closing(release.objects.get(listed.key)) as body:
            contents[listed.key] = (body.read(), release.objects.head(listed.key))

    # What is lost
    release.kubectl("scale", "deployment/thumbnails-operator", "--replicas=0")
    eventually(lambda: not release.pods("operator"), "no operator runs")
    release.kubectl("delete", "thumbnailjobs", "--all")
    release.objects.delete(contents)
    assert release.request("GET", f"/thumbnails/{done[0]}").status_code == 404

    # What is restored, as the page says; one job without its status, as one that had not ended
    for key, (content, facts) in contents.items():
        release.objects.put(
            key, io.BytesIO(content), len(content), content_type=facts.content_type, metadata=facts.metadata
        )
    for job in saved["items"]:
        kept = {name: job["metadata"].get(name) for name in ("name", "namespace", "labels", "annotations")}
        job["metadata"] = {name: value for name, value in kept.items() if value}
    apply = ("apply", "--server-side", "--filename=-")
    release.kubectl(*apply, stdin=json.dumps(saved))
    with_status = [job for job in saved["items"] if job["metadata"]["name"] != done[0]]
    release.kubectl(
        *(*apply, "--subresource=status", "--force-conflicts"),
        stdin=json.dumps({**saved, "items": with_status}),
    )
    release.kubectl("scale", "deployment/thumbnails-operator", "--replicas=1")

    assert release.wait_job(done[0])["status"] == "complete"
    for job, thumbnail in before.items():
        assert release.request("GET", f"/thumbnails/{job}").content == thumbnail
    failed = release.wait_job(broken)
    assert (failed["status"], failed["error"]["reason"]) == ("failed", "CorruptSource")
    for job in with_status:
        now = release.job_resource(job["metadata"]["name"])["status"]
        assert now == job["status"], "what had ended is left as it was"
