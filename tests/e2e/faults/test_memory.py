"""Pictures that need more memory than there is: each costs itself, and nothing else."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
APicture = Callable[..., Any]
LARGEST_SIDE = 4096


def many_pixels() -> bytes:
    """A small file of 81 million pixels, of which a decoder has to keep all coefficients: half a gigabyte."""
    file = io.BytesIO()
    colour = tuple(os.urandom(3))
    Image.new("RGB", (9000, 9000), colour).save(file, "JPEG", progressive=True, subsampling=0)
    return file.getvalue()


def noise(mode: str) -> bytes:
    """A small picture of which encoders make large thumbnails."""
    file = io.BytesIO()
    image = Image.frombytes(mode, (512, 512), os.urandom(512 * 512 * len(mode)))
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_a_renderer_out_of_memory_costs_one_picture_each(trial: Any, a_picture: APicture) -> None:
    trial.upload(a_picture() for _ in range(4))
    large = trial.upload_large(many_pixels(), 100, "png")
    hungry = trial.upload_large(noise("RGBA"), LARGEST_SIDE, "webp")
    trial.upload(a_picture() for _ in range(12))
    trial.check(failed={large: {"SourceTooLarge", "OutOfMemory"}, hungry: {"OutOfMemory"}})
    assert set(trial.workers.ended().values()) <= {"Completed"}, "a worker died of it"


@pytest.mark.parametrize("victim", ["renderer", "container"])
def test_the_picture_that_a_workers_memory_does_not_hold_is_found(
    trial: Any, a_picture: APicture, max_attempts: int, victim: str
) -> None:
    trial.upload([a_picture()])
    dies_whole = trial.workers.tighten_memory(victim)
    trial.upload(a_picture() for _ in range(6))
    guilty = trial.upload_large(noise("RGB"), LARGEST_SIDE, "png,gif")
    trial.upload(a_picture() for _ in range(6))
    jobs = trial.check(failed={guilty: {"OutOfMemory"}})
    assert jobs[guilty]["status"]["attempts"] == max_attempts

    def killed() -> list[str]:
        return [end for end in trial.workers.ended().values() if end != "Completed"]

    if dies_whole:  # which the operator may have seen before this test has
        trial.eventually(lambda: killed().count("OOMKilled") >= max_attempts, "a worker dies in each attempt")
    else:
        assert not killed(), "a worker died of it"
