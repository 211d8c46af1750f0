"""The messages of the exchange between operator and worker: `POST /work`, JSON both ways.

A worker has one *poll* under way at a time: it says how much more it can take (`capacity`) and
which leases it `holds`, and waits for an answer. Polls are strictly one after the other, so that a
lease which the operator handed out and the next poll does not hold is known to be lost. A lease is
held until its result was acknowledged. Results travel with a poll or, while one is waiting, in a
*delivery*: a request without `poll`, answered at once. Any 200 acknowledges the results it brought,
and any answer may name leases to `drop`.

A poll without capacity waits like any other, for a drop or a stop. A delivery has it answered, too:
what was delivered has made room. One that brings results itself is answered at once.

While a request waits, the operator sends a space before its answer again and again: JSON allows that. A
worker that hears nothing at all for a while hangs up and asks anew, since another operator may lead: its
connection would stay with the one that is frozen, or on a node that is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

from .spec import Format, Output
from .status import ErrorFacts, SourceFacts

PROTOCOL_VERSION: Final = 1
WORK_PATH: Final = "/work"
HEARTBEAT_SECONDS: Final = 2.0  # between two spaces of the operator
SILENCE_SECONDS: Final = 6.0  # after which a worker hangs up


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may be and what rendering it may take: all checked before, or as early as possible."""

    source_bytes: int = 134_217_728
    pixels: int = 128_000_000  # of a still picture, and of the canvas
    frames: int = 1_000
    frame_pixels: int = 10_000_000  # of the canvas, when there is more than one frame
    total_pixels: int = 1_000_000_000  # frames x canvas of an animation
    scans: int = 100  # of a progressive JPEG
    parts: int = 100_000  # chunks, strips, tiles, short blocks: what a file is made of
    output_side: int = 4_096
    output_pixels: int = 250_000_000  # of one thumbnail, all its frames together
    output_bytes: int = 67_108_864  # of one thumbnail's file
    cpu_seconds: int = 60  # of one item in the renderer
    wall_seconds: int = 180  # of one item in the renderer
    render_truncated: bool = False  # what is there of a damaged file, instead of CorruptSource

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the wire's form. A limit that only a newer operator knows is none for an older worker."""
        return cls(**{name: value for key, value in data.items() if (name := _snake(key)) in cls.__slots__})

    def to_wire(self) -> dict[str, Any]:
        """The wire's form."""
        return {_camel(name): getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Upload:
    """A presigned POST policy: where and with which form fields one thumbnail is written.

    The policy also wants the fields `Content-Type` and `x-amz-meta-thumbnails-*` for each of
    `keys.META_NAMES` (whatever their value, empty included), and `file` last.
    """

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ItemOutput:
    """One thumbnail to make: `output.formats` is to be ignored, `format` is what is wanted."""

    output: Output
    format: Format
    object_key: str
    upload: Upload


@dataclass(frozen=True, slots=True)
class Item:
    """One job's work: get one original, make all its thumbnails."""

    lease: str
    namespace: str
    job_name: str
    account: str
    source_url: str
    outputs: tuple[ItemOutput, ...]
    limits: Limits
    traceparent: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the wire's form."""
        return cls(
            lease=data["lease"],
            namespace=data["namespace"],
            job_name=data["jobName"],
            account=data["account"],
            source_url=data["sourceUrl"],
            outputs=tuple(
                ItemOutput(
                    Output.parse(item["output"]),
                    Format(item["format"]),
                    item["objectKey"],
                    Upload(item["upload"]["url"], item["upload"]["fields"]),
                )
                for item in data["outputs"]
            ),
            limits=Limits.parse(data["limits"]),
            traceparent=data.get("traceparent"),
        )

    def to_wire(self) -> dict[str, Any]:
        """The wire's form."""
        data: dict[str, Any] = {
            "lease": self.lease,
            "namespace": self.namespace,
            "jobName": self.job_name,
            "account": self.account,
            "sourceUrl": self.source_url,
            "outputs": [
                {
                    "output": item.output.to_manifest(),
                    "format": item.format.value,
                    "objectKey": item.object_key,
                    "upload": {"url": item.upload.url, "fields": dict(item.upload.fields)},
                }
                for item in self.outputs
            ],
            "limits": self.limits.to_wire(),
        }
        if self.traceparent is not None:
            data["traceparent"] = self.traceparent
        return data


@dataclass(frozen=True, slots=True)
class RenderedOutput:
    """One thumbnail that was written; in the order of the item's outputs."""

    object_key: str
    width: int
    height: int
    frames: int
    bytes: int
    content_type: str
    etag: str
    thumbhash: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How one item ended in a worker.

    Exactly one of: `outputs` (succeeded), `error` (failed; `retry` says whether another try may
    help), or neither with `returned` (not begun, or dropped: hand it to another; no attempt).
    """

    lease: str
    source: SourceFacts | None = None
    outputs: tuple[RenderedOutput, ...] = ()
    error: ErrorFacts | None = None
    retry: bool = False
    returned: bool = False
    render_seconds: float = 0.0

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the wire's form."""
        source, error = data.get("source"), data.get("error")
        return cls(
            lease=data["lease"],
            source=SourceFacts.parse(source) if source else None,
            outputs=tuple(
                RenderedOutput(**{_snake(key): value for key, value in item.items()})
                for item in data.get("outputs", ())
            ),
            error=ErrorFacts(error["reason"], error["message"]) if error else None,
            retry=data.get("retry", False),
            returned=data.get("returned", False),
            render_seconds=data.get("renderSeconds", 0.0),
        )

    def to_wire(self) -> dict[str, Any]:
        """The wire's form."""
        data: dict[str, Any] = {"lease": self.lease, "renderSeconds": self.render_seconds}
        if self.source is not None:
            data["source"] = self.source.to_manifest()
        if self.outputs:
            data["outputs"] = [
                {_camel(name): getattr(item, name) for name in item.__slots__} for item in self.outputs
            ]
        if self.error is not None:
            data["error"] = {"reason": self.error.reason, "message": self.error.message}
            data["retry"] = self.retry
        if self.returned:
            data["returned"] = True
        return data


@dataclass(frozen=True, slots=True)
class Poll:
    """What a worker could take, what it has, and how long (seconds) it is ready to wait."""

    capacity: int
    holding: tuple[str, ...]
    wait_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class WorkRequest:
    """What a worker says. Who it is, its token says (`Authorization: Bearer`)."""

    renderer_version: int
    results: tuple[Result, ...] = ()
    poll: Poll | None = None
    draining: bool = False  # takes no more: a signal came, or its deadline is near
    protocol: int = PROTOCOL_VERSION

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the wire's form. Raises KeyError, TypeError or ValueError for anything else."""
        poll = data.get("poll")
        return cls(
            renderer_version=int(data["rendererVersion"]),
            results=tuple(Result.parse(item) for item in data.get("results", ())),
            poll=Poll(int(poll["capacity"]), tuple(poll["holding"]), float(poll.get("waitSeconds", 20)))
            if poll
            else None,
            draining=bool(data.get("draining", False)),
            protocol=int(data["protocol"]),
        )

    def to_wire(self) -> dict[str, Any]:
        """The wire's form."""
        data: dict[str, Any] = {
            "protocol": self.protocol,
            "rendererVersion": self.renderer_version,
            "results": [result.to_wire() for result in self.results],
            "draining": self.draining,
        }
        if self.poll is not None:
            data["poll"] = {
                "capacity": self.poll.capacity,
                "holding": list(self.poll.holding),
                "waitSeconds": self.poll.wait_seconds,
            }
        return data


@dataclass(frozen=True, slots=True)
class WorkAnswer:
    """What the operator answers.

    `generation` grows with every change of leader: a worker ignores an answer of a lower one.
    `drop` names leases whose results nobody wants any more. `stop`: end when what is held is done.
    """

    generation: int
    items: tuple[Item, ...] = ()
    drop: tuple[str, ...] = ()
    stop: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From the wire's form."""
        return cls(
            generation=data["generation"],
            items=tuple(Item.parse(item) for item in data.get("items", ())),
            drop=tuple(data.get("drop", ())),
            stop=data.get("stop", False),
        )

    def to_wire(self) -> dict[str, Any]:
        """The wire's form."""
        return {
            "generation": self.generation,
            "items": [item.to_wire() for item in self.items],
            "drop": list(self.drop),
            "stop": self.stop,
        }


@cache  # few names, asked for at every message
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


@cache
def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
