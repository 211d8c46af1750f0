"""History on each S3 server: what was put is found, in order, by pages; what it refers to is known."""

import io
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from thumbnails_common.history import History
from thumbnails_common.s3 import S3ObjectStore
from thumbnails_contract.history import HistoryKeys, Position, position_of
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import history_prefix, source_key, thumbnail_key
from thumbnails_contract.names import MAX_NAME_LENGTH
from thumbnails_contract.spec import Batch, Spec
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Phase, Status

CREATED = datetime(2026, 11, 24, 6, 0, 0, tzinfo=UTC)
ENDED = CREATED + timedelta(minutes=1)
RECIPE = "c" * 32
PHASES = {
    Phase.SUCCEEDED: (ConditionType.COMPLETE, "Rendered"),
    Phase.FAILED: (ConditionType.FAILED, "CorruptSource"),
    Phase.CANCELLED: (ConditionType.FAILED, "Cancelled"),
}


class Shelf:
    """A namespace of the test's own, in the history that is tried."""

    def __init__(self, objects: S3ObjectStore) -> None:
        self.objects = objects
        self.history = History(objects)
        self.namespace = f"ns-{secrets.token_hex(6)}"

    def job(
        self,
        name: str,
        *,
        seconds: int = 0,
        phase: Phase = Phase.SUCCEEDED,
        account: str = "acme",
        sha: str = "a" * 64,
        batch: Batch | None = None,
        uid: str = "",
    ) -> ThumbnailJob:
        type_, reason = PHASES[phase]
        outputs: tuple[OutputFacts, ...] = ()
        if phase is Phase.SUCCEEDED:
            key = thumbnail_key(self.namespace, account, sha, RECIPE)
            outputs = (OutputFacts("default", "auto", key, 100, 67, 1234, "image/jpeg", "etag"),)
        return ThumbnailJob(
            JobKey(self.namespace, name),
            uid or str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            "17",
            1,
            CREATED + timedelta(seconds=seconds),
            Spec(source_key(self.namespace, account, sha, name), account=account, batch=batch),
            Status(
                conditions=(Condition(type_, True, reason, "", ENDED),),
                outputs=outputs,
                completion_time=ENDED,
            ),
            annotations={"thumbnails.dev/file-name": "Grüße.jpg"},
        )

    def put(self, *jobs: ThumbnailJob, with_original: bool = False) -> None:
        for job in jobs:
            self.history.put(job, with_original=with_original)

    def names(self, account: str = "acme", **query: Any) -> list[str]:
        return [place.name for place in self.history.positions(self.namespace, account, **query)]

    def keys(self, account: str = "acme") -> list[str]:
        return [facts.key for facts in self.objects.list(history_prefix(self.namespace, account))]


@pytest.fixture
def shelf(object_store: S3ObjectStore) -> Iterator[Shelf]:
    shelf = Shelf(object_store)
    yield shelf
    left = [facts.key for facts in object_store.list(f"history/{shelf.namespace}/")]
    object_store.delete(left)


def test_a_job_is_read_as_it_was(shelf: Shelf) -> None:
    job = shelf.job("one", batch=Batch("b", 1, 2))
    shelf.put(job)
    assert shelf.history.get(shelf.namespace, "acme", "one") == job


def test_nobody_else_has_it(shelf: Shelf) -> None:
    shelf.put(shelf.job("one"))
    assert shelf.history.get(shelf.namespace, "rival", "one") is None
    assert shelf.history.get("elsewhere", "acme", "one") is None
    assert shelf.history.get(shelf.namespace, "acme", "two") is None
    assert shelf.names("rival") == []
    assert shelf.history.newest(shelf.namespace, "rival") is None


def test_the_newest_comes_first_then_the_greatest_name(shelf: Shelf) -> None:
    longest = "z" * MAX_NAME_LENGTH
    for name, seconds in (("b", 1), ("a", 2), ("a.b", 1), ("c", 0), (longest, 1), ("a-b", 1), ("a", 2)):
        shelf.put(shelf.job(name, seconds=seconds))
    assert shelf.names() == ["a", longest, "b", "a.b", "a-b", "c"]
    assert shelf.history.newest(shelf.namespace, "acme") == position_of(shelf.job("a", seconds=2))
    assert shelf.history.get(shelf.namespace, "acme", longest) is not None


