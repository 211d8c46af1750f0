"""Which thumbnails a job wants and under which keys, and what was found or made of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from thumbnails_common.objectstore import ObjectFacts
from thumbnails_contract import keys
from thumbnails_contract.job import ThumbnailJob
from thumbnails_contract.spec import Format, Output
from thumbnails_contract.status import OutputFacts, SourceFacts
from thumbnails_contract.wire import RenderedOutput


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thumbnail that a job asks for. Outputs that differ in name alone share their key."""

    output: Output
    format: Format
    object_key: str


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail that is there, whoever made it."""

    object_key: str
    width: int
    height: int
    frames: int
    bytes: int
    content_type: str
    etag: str
    thumbhash: str | None = None
    source: SourceFacts | None = None

    @classmethod
    def from_head(cls, facts: ObjectFacts) -> Self | None:
        """What a worker wrote beside it; None when that cannot be read (so it is rendered again)."""
        said = {name: facts.metadata.get(f"{keys.META_PREFIX}{name}", "") for name in keys.META_NAMES}
        try:
            return cls(
                object_key=facts.key,
                width=int(said["width"]),
                height=int(said["height"]),
                frames=int(said["frames"]),
                bytes=facts.bytes,
                content_type=facts.content_type,
                etag=facts.etag,
                thumbhash=said["thumbhash"] or None,
                source=SourceFacts.parse(json.loads(said["source"])),
            )
        except (ValueError, KeyError, TypeError):
            return None

    @classmethod
    def from_result(cls, rendered: RenderedOutput, source: SourceFacts | None) -> Self:
        """What a worker says that it wrote."""
        return cls(
            object_key=rendered.object_key,
            width=rendered.width,
            height=rendered.height,
            frames=rendered.frames,
            bytes=rendered.bytes,
            content_type=rendered.content_type,
            etag=rendered.etag,
            thumbhash=rendered.thumbhash,
            source=source,
        )


def wanted(job: ThumbnailJob, identity: str) -> tuple[Wanted, ...]:
    """Everything a job asks for, in the order of its spec; `identity` is its source's (keys.py)."""
    namespace, account = job.key.namespace, job.spec.account
    return tuple(
        Wanted(output, format_, keys.thumbnail_key(namespace, account, identity, recipe))
        for output, format_, recipe in keys.recipes(job.spec)
    )


def missing(items: Iterable[Wanted], there: Mapping[str, Thumbnail]) -> tuple[Wanted, ...]:
    """What must be rendered: each key once, less those that are there."""
    once: dict[str, Wanted] = {}
    for item in items:
        if item.object_key not in there:
            once.setdefault(item.object_key, item)
    return tuple(once.values())


def output_facts(items: Iterable[Wanted], there: Mapping[str, Thumbnail]) -> tuple[OutputFacts, ...]:
    """`status.outputs` of a job all of whose thumbnails are there."""
    return tuple(
        OutputFacts(
            name=item.output.name,
            format=item.format.value,
            object_key=item.object_key,
            width=found.width,
            height=found.height,
            bytes=found.bytes,
            content_type=found.content_type,
            etag=found.etag,
            frames=found.frames,
            thumbhash=found.thumbhash,
        )
        for item in items
        for found in (there[item.object_key],)
    )
