"""The way of kubectl: ThumbnailJobs without the API, and what an admin sees of all of them."""

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("installation")]
Photo = Callable[..., bytes]


def manifest(name: str, object_key: str, **spec: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "thumbnails.dev/v1alpha1",
            "kind": "ThumbnailJob",
            "metadata": {"name": name},
            "spec": {"source": {"objectKey": object_key}, **spec},
        }
    )


def put_original(installation: Any, content: bytes) -> str:
    key = f"sources/{installation.namespace}/by-hand/{uuid.uuid4().hex}.jpg"
    installation.objects.put(key, io.BytesIO(content), len(content), content_type="image/jpeg")
    return key


def test_an_object_that_is_in_the_bucket_already(installation: Any, photo: Photo) -> None:
    key = put_original(installation, photo(400, 300))
    outputs = [
        {"name": "small", "width": 40, "height": 40},
        {"name": "large", "width": 200, "fit": "inside", "formats": ["webp"]},
    ]
    applied = installation.kubectl("apply", "--filename=-", stdin=manifest("holiday", key, outputs=outputs))
    assert "holiday created" in applied
    installation.kubectl("wait", "--for=condition=Complete", "thumbnailjob/holiday", "--timeout=120s")
    job = installation.job_resource("holiday")
    small, large = job["status"]["outputs"]
    for output, size in ((small, (40, 40)), (large, (200, 150))):
        body = installation.objects.get(output["objectKey"])
        with Image.open(io.BytesIO(body.read())) as thumbnail:
            assert thumbnail.size == size
        body.close()
    assert {reason for _, reason in installation.events("holiday")} >= {"Completed"}
    # The API knows it as well: it is the same job.
    assert installation.request("GET", "/thumbnails/holiday/large").headers["Content-Type"] == "image/webp"

    row = installation.kubectl("get", "tnj", "holiday", "--no-headers").split()
    assert row[:2] == ["holiday", "Succeeded"]
    wide = installation.kubectl("get", "tnj", "--output=wide")
    assert "WORKER" in wide.splitlines()[0].upper()
    selected = installation.kubectl("get", "tnj", "--field-selector=status.phase=Succeeded", "--output=name")
    assert "thumbnailjob.thumbnails.dev/holiday" in selected.split()
    assert "fit" in installation.kubectl("explain", "thumbnailjob.spec.outputs")
    described = installation.kubectl("describe", "thumbnailjob", "holiday")
    assert "Succeeded" in described
    installation.kubectl("delete", "thumbnailjob", "holiday", "--timeout=60s")
    assert installation.request("GET", "/jobs/holiday").status_code == 404


def test_the_source_of_another_namespace_is_refused_when_it_is_created(installation: Any) -> None:
    with pytest.raises(AssertionError, match="must lie under sources/"):
        installation.kubectl(
            "apply", "--filename=-", stdin=manifest("thief", "sources/kube-system/default/picture.jpg")
        )


def test_what_is_not_there_fails_for_a_reason(installation: Any) -> None:
    key = f"sources/{installation.namespace}/by-hand/nothing.jpg"
    installation.kubectl("apply", "--filename=-", stdin=manifest("nothing", key))
    installation.kubectl("wait", "--for=condition=Failed", "thumbnailjob/nothing", "--timeout=120s")
    status = installation.job_resource("nothing")["status"]
    assert status["error"]["reason"] == "SourceNotFound"
    assert ("Warning", "Failed") in installation.events("nothing")


def test_suspended_jobs_wait_and_cancelled_ones_end(installation: Any, photo: Photo) -> None:
    key = put_original(installation, photo())
    installation.kubectl("apply", "--filename=-", stdin=manifest("later", key, suspend=True))
    installation.kubectl("apply", "--filename=-", stdin=manifest("never", key, suspend=True))
    installation.kubectl("patch", "tnj", "never", "--type=merge", '--patch={"spec": {"cancel": true}}')
    installation.kubectl("wait", "--for=jsonpath={.status.phase}=Cancelled", "tnj/never", "--timeout=60s")
    assert installation.job_resource("later")["status"]["phase"] == "Pending"
    installation.kubectl("patch", "tnj", "later", "--type=merge", '--patch={"spec": {"suspend": false}}')
    installation.kubectl("wait", "--for=condition=Complete", "tnj/later", "--timeout=120s")
