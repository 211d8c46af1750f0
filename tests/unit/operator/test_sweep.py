"""Which objects a sweep may delete: as examples, and as laws that hold for any bucket."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnails_common.objectstore import ObjectFacts
from thumbnails_common.tombstone import Tombstone
from thumbnails_contract.job import JobKey, ThumbnailJob
from thumbnails_contract.keys import idempotency_key, recipes, source_key, thumbnail_key
from thumbnails_contract.spec import Format, Output, Spec
from thumbnails_contract.status import Condition, ConditionType, OutputFacts, Reason, Status
from thumbnails_operator.settings import OperatorSettings
from thumbnails_operator.sweep import (
    References,
    Rules,
    Verdict,
    judge_tombstone,
    own_keys,
    removable,
    tombstone_keys,
    unreferenced,
)

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = Rules(grace=HOUR, source_retention=DAY)
LONG_AGO = NOW - timedelta(days=400)
SHA = ["a" * 64, "b" * 64, "c" * 64]


def make_job(
    name: str = "photo",
    namespace: str = "team-a",
    *,
    sha: str = SHA[0],
    object_key: str | None = None,
    ended: datetime | None = None,
    outputs: Sequence[str] = (),
    spec_outputs: tuple[Output, ...] | None = None,
    uid: str | None = None,
) -> ThumbnailJob:
    """A job of an uploaded picture; `ended` says when it completed, with these objects as outputs."""
    spec = Spec(object_key=object_key or source_key(namespace, "default", sha, name))
    if spec_outputs is not None:
        spec = replace(spec, outputs=spec_outputs)
    status = Status()
    if ended is not None:
        facts = (OutputFacts("default", "auto", key, 1, 1, 1, "image/png", "e") for key in outputs)
        condition = Condition(ConditionType.COMPLETE, True, Reason.RENDERED, "", ended)
        status = Status(conditions=(condition,), outputs=tuple(facts), completion_time=ended)
    return ThumbnailJob(
        JobKey(namespace, name), uid or f"uid-{namespace}-{name}", "1", 1, LONG_AGO, spec, status
    )


def thumbnail_of(job: ThumbnailJob, sha: str = SHA[0]) -> str:
    """Where the first thumbnail of a job lies when its picture has this identity."""
    return thumbnail_key(job.key.namespace, job.spec.account, sha, next(recipes(job.spec))[2])


def listed(key: str, modified: datetime = LONG_AGO) -> ObjectFacts:
    return ObjectFacts(key, "etag", 1, modified)


def goes(
    key: str,
    *jobs: ThumbnailJob,
    modified: datetime = LONG_AGO,
    rules: Rules = RULES,
    unreadable: Sequence[JobKey] = (),
) -> bool:
    return removable([listed(key, modified)], References(jobs, unreadable), rules, NOW) == [key]


# ---- originals --------------------------------------------------------------------------------


def test_an_original_whose_job_is_unknown_goes_after_the_grace_period() -> None:
    key = make_job().spec.object_key
    assert goes(key)
    assert goes(key, make_job("other"))
    assert goes(key, make_job(namespace="team-b"))
    assert goes(key, modified=NOW - HOUR - timedelta(seconds=1))
    assert not goes(key, modified=NOW - HOUR)
    assert not goes(key, modified=NOW + HOUR)


def test_an_original_stays_while_its_job_runs() -> None:
    job = make_job()
    assert not goes(job.spec.object_key, job)


def test_an_original_goes_some_time_after_its_job_ended() -> None:
    key = make_job().spec.object_key
    assert not goes(key, make_job(ended=NOW - DAY))
    assert goes(key, make_job(ended=NOW - DAY - timedelta(seconds=1)))


def test_an_original_stays_while_any_job_that_refers_to_it_needs_it() -> None:
    key = make_job().spec.object_key
    long_ended = make_job(ended=LONG_AGO)
    assert goes(key, long_ended)
    assert not goes(key, long_ended, make_job("second", object_key=key))
    assert not goes(key, make_job("second", object_key=key, ended=NOW - HOUR), long_ended)
    assert not goes(key, make_job("second", object_key=key))
    assert goes(key, long_ended, make_job("second", object_key=key, ended=LONG_AGO))


def test_the_job_that_a_key_names_keeps_it_whatever_it_refers_to() -> None:
    key = make_job().spec.object_key
    assert not goes(key, make_job(object_key="sources/team-a/mine.jpg"))


def test_a_job_of_another_namespace_keeps_nothing() -> None:
    key = make_job().spec.object_key
    assert goes(key, make_job("thief", "team-b", object_key=key))


@pytest.mark.parametrize(
    "key",
    [
        "sources/team-a/holiday.jpg",
        "sources/team-a/default/holiday.jpg",
        f"sources/team-a/default/{SHA[0]}/photo/more",
        f"sources/team-a/default/{SHA[0][:-1]}/photo",
        "sources/",
        "backup/team-a",
        f"tombstones/team-a/{SHA[0]}",
        "thumbnails/team-a/default/readme",
        f"thumbnails/team-a/default/{SHA[0]}/{'0' * 31}",
        f"thumbnails/team-a/default/{SHA[0]}/{'0' * 32}/more",
    ],
)
def test_what_somebody_else_put_there_stays(key: str) -> None:
    assert not goes(key)
    assert unreferenced([key], References(), RULES) == []


# ---- thumbnails -------------------------------------------------------------------------------


def test_a_thumbnail_that_nobody_names_goes_after_the_grace_period() -> None:
    key = thumbnail_of(make_job())
    assert goes(key)
    assert not goes(key, modified=NOW - HOUR)
    assert goes(key, make_job(ended=LONG_AGO))  # a job that ended without it


def test_a_thumbnail_stays_as_long_as_a_job_that_names_it() -> None:
    key = thumbnail_of(make_job())
    assert not goes(key, make_job(ended=LONG_AGO, outputs=[key]))
    assert not goes(key, make_job(ended=LONG_AGO), make_job("second", ended=LONG_AGO, outputs=[key]))


def test_what_an_unfinished_job_may_be_writing_stays() -> None:
    outputs = (Output("a", 10, 10), Output("b", 20, formats=(Format.WEBP, Format.AVIF)))
    job = make_job(spec_outputs=outputs)
    for _, _, recipe in recipes(job.spec):
        assert not goes(thumbnail_key("team-a", "default", SHA[0], recipe), job)
        assert goes(thumbnail_key("team-a", "default", SHA[1], recipe), job)
        assert goes(thumbnail_key("team-b", "default", SHA[0], recipe), job)
        assert goes(thumbnail_key("team-a", "else", SHA[0], recipe), job)
    assert goes(thumbnail_key("team-a", "default", SHA[0], "0" * 32), job)


def test_an_unfinished_job_of_a_foreign_original_keeps_all_thumbnails_of_its_recipes() -> None:
    job = make_job(object_key="sources/team-a/holiday.jpg")
    key = thumbnail_of(job, SHA[2])
    assert not goes(key, job)
    assert unreferenced([key], References([job]), RULES) == []
    assert goes(thumbnail_key("team-a", "default", SHA[2], "0" * 32), job)
    assert goes(thumbnail_of(make_job(namespace="team-b"), SHA[2]), job)


def test_thumbnails_go_after_the_days_that_the_admin_set() -> None:
    rules = replace(RULES, thumbnails_keep=timedelta(days=30))
    key = thumbnail_of(make_job())
    old, recent = NOW - timedelta(days=31), NOW - timedelta(days=29)
    assert goes(key, make_job(ended=old, outputs=[key]), modified=old, rules=rules)
    assert not goes(key, make_job(ended=recent, outputs=[key]), modified=recent, rules=rules)
    # of several jobs the latest one counts, also when it took what was there
    cached = make_job("second", ended=recent, outputs=[key])
    assert not goes(key, make_job(ended=old, outputs=[key]), cached, modified=old, rules=rules)
    # a job that goes on keeps what it may name
    assert not goes(key, make_job(ended=old, outputs=[key]), make_job("second"), modified=old, rules=rules)
    # written anew
    assert not goes(key, make_job(ended=old, outputs=[key]), modified=recent, rules=rules)


# ---- what is not ours to judge ----------------------------------------------------------------------


def test_nothing_goes_in_a_namespace_with_a_job_that_this_version_cannot_read() -> None:
    job = make_job()
    for key in (job.spec.object_key, thumbnail_of(job)):
        assert not goes(key, unreadable=[JobKey("team-a", "new-kind")])
        assert goes(key, unreadable=[JobKey("team-b", "new-kind")])
        assert unreferenced([key], References((), [JobKey("team-a", "x")]), RULES) == []


def test_nothing_goes_in_namespaces_whose_jobs_are_not_known() -> None:
    job = make_job()
    for key in (job.spec.object_key, thumbnail_of(job)):
        assert not goes(key, rules=replace(RULES, namespaces=frozenset({"team-b"})))
        assert goes(key, rules=replace(RULES, namespaces=frozenset({"team-a"})))


def test_rules_come_from_the_settings() -> None:
    settings_ = OperatorSettings(
        sweep_grace_seconds=60, source_retention_seconds=120, thumbnails_keep_days=0.5
    )
    assert Rules.of(settings_, ["a"]) == Rules(
        timedelta(minutes=1), timedelta(minutes=2), timedelta(hours=12), frozenset({"a"})
    )
    assert Rules.of(OperatorSettings()) == Rules(HOUR, DAY)
    assert Rules.of(OperatorSettings(idempotency_seconds=60)).idempotency_retention == timedelta(minutes=1)


# ---- Idempotency-Keys ---------------------------------------------------------------------------------


def test_what_is_kept_of_an_idempotency_key_goes_after_its_time_whatever_jobs_there_are() -> None:
    key = idempotency_key("team-a", "default", SHA[0])
    rules = replace(RULES, idempotency_retention=DAY)
    assert not goes(key, modified=NOW - DAY - HOUR, rules=rules)
    assert goes(key, modified=NOW - DAY - HOUR - timedelta(seconds=1), rules=rules)
    assert goes(key, make_job(), rules=rules)
    assert goes(key, rules=replace(rules, namespaces=frozenset({"team-a"})))
    assert not goes(key, rules=replace(rules, namespaces=frozenset({"team-b"})))


@pytest.mark.parametrize("key", ["idempotency/", "idempotency/team-a/x", f"idempotency/a/b/c/{'a' * 64}"])
def test_what_somebody_else_put_beside_them_stays(key: str) -> None:
    assert not goes(key)


# ---- deleted jobs and tombstones ----------------------------------------------------------------------


def test_a_deleted_job_leaves_its_original_and_its_thumbnails() -> None:
    running = make_job()
    assert own_keys(running) == (running.spec.object_key, thumbnail_of(running))
    key = thumbnail_of(running, SHA[1])
    done = make_job(ended=NOW, outputs=[key])
    assert own_keys(done) == (done.spec.object_key, key)
    assert set(unreferenced(own_keys(done), References(), RULES)) == set(own_keys(done))


def test_a_deleted_job_leaves_nothing_of_another_namespace() -> None:
    other = make_job(namespace="team-b")
    job = make_job(object_key=other.spec.object_key, ended=NOW, outputs=[thumbnail_of(other)])
    assert own_keys(job) == ()


def test_what_another_job_refers_to_outlives_a_deleted_one() -> None:
    key = thumbnail_of(make_job())
    job = make_job(ended=NOW, outputs=[key])
    source = job.spec.object_key
    equal = make_job("equal")  # the same picture, uploaded once more
    assert unreferenced([source, key], References([equal]), RULES) == [source]
    shared = make_job("shared", object_key=source, ended=LONG_AGO, outputs=[])
    assert unreferenced([source, key], References([shared]), RULES) == [key]


TOMBSTONE = Tombstone("team-a", "photo", "uid-team-a-photo", (), NOW)


@pytest.mark.parametrize(
    ("job", "age", "verdict"),
    [
        (None, timedelta(0), Verdict.FINISH),
        (None, DAY, Verdict.FINISH),
        (make_job(), timedelta(0), Verdict.WAIT),
        (make_job(), HOUR, Verdict.WAIT),
        (make_job(), HOUR + timedelta(seconds=1), Verdict.DROP),
        (make_job(uid="another-job-of-this-name"), timedelta(0), Verdict.FINISH),
    ],
)
def test_a_tombstone_is_finished_when_its_job_is_gone(
    job: ThumbnailJob | None, age: timedelta, verdict: Verdict
) -> None:
    references = References([job] if job else [])
    assert judge_tombstone(TOMBSTONE, NOW - age, references, RULES, NOW) is verdict


def test_a_tombstone_waits_where_not_all_jobs_are_known() -> None:
    elsewhere = replace(RULES, namespaces=frozenset({"team-b"}))
    assert judge_tombstone(TOMBSTONE, LONG_AGO, References(), elsewhere, NOW) is Verdict.WAIT
    unreadable = References((), [JobKey("team-a", "x")])
    assert judge_tombstone(TOMBSTONE, LONG_AGO, unreadable, RULES, NOW) is Verdict.WAIT


def test_a_tombstone_speaks_for_its_own_namespace_only() -> None:
    ours, theirs = make_job(), make_job(namespace="team-ab")
    keys = (ours.spec.object_key, theirs.spec.object_key, thumbnail_of(ours), thumbnail_of(theirs))
    assert tombstone_keys(replace(TOMBSTONE, keys=keys)) == [keys[0], keys[2]]


# ---- laws ---------------------------------------------------------------------------------------------

NAMES, NAMESPACES = ["n1", "n2", "n3"], ["team-a", "team-b"]
RECIPES = (Output("a", 10, 10), Output("b", 20, 20))


def ages() -> st.SearchStrategy[timedelta]:
    return st.integers(-60, 60 * 24 * 4).map(lambda minutes: timedelta(minutes=minutes))


@st.composite
def jobs(draw: st.DrawFn) -> ThumbnailJob:
    name, namespace = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMESPACES))
    uploaded = source_key(
        namespace, "default", draw(st.sampled_from(SHA)), draw(st.sampled_from([name, *NAMES]))
    )
    job = make_job(
        name,
        namespace,
        object_key=draw(st.sampled_from([uploaded, f"sources/{namespace}/foreign.jpg"])),
        spec_outputs=draw(st.sampled_from([RECIPES, RECIPES[:1], RECIPES[1:]])),
    )
    if not draw(st.booleans()):
        return job
    outputs = [
        thumbnail_key(namespace, "default", draw(st.sampled_from(SHA)), recipe)
        for _, _, recipe in recipes(job.spec)
    ]
    ended = NOW - draw(ages())
    finished = make_job(ended=ended, outputs=draw(st.sampled_from([outputs, outputs[:1], []])))
    return replace(job, status=finished.status)


@dataclass(frozen=True)
class World:
    """A bucket, and the jobs that are known."""

    jobs: tuple[ThumbnailJob, ...]
    objects: tuple[ObjectFacts, ...]


ALL_KEYS = [
    *(source_key(ns, "default", sha, name) for ns in NAMESPACES for sha in SHA for name in NAMES),
    *(
        thumbnail_key(ns, "default", sha, recipe)
        for ns in NAMESPACES
        for sha in SHA
        for _, _, recipe in recipes(Spec("", outputs=RECIPES))
    ),
    *(f"sources/{ns}/foreign.jpg" for ns in NAMESPACES),
]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    known = draw(st.lists(jobs(), max_size=6, unique_by=lambda job: job.key))
    keys = draw(st.lists(st.sampled_from(ALL_KEYS), unique=True))
    return World(tuple(known), tuple(listed(key, NOW - draw(ages())) for key in keys))


def rule_sets() -> st.SearchStrategy[Rules]:
    spans = st.integers(0, 48).map(lambda hours: timedelta(hours=hours))
    return st.builds(
        Rules, grace=spans, source_retention=spans, thumbnails_keep=st.none() | spans, namespaces=st.none()
    )


def refers(job: ThumbnailJob, key: str) -> bool:
    """Whether a job has anything to do with an object: said anew, in the simplest way."""
    ns = job.key.namespace
    parts = key.split("/")
    if key.startswith("sources/"):
        named = parts[1] == ns and parts[-1] == job.key.name
        return key == job.spec.object_key or named
    if any(output.object_key == key for output in job.status.outputs):
        return True
    wanted = {recipe for _, _, recipe in recipes(job.spec)}
    same_recipe = not job.status.finished and parts[1] == ns and parts[4] in wanted
    own = job.spec.object_key.split("/")
    return same_recipe and (own[-1] == "foreign.jpg" or own[3] == parts[3])


@settings(max_examples=200)
@given(worlds(), rule_sets())
def test_what_a_known_job_needs_is_never_deleted(world: World, rules: Rules) -> None:
    gone = set(removable(world.objects, References(world.jobs), rules, NOW))
    for facts in world.objects:
        for job in world.jobs:
            if facts.key not in gone or not refers(job, facts.key):
                continue
            # Only of a job that ended, and only after the time that the admin set.
            assert job.status.completion_time is not None
            age = NOW - job.status.completion_time
            if facts.key.startswith("sources/"):
                assert age > rules.source_retention
            else:
                assert rules.thumbnails_keep is not None
                assert age > rules.thumbnails_keep


@settings(max_examples=200)
@given(worlds(), rule_sets())
def test_what_nobody_refers_to_and_is_old_goes(world: World, rules: Rules) -> None:
    gone = set(removable(world.objects, References(world.jobs), rules, NOW))
    for facts in world.objects:
        foreign = facts.key.endswith("foreign.jpg")
        old = NOW - facts.last_modified > rules.grace
        if old and not foreign and not any(refers(job, facts.key) for job in world.jobs):
            assert facts.key in gone


@given(worlds(), rule_sets())
def test_nothing_young_or_foreign_is_ever_deleted(world: World, rules: Rules) -> None:
    gone = set(removable(world.objects, References(world.jobs), rules, NOW))
    for facts in world.objects:
        if facts.key in gone:
            assert NOW - facts.last_modified > rules.grace
            assert not facts.key.endswith("foreign.jpg")


@given(worlds(), rule_sets(), st.lists(jobs(), max_size=4))
def test_jobs_that_are_added_keep_more_and_never_less(
    world: World, rules: Rules, later: list[ThumbnailJob]
) -> None:
    references = References(world.jobs)
    before = set(removable(world.objects, references, rules, NOW))
    references.add(later)
    assert set(removable(world.objects, references, rules, NOW)) <= before


@given(worlds(), rule_sets())
def test_a_deleted_job_takes_along_what_is_its_own_and_nothing_that_others_need(
    world: World, rules: Rules
) -> None:
    for job in world.jobs:
        others = [other for other in world.jobs if other.uid != job.uid]
        free = set(unreferenced(own_keys(job), References(others), rules))
        for key in own_keys(job):
            needed = any(
                key == other.spec.object_key if key.startswith("sources/") else refers(other, key)
                for other in others
            )
            assert (key in free) == (not needed and not key.endswith("foreign.jpg"))
