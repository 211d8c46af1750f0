"""Jobs that their store has no more, in the object store: written by the operator, read by the API.

Where what lies is said in `thumbnails_contract.history`. An entry is there once its document is: all that
leads to it, or stays because of it, is written before and deleted after. A reader so never finds a job whose
thumbnails may go, and takes what leads to no document for nothing.
"""

import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from heapq import merge
from itertools import groupby
from typing import Final

from thumbnails_contract import history as keys
from thumbnails_contract.errors import InvalidJob
from thumbnails_contract.history import HistoryKeys, Position
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import (
    HISTORY,
    StoredThumbnail,
    UploadedSource,
    parse_source_key,
    parse_thumbnail_key,
)
from thumbnails_contract.status import FINISHED_PHASES, Phase

from .documents import read_document, write_document
from .objectstore import NoSuchObject, ObjectExists, ObjectStore

_log = logging.getLogger(__name__)

# Many times what a job may be: etcd takes no more than 1.5 MiB.
_MAX_BYTES: Final = 2 * 1024 * 1024
_NOTHING: Final = b""
# How many places are asked for at once, when nobody knows how many will be read.
_PLACES: Final = 100
# And references, for each thumbnail that is asked about.
_REFERENCES_EACH: Final = 2
_MAX_REFERENCES: Final = 1_000


