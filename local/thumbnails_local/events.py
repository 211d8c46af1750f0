"""The EventSink port on one machine: what happens to a job is a line in the log."""

import logging

from thumbnails_contract.job import JobKey

_log = logging.getLogger(__name__)


class LogEventSink:
    """Events of jobs as log records."""

    def emit(self, key: JobKey, uid: str, *, warning: bool, reason: str, message: str) -> None:  # noqa: ARG002 - the port
        """Log the event."""
        _log.log(logging.WARNING if warning else logging.INFO, "%s %s: %s", key.name, reason, message)
