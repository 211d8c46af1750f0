"""A release that is tested, upgraded, removed, and followed by one of another name: nothing is lost."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("releases")]
CHART = Path(__file__).parents[3] / "charts" / "thumbnails"
RELEASE, NEXT = "thumbnails", "next"
MADE = ("thumbnails-api-keys", "thumbnails-s3", "thumbnails-minio", "thumbnails-links")
Photo = Callable[..., bytes]


@pytest.fixture(scope="module")
def release(start_installation: Callable[..., Any], tools: Any) -> Iterator[Any]:
    """One for the tests of this module alone, the last of which removes it."""
    installation = start_installation(
        settings={"lingerSeconds": 5, "maxWorkers": 1}, operator={"replicas": 2}
    )
    yield installation
    subprocess.run(
        ["helm", "uninstall", NEXT, "--namespace", installation.namespace, "--ignore-not-found"],
        env=tools.environment,
        capture_output=True,
        check=False,
    )


def secrets(release: Any) -> dict[str, Any]:
    return {name: release.get("secret", name)["data"] for name in MADE}


def test_helm_test_sees_a_picture_go_all_the_way(release: Any) -> None:
    said = release.tools.run(
        "helm", "test", RELEASE, "--namespace", release.namespace, "--logs", "--timeout", "5m"
    )
    assert "the thumbnail is there, and right" in said
    assert release.get("thumbnailjobs")["items"] == []  # it is deleted again


def test_an_upgrade_with_uploads_in_flight_loses_none_and_makes_no_secret_anew(
    release: Any, photo: Photo, eventually: Any
) -> None:
    before, taken, over = secrets(release), [], threading.Event()

    def upload() -> None:
        while not over.wait(0.2):
            answer = release.post(photo())
            if answer.status_code == 201:
                taken.append(answer.json()["id"])

    uploads = threading.Thread(target=upload)
    uploads.start()
    pods = {pod["metadata"]["uid"] for name in ("api", "operator") for pod in release.pods(name)}
    try:
        release.upgrade(
            api={"podAnnotations": {"example.com/turn": "2"}},
            operator={"podAnnotations": {"example.com/turn": "2"}},
        )
    finally:
        over.set()
        uploads.join()
    assert len(taken) > 5
    assert {release.wait_job(job)["status"] for job in taken} == {"complete"}

    def left() -> set[str]:
        return pods & {pod["metadata"]["uid"] for name in ("api", "operator") for pod in release.pods(name)}

    eventually(lambda: not left(), "pods of before have ended")
    assert secrets(release) == before


def test_a_rendering_that_saw_no_cluster_cannot_write_over_secrets(release: Any, tmp_path: Path) -> None:
    before = secrets(release)
    done = subprocess.run(
        ["helm", "template", RELEASE, CHART, "--namespace", release.namespace, "--no-hooks"],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [document for document in yaml.safe_load_all(done.stdout) if document]
    made = [document for document in found if document["kind"] == "Secret"]
    assert {document["metadata"]["name"] for document in made} == set(MADE) - {"thumbnails-api-keys"}
    for document in made:
        with pytest.raises(AssertionError, match="immutable"):
            release.kubectl("apply", "--filename=-", stdin=json.dumps(document))
    assert secrets(release) == before


def test_jobs_and_pictures_outlive_a_release_and_the_next_of_another_name_has_them(
    release: Any, photo: Photo, tmp_path: Path
) -> None:
    claim = release.get("persistentvolumeclaims")["items"]
    job = release.wait_job(release.post(photo()).json()["id"])
    thumbnail = release.request("GET", f"/thumbnails/{job['id']}").content
    values = release.tools.run("helm", "get", "values", RELEASE, "--namespace", release.namespace)
    release.tools.run("helm", "uninstall", RELEASE, "--namespace", release.namespace, "--wait")
    assert release.job_resource(job["id"])["status"]["phase"] == "Succeeded"
    assert release.tools.run("kubectl", "get", "crd", "thumbnailjobs.thumbnails.dev")
    file = tmp_path / "values.yaml"
    file.write_text(values.partition("\n")[2])
    release.tools.run(
        *("helm", "install", NEXT, str(CHART), "--namespace", release.namespace, "--take-ownership"),
        *("--values", str(file), "--set", "fullnameOverride=thumbnails", "--wait", "--timeout", "5m"),
    )
    # The key of before is good, and the picture that was taken before is there where the volume is.
    assert release.request("GET", f"/jobs/{job['id']}").json()["status"] == "complete"
    if claim:
        assert release.request("GET", f"/thumbnails/{job['id']}").content == thumbnail
    assert release.wait_job(release.post(photo()).json()["id"])["status"] == "complete"
