"""Keys of history: the newest first in any listing, one prefix for each account, nothing lost in a key."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_contract import history, keys
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.names import MAX_NAME_LENGTH, is_job_name
from thumbnails_contract.spec import Batch, Spec
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Phase, Status

SHA, RECIPE = "ab" * 32, "cd" * 16
CREATED = datetime(2026, 11, 24, 5, 45, 54, tzinfo=UTC)
ENDED = CREATED + timedelta(seconds=3)

names = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True
).filter(is_job_name)
positions = st.builds(history.Position, st.integers(0, 10**10), names)


def output(object_key: str, name: str = "default") -> OutputFacts:
    return OutputFacts(name, "auto", object_key, 100, 100, 2_000, "image/jpeg", "etag")


def finished_job(
    *outputs: OutputFacts, batch: Batch | None = None, source: str | None = None
) -> ThumbnailJob:
    complete = Condition(
        ConditionType.COMPLETE, status=True, reason="Rendered", message="", last_transition_time=ENDED
    )
    return ThumbnailJob(
        key=JobKey("ns", "job-1"),
        uid="uid-1",
        resource_version="7",
        generation=1,
        created=CREATED,
        spec=Spec(source or keys.source_key("ns", "acme", SHA, "job-1"), account="acme", batch=batch),
        status=Status(conditions=(complete,), outputs=outputs, completion_time=ENDED),
    )


@given(positions)
def test_a_place_says_the_position(position: history.Position) -> None:
    assert history.parse_place(history.place(position)) == position


@given(positions, positions)
def test_places_are_in_the_opposite_order_of_positions(
    one: history.Position, other: history.Position
) -> None:
    # Folder by folder, as SeaweedFS lists, and by bytes, as others do.
    for parts in (lambda key: key.split("/"), lambda key: [key]):
        assert (parts(history.place(one)) < parts(history.place(other))) == (one > other)


def test_a_name_comes_after_those_that_it_begins() -> None:
    places = [history.place(history.Position(5, name)) for name in ("b", "aa", "a-b", "a.b", "a")]
    assert sorted(places) == [
        history.place(history.Position(5, name)) for name in ("b", "aa", "a.b", "a-b", "a")
    ]


def test_the_longest_name_fits_into_a_key_of_any_server() -> None:
    longest = history.place(history.Position(1, "a" * MAX_NAME_LENGTH))
    assert max(map(len, longest.split("/"))) <= 255
    assert history.parse_place(longest) == history.Position(1, "a" * MAX_NAME_LENGTH)


@pytest.mark.parametrize("text", ["", "1", "00000000001", "00000000001A~", "00000000001abc", "x~"])
def test_what_is_no_place(text: str) -> None:
    assert history.parse_place(text) is None


@given(positions, st.integers(0, 10**10))
def test_jobs_created_before_a_moment_are_listed_after_its_mark(
    position: history.Position, seconds: int
) -> None:
    mark = history.created_before(datetime.fromtimestamp(seconds, UTC))
    assert (history.place(position) > mark) == (position.created_seconds < seconds)


def test_all_of_a_jobs_entry_lies_under_its_accounts_prefix() -> None:
    thumbnail = keys.thumbnail_key("ns", "acme", SHA, RECIPE)
    entry = history.HistoryKeys.of(finished_job(output(thumbnail), batch=Batch("b-1", 0, 2)))
    place = history.place(history.Position(int(CREATED.timestamp()), "job-1"))
    assert entry.document == "history/ns/acme/jobs/job-1"
    assert entry.time == f"history/ns/acme/times/Succeeded/{place}"
    assert entry.batch == f"history/ns/acme/batches/b-1/Succeeded/{place}"
    assert entry.thumbnails == (f"history/ns/acme/thumbnails/{SHA}.{RECIPE}.uid-1",)
    assert entry.original == f"history/ns/acme/originals/{SHA}.{int(ENDED.timestamp()):011d}.uid-1"
    assert all(key.startswith(keys.history_prefix("ns", "acme")) for key in entry.all())
    assert len(entry.all()) == 5


def test_nothing_is_kept_of_another_account_or_of_what_somebody_else_put_there() -> None:
    foreign = keys.thumbnail_key("ns", "other", SHA, RECIPE)
    entry = history.HistoryKeys.of(finished_job(output(foreign), source="sources/ns/photo.jpg"))
    assert entry.thumbnails == ()
    assert entry.original is None
    assert entry.batch is None


def test_a_thumbnail_that_two_outputs_share_is_named_once() -> None:
    thumbnail = keys.thumbnail_key("ns", "acme", SHA, RECIPE)
    entry = history.HistoryKeys.of(finished_job(output(thumbnail, "a"), output(thumbnail, "b")))
    assert len(entry.thumbnails) == 1


def test_a_job_that_has_not_ended_is_no_history() -> None:
    job = ThumbnailJob(JobKey("ns", "job-1"), "uid-1", "7", 1, CREATED, Spec("sources/ns/a.jpg"), Status())
    with pytest.raises(ValueError, match="not ended"):
        history.HistoryKeys.of(job)


def test_how_a_reference_to_an_original_is_read() -> None:
    entry = history.HistoryKeys.of(finished_job())
    prefix = history.originals_prefix("ns", "acme")
    assert entry.original is not None
    reference = history.OriginalReference.parse(entry.original.removeprefix(prefix))
    assert reference == history.OriginalReference(SHA, int(ENDED.timestamp()))
    assert history.OriginalReference.parse("else") is None


def test_folders_of_phases_and_batches() -> None:
    assert history.times_prefix("ns", "acme", Phase.FAILED) == "history/ns/acme/times/Failed/"
    assert history.times_prefix("ns", "acme", Phase.FAILED, "b") == "history/ns/acme/batches/b/Failed/"
    assert history.is_history("history/ns/acme/jobs/x", "ns")
    assert not history.is_history("history/ns-2/acme/jobs/x", "ns")
