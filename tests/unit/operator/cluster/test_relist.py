"""Lists and the events that come while they are made."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_operator.relist import Recorder

Document = dict[str, Any]


def an_object(name: str, version: int, uid: str = "") -> Document:
    return {"metadata": {"namespace": "n", "name": name, "uid": uid or name, "resourceVersion": str(version)}}


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    recorder.begin()
    return recorder


def test_a_list_alone_is_what_there_is(recorder: Recorder) -> None:
    assert recorder.join([an_object("a", 1)]) == [an_object("a", 1)]


def test_what_was_created_after_the_list_is_there(recorder: Recorder) -> None:
    recorder.note("ADDED", an_object("b", 9))
    assert recorder.join([an_object("a", 1)]) == [an_object("a", 1), an_object("b", 9)]


def test_what_was_deleted_after_the_list_is_gone(recorder: Recorder) -> None:
    recorder.note("DELETED", an_object("a", 9))
    assert recorder.join([an_object("a", 1)]) == []


def test_the_newer_state_wins_whoever_brings_it(recorder: Recorder) -> None:
    recorder.note("MODIFIED", an_object("a", 9))
    recorder.note("MODIFIED", an_object("b", 10))
    assert recorder.join([an_object("a", 11), an_object("b", 2)]) == [an_object("a", 11), an_object("b", 10)]


def test_the_end_of_an_older_namesake_is_none_of_the_new_one(recorder: Recorder) -> None:
    recorder.note("DELETED", an_object("a", 9, uid="old"))
    assert recorder.join([an_object("a", 11, uid="new")]) == [an_object("a", 11, uid="new")]


def test_events_before_the_list_are_in_it() -> None:
    recorder = Recorder()
    recorder.note("ADDED", an_object("a", 1))
    recorder.begin()
    assert recorder.join([]) == []


def test_a_list_that_did_not_come_leaves_nothing(recorder: Recorder) -> None:
    recorder.note("ADDED", an_object("a", 1))
    recorder.drop()
    recorder.begin()
    assert recorder.join([]) == []


@given(
    changes=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_wherever_the_list_is_taken_the_result_is_the_end(
    changes: list[tuple[str, bool]], cuts: tuple[float, float]
) -> None:
    """`begin` comes before the list's state, events go on after it."""
    begun, listed = sorted(int(cut * len(changes)) for cut in cuts)
    world: dict[str, Document] = {}
    snapshot: list[Document] = []
    recorder = Recorder()
    for index, (name, exists) in enumerate(changes):
        if index == begun:
            recorder.begin()
        if index == listed:
            snapshot = list(world.values())
        document = an_object(name, index + 1)
        if exists:
            recorder.note("MODIFIED" if name in world else "ADDED", document)
            world[name] = document
        elif name in world:
            recorder.note("DELETED", document)
            del world[name]
    if begun == len(changes):
        recorder.begin()
    if listed == len(changes):
        snapshot = list(world.values())
    found = {document["metadata"]["name"]: document for document in recorder.join(snapshot)}
    assert found == world
