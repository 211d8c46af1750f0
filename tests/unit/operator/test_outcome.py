"""What happened, as a status."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.status import ErrorFacts, OutputFacts, Phase, SourceFacts, status_patch
from thumbnails_contract.wire import Result
from thumbnails_operator import outcome
from thumbnails_operator.ports import WorkerPhase, WorkerState

NOW = datetime(2026, 1, 2, 3, 5, 0, 250_000, tzinfo=UTC)
LATER = NOW + timedelta(milliseconds=400)
MakeJob = Callable[..., ThumbnailJob]
SOURCE = SourceFacts("jpeg", 640, 480, 1, 1234)
OUTPUT = OutputFacts("default", "auto", "key", 100, 100, 99, "image/jpeg", "etag")


def test_a_job_that_runs_and_ends_well(make_job: MakeJob) -> None:
    job = make_job()
    started = outcome.running(job, "worker-1", 0, 3, NOW, NOW)
    assert started.phase is Phase.RUNNING
    job = replace(job, status=started)
    assert outcome.running(job, "worker-1", 0, 3, NOW, LATER) == started  # again changes nothing
    ended = outcome.succeeded(job, (OUTPUT,), SOURCE, worker="worker-1", attempts=1, started=NOW, now=LATER)
    manifest = ended.to_manifest()
    assert manifest["phase"] == "Succeeded"
    assert manifest["duration"] == "400ms"
    assert manifest["outputsSummary"] == "100x100 jpeg"
    assert manifest["observedGeneration"] == 3
    assert [each["type"] for each in manifest["conditions"]] == ["Started", "Complete"]
    assert manifest["workerJob"] == "worker-1"
    assert "error" not in manifest


def test_the_first_start_is_kept(make_job: MakeJob) -> None:
    first = outcome.running(make_job(), "worker-1", 0, 3, NOW, NOW)
    hour = NOW + timedelta(hours=1)
    second = outcome.running(make_job(status=first), "worker-2", 1, 3, hour, hour)
    assert second.start_time == NOW
    assert (second.worker_job, second.attempts) == ("worker-2", 1)


def test_a_failure_names_reason_and_message(make_job: MakeJob) -> None:
    status = outcome.failed(make_job(), ErrorFacts("CorruptSource", "It is damaged."), 1, NOW)
    assert status.phase is Phase.FAILED
    patch = status_patch({"phase": "Pending"}, status)
    assert patch["error"] == {"reason": "CorruptSource", "message": "It is damaged."}
    assert patch["attempts"] == 1


def test_a_cancelled_job_has_its_own_phase(make_job: MakeJob) -> None:
    assert outcome.cancelled(make_job(), NOW).phase is Phase.CANCELLED


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        (ErrorFacts("CorruptSource", "It is cut off."), "CorruptSource", "It is cut off."),
        (ErrorFacts("NoSuchReason", "Whatever."), "RenderFailed", "Whatever."),
        (ErrorFacts("OutOfMemory", "x" * 5000), "OutOfMemory", "x" * outcome.MAX_MESSAGE),
        (None, "RenderFailed", None),
    ],
)
def test_what_a_worker_says_is_brought_into_our_words(
    said: ErrorFacts | None, reason: str, message: str | None
) -> None:
    error = outcome.worker_error(Result("lease", error=said))
    assert error.reason == reason
    assert message is None or error.message == message


@pytest.mark.parametrize(
    ("phase", "reason", "error", "disruption"),
    [
        (WorkerPhase.FAILED, "OOMKilled", "OutOfMemory", False),
        (WorkerPhase.FAILED, "DeadlineExceeded", "DeadlineExceeded", False),
        (WorkerPhase.FAILED, "Error", "WorkerCrashed", False),
        (WorkerPhase.FAILED, "", "WorkerCrashed", False),
        (WorkerPhase.ENDED, "", "WorkerLost", False),
        (WorkerPhase.FAILED, "Evicted", "WorkerCrashed", True),
        (WorkerPhase.FAILED, "DisruptionTarget", "WorkerCrashed", True),
    ],
)
def test_a_dead_worker_says_why_its_jobs_failed(
    phase: WorkerPhase, reason: str, error: str, disruption: bool
) -> None:
    state = WorkerState("ns", "worker", phase, reason, "some text of Kubernetes")
    assert outcome.death(state).reason == error
    assert "Kubernetes" not in outcome.death(state).message
    assert outcome.is_disruption(state) is disruption


@pytest.mark.parametrize(
    ("reason", "away"),
    [
        ("ObjectStoreUnavailable", True),
        ("WorkerCrashed", False),
        ("CorruptSource", False),
        ("Whatever", False),
    ],
)
def test_what_is_away_is_nobodys_fault(reason: str, away: bool) -> None:
    assert outcome.is_unavailable(ErrorFacts(reason, "")) is away
