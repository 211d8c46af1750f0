"""W3C Trace Context: who asked, carried from a request to its job, its worker's log and its webhook.

https://www.w3.org/TR/trace-context/. Nothing here records spans, so that both headers are carried on as they
came, as the specification wants of those who do not take part.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from .names import TRACEPARENT_ANNOTATION, TRACESTATE_ANNOTATION

# Version 00: trace id, parent id, flags. Later versions may add fields, which are not ours to carry on.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_INVALID_VERSION: Final = "ff"
_NOT_SAMPLED: Final = "00"

_MAX_STATE_LENGTH: Final = 512
_MAX_MEMBERS: Final = 32
_KEY: Final = r"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER: Final = re.compile(f"{_KEY}={_VALUE}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """`parent` is a `traceparent` of version 00; `state` a valid `tracestate`, if there is one."""

    parent: str
    state: str | None = None

    @classmethod
    def parse(cls, parent: str | None, state: str | None = None) -> Self | None:
        """From headers, or annotations, that anybody may have written; None when there is no valid parent."""
        match = _TRACEPARENT.fullmatch((parent or "").strip())
        if match is None:
            return None
        version, trace, span, flags, more = match.groups()
        is_valid = version != _INVALID_VERSION and trace.strip("0") and span.strip("0")
        if not is_valid or (version == "00" and more is not None):
            return None
        return cls(f"00-{trace}-{span}-{flags}", _parse_state(state))

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Self | None:
        """The one of a job."""
        return cls.parse(annotations.get(TRACEPARENT_ANNOTATION), annotations.get(TRACESTATE_ANNOTATION))

    @classmethod
    def begin(cls, random: bytes) -> Self:
        """A new one, made of 24 random bytes; nobody has decided to record it."""
        trace, span = random[:16].hex(), random[16:24].hex()
        return cls(f"00-{trace}-{span}-{_NOT_SAMPLED}")

    @property
    def trace_id(self) -> str:
        """What all that belongs to one request has in common, in hexadecimal."""
        return self.parent.split("-")[1]

    @property
    def annotations(self) -> dict[str, str]:
        """As a job carries it."""
        state = {TRACESTATE_ANNOTATION: self.state} if self.state else {}
        return {TRACEPARENT_ANNOTATION: self.parent} | state

    @property
    def headers(self) -> dict[str, str]:
        """As a request carries it."""
        return {"traceparent": self.parent} | ({"tracestate": self.state} if self.state else {})


def _parse_state(text: str | None) -> str | None:
    """A state that cannot be read is dropped as a whole, as the specification says (section 3.3)."""
    members = [member.strip(" \t") for member in (text or "").split(",")]
    members = [member for member in members if member]
    state = ",".join(members)
    is_valid = (
        0 < len(members) <= _MAX_MEMBERS
        and len(state) <= _MAX_STATE_LENGTH
        and all(_MEMBER.fullmatch(member) for member in members)
        and len({member.partition("=")[0] for member in members}) == len(members)
    )
    return state if is_valid else None
