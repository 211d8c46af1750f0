"""What the end of a renderer means for the picture that it had."""

import signal

import pytest

from thumbnails_worker.outcome import KilledFor, ended, explain_death, returned


@pytest.mark.parametrize(
    ("wait_status", "killed_for", "reason", "retry"),
    [
        (signal.SIGSEGV, None, "WorkerCrashed", True),
        (signal.SIGABRT, None, "WorkerCrashed", True),
        (1 << 8, None, "WorkerCrashed", True),  # exit code 1
        (0, None, "WorkerCrashed", True),  # ended without an answer
        (signal.SIGKILL, None, "OutOfMemory", True),
        (signal.SIGXCPU, None, "DeadlineExceeded", False),
        (signal.SIGKILL, KilledFor.DEADLINE, "DeadlineExceeded", True),
    ],
)
def test_each_death_has_its_reason(
    wait_status: int, killed_for: KilledFor | None, reason: str, retry: bool
) -> None:
    result = ended("lease", explain_death(wait_status, killed_for))
    assert result.error is not None
    assert (result.lease, result.error.reason, result.retry, result.returned) == (
        "lease",
        reason,
        retry,
        False,
    )


def test_what_was_killed_to_drain_is_given_back_without_an_attempt() -> None:
    result = ended("lease", explain_death(signal.SIGKILL, KilledFor.DRAIN))
    assert result == returned("lease")
    assert result.error is None
