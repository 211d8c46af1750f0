"""What the operator remembers of thumbnails that were made."""

from collections.abc import Callable
from dataclasses import replace

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import OutputFacts
from thumbnails_operator.memory import Made


def with_outputs(job: ThumbnailJob, *keys: str) -> ThumbnailJob:
    outputs = tuple(OutputFacts("default", "auto", key, 1, 1, 1, "image/png", "e") for key in keys)
    return replace(job, status=replace(job.status, outputs=outputs))


def test_a_thumbnail_is_made_as_long_as_a_job_has_it(make_job: Callable[..., ThumbnailJob]) -> None:
    made, job = Made(), with_outputs(make_job(), "a")
    made.add(job)
    made.add(job)
    made.remove(job)
    assert "a" in made
    made.remove(job)
    assert "a" not in made


def test_those_of_the_last_jobs_of_history_are_remembered(make_job: Callable[..., ThumbnailJob]) -> None:
    made = Made(max_kept=2)
    for key in ("a", "b", "a", "c"):
        job = with_outputs(make_job(), key)
        made.add(job)
        made.keep(job)
        made.remove(job)
    assert ["a" in made, "b" in made, "c" in made] == [True, False, True]
