"""`traceparent` (W3C Trace Context): who asked, carried on to the job, its worker and its webhook."""

import re
from typing import Final

# Version 00: trace id, parent id, flags. Later versions may add fields, which are not ours to carry on.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_INVALID_VERSION: Final = "ff"


def parse_traceparent(header: str | None) -> str | None:
    """The header as version 00 says it; None when there is none, or one that is to be ignored."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    if match is None:
        return None
    version, trace, parent, flags, more = match.groups()
    is_valid = version != _INVALID_VERSION and trace.strip("0") and parent.strip("0")
    if not is_valid or (version == "00" and more is not None):
        return None
    return f"00-{trace}-{parent}-{flags}"
