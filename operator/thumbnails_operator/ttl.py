"""`spec.ttlSecondsAfterFinished`: decides when a finished job is deleted."""

from datetime import datetime, timedelta

from thumbnails_contract.job import ThumbnailJob


def deletion_time(
    job: ThumbnailJob, default_seconds: int | None, *, webhook_settled: bool
) -> datetime | None:
    """When to delete the job; None: not, or not before its webhooks have come to an end."""
    seconds = job.spec.ttl_seconds_after_finished
    if seconds is None:
        seconds = default_seconds
    ended = job.status.completion_time
    if seconds is None or ended is None or not job.status.finished or not webhook_settled:
        return None
    return ended + timedelta(seconds=seconds)
