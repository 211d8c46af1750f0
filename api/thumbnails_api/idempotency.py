"""`Idempotency-Key` on uploads: the same request sent again is answered as it was the first time.

draft-ietf-httpapi-idempotency-key-header. A key's record is one object in the object store, so that it
outlives restarts and is the same for all replicas. It is written twice. First as a *claim*, with
`If-None-Match: *`: of several requests with one key, one goes on, and the others hear 409. The claim names
the jobs that are about to be made. Then as the *answer*, which is what later requests get.

When a request dies in between, its claim ends after a while (at once, when it merely failed), and the next
one with this key takes over: under the same names, so that what had been stored is found and nothing is
stored twice. That holds even if two take over at once, or the first one is not dead after all.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from thumbnails_common.documents import read_document, write_document
from thumbnails_common.objectstore import NoSuchObject, ObjectExists, ObjectStore
from thumbnails_contract.errors import (
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    ObjectStoreUnavailable,
)
from thumbnails_contract.keys import idempotency_key
from thumbnails_contract.timestamps import format_time, parse_time

from .accounts import Caller
from .answers import Answer
from .pictures import Picture, Rejected
from .uploads import Item

log = logging.getLogger(__name__)

REPLAYED: Final = "Idempotency-Replayed"
RETRY_SECONDS: Final = 1

_VERSION: Final = 1
_MAX_BYTES: Final = 64 << 20
# A Structured Field String (RFC 8941 section 3.3.3), or the bare text that many clients send.
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_BARE: Final = re.compile(r"[!#-+\--:<-~]{1,255}")


def parse_key(header: str | None) -> str | None:
    """The key in an `Idempotency-Key` header; None when there is none. Raises InvalidIdempotencyKey.

    Parameters mean nothing and are refused: a proxy that joins two headers makes a list, which is no key.
    """
    if header is None:
        return None
    text = header.strip()
    if quoted := _QUOTED.fullmatch(text):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if _BARE.fullmatch(text):
        return text
    raise InvalidIdempotencyKey


def fingerprint(images: Iterable[Item], fields: Mapping[str, str]) -> str:
    """What tells one payload from another: pictures, names and options; not how the form was written.

    What is in a ZIP is known by the ZIP: it is not unpacked for this.
    """
    pictures = [[image.file_name, _identity(image)] for image in images]
    text = json.dumps([pictures, sorted(fields.items())])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _identity(image: Item) -> str:
    match image:
        case Picture():
            return image.sha256
        case Rejected():
            return image.error.reason
        case _:
            return image.origin


@dataclass(frozen=True, slots=True)
class Plan:
    """The names under which a request stores what it brings: one a picture, and the batch's."""

    jobs: tuple[str, ...]
    batch: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a key. `held_until` is for claims: until then nobody else takes over."""

    fingerprint: str
    plan: Plan
    written: datetime
    held_until: datetime
    claimant: str
    answer: Answer | None = None

    def to_bytes(self) -> bytes:
        """The object."""
        document: dict[str, Any] = {
            "version": _VERSION,
            "fingerprint": self.fingerprint,
            "jobs": list(self.plan.jobs),
            "batch": self.plan.batch,
            "written": format_time(self.written),
            "heldUntil": format_time(self.held_until),
            "claimant": self.claimant,
        }
        if self.answer is not None:
            document["answer"] = asdict(self.answer) | {"body": self.answer.body.decode()}
        return json.dumps(document).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Record":
        """From the object. Raises ValueError."""
        try:
            document: Mapping[str, Any] = json.loads(data)
            answer = document.get("answer")
            if document["version"] != _VERSION:
                raise ValueError("of another version")
            return cls(
                fingerprint=document["fingerprint"],
                plan=Plan(tuple(document["jobs"]), document["batch"]),
                written=parse_time(document["written"]),
                held_until=parse_time(document["heldUntil"]),
                claimant=document["claimant"],
                answer=Answer(**{**answer, "body": answer["body"].encode()}) if answer else None,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no record") from error


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`run` is all there is to it. `hold` is how long a try is left alone."""

    objects: ObjectStore
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    hold: timedelta
    retention: timedelta

    def run(
        self, caller: Caller, key: str, fingerprint: str, pictures: int, take_in: Callable[[Plan], Answer]
    ) -> Answer:
        """What `take_in` answers, or what it answered before.

        Raises IdempotencyKeyInUse, IdempotencyKeyReused, Unavailable, and what `take_in` raises. After
        that, and after an answer that is not final, nothing is kept but the plan.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()
        object_key = idempotency_key(caller.namespace, caller.account, digest)
        claim = self._claim(object_key, fingerprint, pictures)
        if claim.answer is not None:
            headers = {**claim.answer.headers, REPLAYED: "true"}
            return replace(claim.answer, headers=headers)
        try:
            answer = take_in(claim.plan)
        except Exception:
            self._write_if_possible(object_key, replace(claim, held_until=self.clock()))
            raise
        if answer.final:
            self._write_if_possible(object_key, replace(claim, written=self.clock(), answer=answer))
        else:
            self._write_if_possible(object_key, replace(claim, held_until=self.clock()))
        return answer

    def _claim(self, object_key: str, fingerprint: str, pictures: int) -> Record:
        """Our claim, or the record of a request that was answered."""
        now = self.clock()
        plan = Plan(tuple(self.new_id() for _ in range(pictures)), self.new_id())
        ours = Record(fingerprint, plan, now, now + self.hold, self.new_id())
        try:
            self._write(object_key, ours, only_if_absent=True)
        except ObjectExists:
            pass
        else:
            return ours
        there = self._read(object_key)
        # Our own: the answer to the first try of the write was lost.
        if there is None or there.claimant == ours.claimant or now - there.written > self.retention:
            if there is None or there.claimant != ours.claimant:
                self._write(object_key, ours)
            return ours
        if there.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        if there.answer is not None:
            return there
        if now < there.held_until:
            raise IdempotencyKeyInUse(retry_after_seconds=RETRY_SECONDS)
        taken_over = replace(ours, plan=there.plan)
        self._write(object_key, taken_over)
        return taken_over

    def _read(self, object_key: str) -> Record | None:
        """The record; None when it was removed meanwhile, or is none that we can read."""
        try:
            return Record.parse(read_document(self.objects, object_key, _MAX_BYTES))
        except NoSuchObject:
            return None
        except ValueError:
            log.warning("the record of an Idempotency-Key cannot be read; it is written anew")
            return None

    def _write(self, object_key: str, record: Record, *, only_if_absent: bool = False) -> None:
        write_document(self.objects, object_key, record.to_bytes(), only_if_absent=only_if_absent)

    def _write_if_possible(self, object_key: str, record: Record) -> None:
        """After the work: a store that is away now costs a retry its wait, and nobody a job."""
        try:
            self._write(object_key, record)
        except ObjectStoreUnavailable:
            log.warning("the outcome of a request with an Idempotency-Key could not be kept")