def test_jobs_of_all_ends_are_one_order_and_can_be_asked_for_alone(shelf: Shelf) -> None:
    phases = [Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.SUCCEEDED]
    for number, phase in enumerate(phases):
        shelf.put(shelf.job(f"job-{number}", seconds=number, phase=phase))
    assert shelf.names() == ["job-3", "job-2", "job-1", "job-0"]
    assert shelf.names(phases={Phase.SUCCEEDED}) == ["job-3", "job-0"]
    assert shelf.names(phases={Phase.FAILED, Phase.CANCELLED, Phase.RUNNING}) == ["job-2", "job-1"]
    assert shelf.names(phases={Phase.PENDING}) == []


def test_a_batch_is_listed_alone(shelf: Shelf) -> None:
    for number in range(3):
        shelf.put(shelf.job(f"job-{number}", seconds=number, batch=Batch(f"b-{number % 2}", 0, 2)))
    assert shelf.names(batch="b-0") == ["job-2", "job-0"]
    assert shelf.names(batch="b-0", before=position_of(shelf.job("job-2", seconds=2))) == ["job-0"]
    assert shelf.names(batch="b-1", phases={Phase.FAILED}) == []
    assert shelf.names(batch="none") == []


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_listing_goes_on_from_any_place(shelf: Shelf, at_once: int) -> None:
    jobs = [shelf.job(f"job-{number:02}", seconds=number // 3) for number in range(12)]
    shelf.put(*jobs)
    names = [job.key.name for job in jobs][::-1]
    for start in range(12):
        before = position_of(jobs[start])
        assert shelf.names(before=before, at_once=at_once) == names[12 - start :]
    assert shelf.names(before=Position(0, "a")) == []
    places = shelf.history.positions(shelf.namespace, "acme", at_once=at_once)
    assert [place.name for place in islice(places, 5)] == names[:5]


def test_put_again_it_is_the_same(shelf: Shelf) -> None:
    shelf.put(shelf.job("one"), with_original=True)
    keys = shelf.keys()
    shelf.put(shelf.job("one"), with_original=True)
    assert shelf.keys() == keys
    assert len(keys) == 4


def test_of_two_jobs_with_one_name_the_later_one_is_left(shelf: Shelf) -> None:
    shelf.put(shelf.job("one", uid="uid-old", sha="b" * 64))
    new = shelf.job("one", uid="uid-new", seconds=9)
    shelf.put(new)
    assert shelf.history.get(shelf.namespace, "acme", "one") == new
    assert shelf.names() == ["one"]
    assert shelf.history.held_thumbnails([thumbnail_key(shelf.namespace, "acme", "b" * 64, RECIPE)]) == set()


def test_removed_it_leaves_nothing(shelf: Shelf) -> None:
    job = shelf.job("one", batch=Batch("b", 0, 1))
    shelf.put(job, shelf.job("two"), with_original=True)
    shelf.history.remove([HistoryKeys.of(job)])
    assert shelf.names() == ["two"]
    shelf.history.remove([HistoryKeys.of(shelf.job("two"))])
    assert shelf.keys() == []


def test_hidden_it_is_not_found_but_still_held(shelf: Shelf) -> None:
    job = shelf.job("one")
    shelf.put(job)
    shelf.history.hide(job)
    assert shelf.history.get(shelf.namespace, "acme", "one") is None
    assert shelf.history.held_thumbnails([job.status.outputs[0].object_key])


def test_what_another_version_wrote_is_left_out(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    job = shelf.job("one")
    shelf.put(job)
    for content in (b"{}", b"no JSON", b"[]"):
        shelf.objects.put(HistoryKeys.of(job).document, io.BytesIO(content), len(content))
        assert shelf.history.get(shelf.namespace, "acme", "one") is None
    assert "cannot be read" in caplog.text


# ---- for sweeps ----------------------------------------------------------------------------


def test_accounts(shelf: Shelf) -> None:
    for account in ("acme", "acme-2", "b"):
        shelf.put(shelf.job("one", account=account))
    found = [pair for pair in shelf.history.accounts() if pair[0] == shelf.namespace]
    assert sorted(found) == [(shelf.namespace, name) for name in ("acme", "acme-2", "b")]


def test_which_thumbnails_are_held(shelf: Shelf) -> None:
    digests = [f"{number:064x}" for number in range(60)]
    for number in range(0, 60, 3):
        shelf.put(shelf.job(f"job-{number}", sha=digests[number]))
        shelf.put(shelf.job(f"same-{number}", sha=digests[number]))
    shelf.put(shelf.job("other", account="acme-2", sha=digests[1]))
    asked = [
        thumbnail_key(shelf.namespace, account, sha, RECIPE)
        for account in ("acme-2", "acme", "zero")
        for sha in reversed(digests)
    ]
    expected = {thumbnail_key(shelf.namespace, "acme", digests[number], RECIPE) for number in range(0, 60, 3)}
    expected.add(thumbnail_key(shelf.namespace, "acme-2", digests[1], RECIPE))
    assert shelf.history.held_thumbnails(asked) == expected
    assert {key for key in asked if shelf.history.held_thumbnails([key])} == expected
    assert shelf.history.held_thumbnails([]) == set()
    assert shelf.history.held_thumbnails(["thumbnails/else", f"{asked[0]}0"]) == set()


def test_which_originals_are_held_and_for_how_long(shelf: Shelf) -> None:
    job = shelf.job("one")
    later = replace(shelf.job("two"), status=replace(job.status, completion_time=ENDED + timedelta(hours=1)))
    key = job.spec.object_key
    shelf.put(job, later, shelf.job("three", sha="b" * 64), with_original=True)
    assert shelf.history.held_originals([key, "sources/else"], ENDED) == {key}
    assert shelf.history.held_originals([key], ENDED + timedelta(hours=1)) == {key}
    assert shelf.history.held_originals([key], ENDED + timedelta(hours=1, seconds=1)) == set()
    outlived = list(shelf.history.outlived_originals(shelf.namespace, "acme", ENDED + timedelta(seconds=1)))
    assert set(outlived) == {
        HistoryKeys.of(job).original,
        HistoryKeys.of(shelf.job("three", sha="b" * 64)).original,
    }
    assert list(shelf.history.outlived_originals(shelf.namespace, "acme", ENDED)) == []


def test_an_original_that_need_not_be_kept_is_not_held(shelf: Shelf) -> None:
    job = shelf.job("one")
    shelf.put(job)
    assert shelf.history.held_originals([job.spec.object_key], ENDED - timedelta(days=1)) == set()


def test_what_was_created_before_a_moment(shelf: Shelf) -> None:
    jobs = [shelf.job("old", seconds=5), shelf.job("failed", seconds=9, phase=Phase.FAILED)]
    shelf.put(*jobs, shelf.job("new", seconds=10))
    found = list(shelf.history.created_before(shelf.namespace, "acme", CREATED + timedelta(seconds=10)))
    assert {key for key, _ in found} == {HistoryKeys.of(job).time for job in jobs}
    assert all(abs(datetime.now(UTC) - written) < timedelta(hours=1) for _, written in found)
    at = [shelf.history.at(key) for key, _ in found]
    assert sorted(at, key=str) == sorted(((job.key, job) for job in jobs), key=str)


def test_a_place_whose_job_is_hidden_or_another(shelf: Shelf) -> None:
    old = shelf.job("one")
    shelf.put(old)
    shelf.history.hide(old)
    assert shelf.history.at(HistoryKeys.of(old).time) == (old.key, None)
    shelf.put(shelf.job("one", uid="another", seconds=3))
    assert shelf.history.at(HistoryKeys.of(old).time) == (old.key, None)


def test_a_document_of_another_job_is_not_taken_for_ones_own(shelf: Shelf) -> None:
    job = shelf.job("one")
    shelf.put(job)
    keys = HistoryKeys.of(job).all()
    assert shelf.history.of_job(keys, job.uid) == list(keys)
    assert shelf.history.of_job(keys, "another") == list(keys[1:])