class History:
    """The history of all accounts. Every method blocks, and may raise ObjectStoreUnavailable."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    # ---- writing -------------------------------------------------------------------------------

    def put(self, job: ThumbnailJob, *, with_original: bool) -> None:
        """Make the job history; its original stays for a while, if that is still to be kept.

        Done twice it is the same. Raises ValueError for a job that has not ended.
        """
        entry = HistoryKeys.of(job)
        original = [entry.original] if with_original and entry.original is not None else []
        batch = [entry.batch] if entry.batch is not None else []
        for key in (*entry.thumbnails, *original, *batch, entry.time):
            self._objects.put(key, io.BytesIO(_NOTHING), 0)
        document = json.dumps(job.to_document(), separators=(",", ":")).encode()
        try:
            write_document(self._objects, entry.document, document, only_if_absent=True)
        except ObjectExists:
            old = self._read(entry.document)
            if old is not None and old.uid != job.uid:
                # The name was used before; the API would have found the older one by what the newer brings.
                self._objects.delete(set(HistoryKeys.of(old).all()) - set(entry.all()))
            write_document(self._objects, entry.document, document)

    def hide(self, job: ThumbnailJob) -> None:
        """Nobody finds the job any more; `remove` is to follow."""
        self._objects.delete([HistoryKeys.of(job).document])

    def remove(self, entries: Iterable[HistoryKeys]) -> None:
        """Delete entries with all that belongs to them, last of all that by which they are found."""
        entries = list(entries)
        self._objects.delete([key for entry in entries for key in entry.all() if key != entry.time])
        self._objects.delete([entry.time for entry in entries])

    # ---- reading -------------------------------------------------------------------------------

    def get(self, namespace: str, account: str, name: str) -> ThumbnailJob | None:
        """The account's job of this name, or None. The name must be well formed (`is_job_name`)."""
        return self._read(keys.document_key(namespace, account, name))

    def positions(
        self,
        namespace: str,
        account: str,
        *,
        phases: Iterable[Phase] = FINISHED_PHASES,
        before: Position | None = None,
        batch: str | None = None,
        at_once: int = _PLACES,
    ) -> Iterator[Position]:
        """The places of an account's jobs, newest first; `at_once` is how many are read to begin with.

        There may be a place without a job, whose deletion is under way.
        """
        prefixes = [
            keys.times_prefix(namespace, account, phase, batch)
            for phase in sorted(FINISHED_PHASES.intersection(phases))
        ]
        return merge(*(self._positions(prefix, before, at_once) for prefix in prefixes), reverse=True)

    def newest(self, namespace: str, account: str) -> Position | None:
        """The first of all places; None when the account has no history."""
        return next(self.positions(namespace, account, at_once=1), None)

    def _positions(self, prefix: str, before: Position | None, at_once: int) -> Iterator[Position]:
        after = None if before is None else f"{prefix}{keys.place(before)}"
        limit: int | None = at_once
        while True:
            count = 0
            for facts in self._objects.list(prefix, after=after, limit=limit):
                count += 1
                after = facts.key
                position = keys.parse_place(facts.key.removeprefix(prefix))
                if position is not None:
                    yield position
            if limit is None or count < limit:
                return
            limit = None

    # ---- for sweeps ----------------------------------------------------------------------------

    def accounts(self) -> Iterator[tuple[str, str]]:
        """Every (namespace, account) that has history."""
        for namespace in self._objects.folders(HISTORY):
            for folder in self._objects.folders(namespace):
                _, name, account, _ = folder.split("/")
                yield name, account

    def created_before(
        self, namespace: str, account: str, moment: datetime
    ) -> Iterator[tuple[str, datetime]]:
        """The time keys of jobs that were created before this moment, and when each was written."""
        for phase in sorted(FINISHED_PHASES):
            prefix = keys.times_prefix(namespace, account, phase)
            for facts in self._objects.list(prefix, after=f"{prefix}{keys.created_before(moment)}"):
                if keys.parse_place(facts.key.removeprefix(prefix)) is not None:
                    yield facts.key, facts.last_modified

    def at(self, time_key: str) -> tuple[JobKey, ThumbnailJob | None]:
        """The name that a key of `created_before` says, and the job of that place, if it is there."""
        _, namespace, account, _, _, place = time_key.split("/", 5)
        position = keys.parse_place(place)
        if position is None:
            raise ValueError("not a key of created_before")
        job = self.get(namespace, account, position.name)
        if job is not None and HistoryKeys.of(job).time != time_key:
            job = None  # another job of that name
        return JobKey(namespace, position.name), job

    def of_job(self, history_keys: Iterable[str], uid: str) -> list[str]:
        """These keys but for the document, if that is of another job which had the name before."""
        found: list[str] = []
        for key in history_keys:
            if keys.is_document(key) and (job := self._read(key)) is not None and job.uid != uid:
                continue
            found.append(key)
        return found

    def held_thumbnails(self, object_keys: Iterable[str]) -> frozenset[str]:
        """Which of these thumbnails a job of history refers to."""
        found: set[str] = set()
        thumbnails = ((parse_thumbnail_key(key), key) for key in object_keys)
        known = sorted((_thumbnail_order(parsed), key) for parsed, key in thumbnails if parsed is not None)
        for (namespace, account), group in groupby(known, lambda item: item[0][:2]):
            asked = [
                (keys.thumbnail_reference(identity, recipe), key) for (_, _, identity, recipe), key in group
            ]
            prefix = keys.thumbnails_prefix(namespace, account)
            found.update(self._referenced(prefix, [(start, start, key) for start, key in asked]))
        return frozenset(found)

    def held_originals(self, object_keys: Iterable[str], ended_since: datetime) -> frozenset[str]:
        """Which of these originals a job of history refers to that has ended since then."""
        found: set[str] = set()
        originals = ((parse_source_key(key), key) for key in object_keys)
        known = sorted((_original_order(parsed), key) for parsed, key in originals if parsed is not None)
        for (namespace, account), group in groupby(known, lambda item: item[0][:2]):
            prefix = keys.originals_prefix(namespace, account)
            asked = [
                (keys.original_since(sha256, ended_since), f"{sha256}.", key) for (_, _, sha256), key in group
            ]
            found.update(self._referenced(prefix, asked))
        return frozenset(found)

    def outlived_originals(self, namespace: str, account: str, ended_before: datetime) -> Iterator[str]:
        """References to originals that history needs no more."""
        prefix = keys.originals_prefix(namespace, account)
        for facts in self._objects.list(prefix):
            reference = keys.OriginalReference.parse(facts.key.removeprefix(prefix))
            if reference is not None and reference.ended_seconds < int(ended_before.timestamp()):
                yield facts.key

    def _referenced(self, prefix: str, asked: Sequence[tuple[str, str, str]]) -> Iterator[str]:
        """The keys of those asked about, (after, start, key) in order, for which there is a reference.

        That is one after `after` which begins with `start`. Both are in order, so this is a merge join: what
        is asked close together is answered by one page.
        """
        page: list[str] = []
        is_last, index = False, 0
        for number, (after, start, key) in enumerate(asked):
            while index < len(page) and page[index] <= after:
                index += 1
            if index == len(page) and not is_last:
                limit = min(_MAX_REFERENCES, _REFERENCES_EACH * (len(asked) - number))
                listed = self._objects.list(prefix, after=f"{prefix}{after}", limit=limit)
                page, index = [facts.key.removeprefix(prefix) for facts in listed], 0
                is_last = len(page) < limit
            if index < len(page) and page[index].startswith(start):
                yield key

    # ---- documents -----------------------------------------------------------------------------

    def _read(self, key: str) -> ThumbnailJob | None:
        try:
            return ThumbnailJob.parse(json.loads(read_document(self._objects, key, _MAX_BYTES)))
        except NoSuchObject:
            return None
        except (InvalidJob, ValueError, TypeError):
            _log.warning("a job of history cannot be read by this version, and is left out")
            return None


def _thumbnail_order(thumbnail: StoredThumbnail) -> tuple[str, str, str, str]:
    return thumbnail.namespace, thumbnail.account, thumbnail.identity, thumbnail.recipe


def _original_order(source: UploadedSource) -> tuple[str, str, str]:
    return source.namespace, source.account, source.sha256
