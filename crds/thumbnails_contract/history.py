"""Keys of history: where the jobs lie that their store has no more, so that they are found and listed.

All of an account's history lies under one prefix:

history/{namespace}/{account}/jobs/{job name}                            the document, which makes the entry
history/{namespace}/{account}/times/{phase}/{place}                      the order of `GET /jobs`
history/{namespace}/{account}/batches/{batch}/{phase}/{place}            the same within a batch
history/{namespace}/{account}/thumbnails/{identity}.{recipe hash}.{uid}  a thumbnail that stays for this job
history/{namespace}/{account}/originals/{sha256}.{ended}.{uid}           an original that is still to be kept

All but the documents are empty: what they say is in their keys. Each kind is one flat folder, in the order
in which what it is compared with is listed, so that no reader has to hold one in memory.

A `place` is the time of the job's creation and then its name, both inverted: S3 lists in ascending order.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Self

from .job import ThumbnailJob
from .keys import HISTORY, history_prefix, parse_source_key, parse_thumbnail_key
from .status import FINISHED_PHASES, Phase

_LATEST_SECONDS: Final = 99_999_999_999
_SECONDS_DIGITS: Final = 11
# The characters of names (RFC 1123), and what stands for each: in the opposite order. The end of a name sorts
# after all of them, since a name comes after those that it begins.
_NAME_CHARACTERS: Final = "-.0123456789abcdefghijklmnopqrstuvwxyz"
_INVERTED_CHARACTERS: Final = "-0123456789_abcdefghijklmnopqrstuvwxyz"[::-1]
_INVERT: Final = str.maketrans(_NAME_CHARACTERS, _INVERTED_CHARACTERS)
_REVERT: Final = str.maketrans(_INVERTED_CHARACTERS, _NAME_CHARACTERS)
_END: Final = "~"
# Servers that keep objects in a file system allow 255 bytes between two slashes; names may have 253.
_SEGMENT_LENGTH: Final = 250

_DOCUMENT = re.compile(r"history/[^/]+/[^/]+/jobs/[^/]+")
_PLACE = re.compile(rf"([0-9]{{{_SECONDS_DIGITS}}})([-0-9_a-z]+){_END}")
_ORIGINAL = re.compile(rf"([0-9a-f]{{64}})\.([0-9]{{{_SECONDS_DIGITS}}})\.[^/]+")


class Position(NamedTuple):
    """A job's place: by creation (whole seconds since 1970, UTC), then name; greater is newer.

    Names that the API made are UUIDv7, which order jobs of one second too.
    """

    created_seconds: int
    name: str


def position_of(job: ThumbnailJob) -> Position:
    """The place of this job."""
    return Position(int(job.created.timestamp()), job.key.name)


def place(position: Position) -> str:
    """The position as a part of a key: the greater the position, the earlier it is listed."""
    text = f"{_seconds(_LATEST_SECONDS - position.created_seconds)}{position.name.translate(_INVERT)}{_END}"
    return "/".join(filter(None, (text[:_SEGMENT_LENGTH], text[_SEGMENT_LENGTH:])))


def parse_place(text: str) -> Position | None:
    """The position that `place` wrote; None for what it did not write."""
    match = _PLACE.fullmatch(text.replace("/", ""))
    if match is None:
        return None
    return Position(_LATEST_SECONDS - int(match[1]), match[2].translate(_REVERT))


def document_key(namespace: str, account: str, name: str) -> str:
    """Where the document of this job lies, if it is history."""
    return f"{history_prefix(namespace, account)}jobs/{name}"


def is_document(key: str) -> bool:
    """Whether a key is one that `document_key` made."""
    return _DOCUMENT.fullmatch(key) is not None


def times_prefix(namespace: str, account: str, phase: Phase, batch: str | None = None) -> str:
    """Where the places of jobs that ended like this lie; with a batch, only of the jobs in it."""
    folder = "times" if batch is None else f"batches/{batch}"
    return f"{history_prefix(namespace, account)}{folder}/{phase.value}/"


def created_before(moment: datetime) -> str:
    """What follows here in a folder of places are those of jobs created before this moment."""
    return f"{_seconds(_LATEST_SECONDS - int(moment.timestamp()))}{_END}"


def thumbnails_prefix(namespace: str, account: str) -> str:
    """Where it says which thumbnails history refers to."""
    return f"{history_prefix(namespace, account)}thumbnails/"


def originals_prefix(namespace: str, account: str) -> str:
    """Where it says which originals history refers to."""
    return f"{history_prefix(namespace, account)}originals/"


def thumbnail_reference(identity: str, recipe: str) -> str:
    """How the references to this thumbnail begin, after `thumbnails_prefix`; in the order of their keys."""
    return f"{identity}.{recipe}."


def original_since(sha256: str, moment: datetime) -> str:
    """What follows here, and begins with the same hash, are references of jobs that ended since then."""
    return f"{sha256}.{_seconds(int(moment.timestamp()))}"


@dataclass(frozen=True, slots=True)
class OriginalReference:
    """That an original was kept for a job which ended then."""

    sha256: str
    ended_seconds: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From what follows `originals_prefix`; None for anything else."""
        match = _ORIGINAL.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class HistoryKeys:
    """The keys of one job's entry. `time` is the one by which a sweep finds it."""

    document: str
    time: str
    batch: str | None
    thumbnails: tuple[str, ...]
    original: str | None

    @classmethod
    def of(cls, job: ThumbnailJob) -> Self:
        """For a job that has ended; always the same for the same job. Raises ValueError for others."""
        namespace, account = job.key.namespace, job.spec.account
        phase, batch, ended = job.status.phase, job.spec.batch, job.status.completion_time
        if phase not in FINISHED_PHASES:
            raise ValueError("a job that has not ended is not history")
        where = place(position_of(job))
        uploaded = parse_source_key(job.spec.object_key)
        original = None
        if ended and uploaded and (uploaded.namespace, uploaded.account) == (namespace, account):
            seconds = _seconds(int(ended.timestamp()))
            original = f"{originals_prefix(namespace, account)}{uploaded.sha256}.{seconds}.{job.uid}"
        return cls(
            document=document_key(namespace, account, job.key.name),
            time=f"{times_prefix(namespace, account, phase)}{where}",
            batch=f"{times_prefix(namespace, account, phase, batch.id)}{where}" if batch else None,
            thumbnails=tuple(_thumbnail_references(job)),
            original=original,
        )

    def all(self) -> tuple[str, ...]:
        """Every one, for whoever removes the entry at once."""
        optional = (self.batch, self.original)
        return (self.document, *self.thumbnails, *(key for key in optional if key is not None), self.time)


def is_history(key: str, namespace: str) -> bool:
    """Whether a key lies in the history of this namespace."""
    return key.startswith(f"{HISTORY}{namespace}/")


def _thumbnail_references(job: ThumbnailJob) -> Iterator[str]:
    namespace, account = job.key.namespace, job.spec.account
    for key in dict.fromkeys(output.object_key for output in job.status.outputs):
        thumbnail = parse_thumbnail_key(key)
        if thumbnail and (thumbnail.namespace, thumbnail.account) == (namespace, account):
            reference = thumbnail_reference(thumbnail.identity, thumbnail.recipe)
            yield f"{thumbnails_prefix(namespace, account)}{reference}{job.uid}"


def _seconds(seconds: int) -> str:
    return f"{seconds:0{_SECONDS_DIGITS}d}"
