"""`spec.ttlSecondsAfterFinished`: decides when a finished job is deleted, and whether it is history then."""

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


def stays_as_history(job: ThumbnailJob, keep_days: float | None, now: datetime) -> bool:
    """Whether the job is kept as history; not one that has ended longer ago than thumbnails are kept."""
    ended = job.status.completion_time
    return keep_days is None or ended is None or now - ended <= timedelta(days=keep_days)
