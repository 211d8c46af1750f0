"""RFC 3339 timestamps as Kubernetes writes them, from and to aware datetimes."""

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """`2026-11-24T05:45:54Z`: metav1.Time, whole seconds. `moment` must be aware."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def format_micro_time(moment: datetime) -> str:
    """`2026-11-24T05:45:54.123456Z`: metav1.MicroTime."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_time(text: str) -> datetime:
    """An aware UTC datetime from either form. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a timestamp without a time zone: {text!r}")
    return moment.astimezone(UTC)
