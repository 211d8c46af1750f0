"""What supervisor and renderer say to each other: one JSON datagram each way, files as descriptors.

A renderer may be in the hands of a hostile picture. Hence JSON, and everything that a reply says is
checked by type while it is parsed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from thumbnails_contract.spec import Format, Output
from thumbnails_contract.status import ErrorFacts, SourceFacts
from thumbnails_contract.wire import Limits

# A datagram of a Unix socket must fit into its send buffer (net.core.wmem_default, 208 KiB).
MAX_MESSAGE_BYTES: Final = 128 * 1024
MAX_FILES: Final = 253  # SCM_MAX_FD of Linux

_CONTENT_TYPES: Final = frozenset(
    f"image/{format_.value}" for format_ in Format if format_ is not Format.AUTO
)
# Base64 of some 25 bytes; it goes into metadata, and into a field that takes 64 characters.
_THUMBHASH: Final = re.compile(r"[A-Za-z0-9+/]{0,60}={0,2}")


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What to make of the picture whose descriptor comes along."""

    outputs: tuple[tuple[Output, Format], ...]
    limits: Limits
    memory_bytes: int  # of the renderer, all in all

    def to_bytes(self) -> bytes:
        """The datagram."""
        return json.dumps(
            {
                "outputs": [[output.to_manifest(), format_.value] for output, format_ in self.outputs],
                "limits": self.limits.to_wire(),
                "memoryBytes": self.memory_bytes,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From the datagram."""
        fields = json.loads(data)
        return cls(
            tuple((Output.parse(output), Format(format_)) for output, format_ in fields["outputs"]),
            Limits.parse(fields["limits"]),
            fields["memoryBytes"],
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """One thumbnail, whose descriptor comes along in the same place."""

    width: int
    height: int
    frames: int
    content_type: str
    thumbhash: str


@dataclass(frozen=True, slots=True)
class RenderReply:
    """How rendering ended: `pictures`, or an `error`. `detail` is for the log only.

    `waited_seconds`: from the renderer's reply before to this request.
    """

    source: SourceFacts | None = None
    pictures: tuple[Picture, ...] = ()
    error: ErrorFacts | None = None
    retry: bool = False
    seconds: float = 0.0
    waited_seconds: float = 0.0
    detail: str = ""

    def to_bytes(self) -> bytes:
        """The datagram."""
        data: dict[str, Any] = {
            "retry": self.retry,
            "seconds": self.seconds,
            "waitedSeconds": self.waited_seconds,
            "detail": self.detail,
        }
        if self.source is not None:
            data["source"] = self.source.to_manifest()
        if self.error is not None:
            data["error"] = [self.error.reason, self.error.message]
        data["pictures"] = [[p.width, p.height, p.frames, p.content_type, p.thumbhash] for p in self.pictures]
        return json.dumps(data).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From the datagram. Raises ValueError for anything else, whatever it is."""
        try:
            fields = json.loads(data)
            source, error = fields.get("source"), fields.get("error")
            return cls(
                source=_source(source) if source is not None else None,
                pictures=tuple(
                    Picture(
                        _count(width), _count(height), _count(frames), _content_type(type_), _thumbhash(hash_)
                    )
                    for width, height, frames, type_, hash_ in fields["pictures"]
                ),
                error=ErrorFacts(_text(error[0]), _text(error[1])) if error is not None else None,
                retry=bool(fields["retry"]),
                seconds=_seconds(fields["seconds"]),
                waited_seconds=_seconds(fields["waitedSeconds"]),
                detail=_text(fields["detail"]),
            )
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError("not a reply") from error


def _source(data: Mapping[str, Any]) -> SourceFacts:
    return SourceFacts(
        _text(data["format"]),
        _count(data["width"]),
        _count(data["height"]),
        _count(data["frames"]),
        _count(data["bytes"]),
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise ValueError("not an ASCII text")
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError("not a duration")
    return float(value)


def _content_type(value: object) -> str:
    if value not in _CONTENT_TYPES:
        raise ValueError("not one of our content types")
    return str(value)


def _thumbhash(value: object) -> str:
    if not _THUMBHASH.fullmatch(_text(value)):
        raise ValueError("not a thumbhash")
    return str(value)
