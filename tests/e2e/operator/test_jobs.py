"""ThumbnailJobs of an API server, from their creation to their end."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

Eventually = Callable[..., Any]


def a_picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def test_jobs_from_before_and_after_the_start_are_worked_on(world: Any, eventually: Eventually) -> None:
    world.create_job("early", f"sources/{world.namespace}/missing.jpg")
    world.start_leader()
    world.create_job("late", f"sources/{world.namespace}/missing.jpg")
    for name in ("early", "late"):
        eventually(lambda name=name: world.phase(name) == "Failed", f"{name} has ended")
        assert world.job(name)["status"]["error"]["reason"] == "SourceNotFound"
        eventually(lambda name=name: world.events(name) == [("Warning", "Failed")], "it is told")
    metadata = world.job("late")["metadata"]
    assert "finalizers" not in metadata and "annotations" not in metadata


def test_originals_of_other_namespaces_are_refused(world: Any, eventually: Eventually) -> None:
    world.start_leader()
    world.create_job("thief", "sources/elsewhere/default/picture.jpg")
    eventually(lambda: world.phase("thief") == "Failed", "it is refused")
    assert world.job("thief")["status"]["error"]["reason"] == "ForbiddenSource"


def test_a_worker_makes_the_thumbnail_and_the_next_equal_job_needs_none(
    world: Any, eventually: Eventually
) -> None:
    operator = world.start_leader()
    world.start_worker(operator, "worker-one")
    eventually(lambda: operator.metrics().get('workers{phase="Starting"}') == 1, "the worker is seen")
    key = world.upload("picture.jpg", a_picture(200))
    world.create_job("one", key)
    eventually(lambda: world.phase("one") == "Succeeded", "it is rendered")
    (output,) = world.job("one")["status"]["outputs"]
    assert (output["width"], output["height"], output["contentType"]) == (100, 100, "image/jpeg")
    body = world.objects.get(output["objectKey"])
    with Image.open(io.BytesIO(body.read())) as thumbnail:
        assert thumbnail.size == (100, 100)
    body.close()

    world.create_job("two", key)
    eventually(lambda: world.phase("two") == "Succeeded", "it is there already")
    reasons = {each["type"]: each["reason"] for each in world.job("two")["status"]["conditions"]}
    assert reasons["Complete"] == "Cached"
    metrics = operator.metrics()
    for reason in ("Rendered", "Cached"):
        assert metrics[f'jobs_finished_total{{phase="Succeeded",reason="{reason}"}}'] == 1
    assert metrics['jobs{phase="Succeeded"}'] == 2


def test_a_job_that_is_deleted_while_nobody_watches_is_forgotten(world: Any, eventually: Eventually) -> None:
    operator = world.start_leader()
    world.create_job("gone", f"sources/{world.namespace}/missing.jpg")
    eventually(lambda: operator.metrics().get('jobs{phase="Failed"}') == 1, "it is known")
    world.cluster.objects.delete_namespaced_custom_object(
        "thumbnails.dev", "v1alpha1", world.namespace, "thumbnailjobs", "gone"
    )
    eventually(lambda: operator.metrics().get('jobs{phase="Failed"}') == 0, "it is forgotten")


def test_a_job_that_cannot_start_says_that_a_quota_is_in_the_way(world: Any, eventually: Eventually) -> None:
    none = {"count/jobs.batch": "0"}
    world.core.create_namespaced_resource_quota(
        world.namespace, {"metadata": {"name": "none"}, "spec": {"hard": none}}
    )
    # What a controller does, where there is one.
    world.core.patch_namespaced_resource_quota_status(
        "none", world.namespace, {"status": {"hard": none, "used": none}}
    )
    world.start_leader()
    world.create_job("stuck", world.upload("picture.jpg", a_picture(100)))
    eventually(lambda: world.reason("stuck") == "QuotaExceeded", "it says why", 30)
    assert world.phase("stuck") == "Pending"
