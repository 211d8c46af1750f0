"""A job that cannot start says why, soon: with real worker Jobs of a cluster that has nodes."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

Eventually = Callable[..., Any]
SECONDS = 30.0
WORKER_IMAGE = os.environ.get("THUMBNAILS_TEST_WORKER_IMAGE", "")


@pytest.fixture
def stuck(world: Any, eventually: Eventually) -> Callable[..., str]:
    """A function that has a job wait under an operator with this environment, and gives its reason."""
    if not world.core.list_node().items:
        pytest.skip("needs a cluster with nodes")

    def run(*reasons: str, **environment: str) -> str:
        world.start_leader(**environment)
        file = io.BytesIO()
        Image.new("RGB", (60, 40)).save(file, "JPEG")
        world.create_job("stuck", world.upload("picture.jpg", file.getvalue()))
        eventually(lambda: world.reason("stuck") in reasons, f"{world.reason('stuck')}: {reasons}", SECONDS)
        assert world.phase("stuck") == "Pending"
        return str(world.reason("stuck"))

    return run


def test_an_image_that_cannot_be_pulled(stuck: Callable[..., str]) -> None:
    stuck("ErrImagePull", "ImagePullBackOff", THUMBNAILS_WORKER_IMAGE="localhost:1/none:1")


def test_an_image_with_a_wrong_name(stuck: Callable[..., str]) -> None:
    stuck("InvalidImageName", THUMBNAILS_WORKER_IMAGE="Not An Image")


def test_a_worker_that_no_node_has_room_for(stuck: Callable[..., str]) -> None:
    stuck("Unschedulable", THUMBNAILS_WORKER_MEMORY_MIB="99999999")


def test_a_pod_that_may_not_be_created(stuck: Callable[..., str]) -> None:
    stuck("FailedCreate", THUMBNAILS_WORKER_SERVICE_ACCOUNT="missing")


@pytest.mark.skipif(not WORKER_IMAGE, reason="needs a worker's image: THUMBNAILS_TEST_WORKER_IMAGE")
def test_a_worker_that_cannot_reach_the_operator(stuck: Callable[..., str]) -> None:
    """From within the cluster, the operator's loopback address is another one."""
    stuck("ExchangeUnreachable", THUMBNAILS_WORKER_IMAGE=WORKER_IMAGE)
