"""A lease is held from the answer that brought it until its result was acknowledged."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from thumbnails_contract.wire import Item, Limits, Result
from thumbnails_worker.holdings import Held, Holdings, Stage
from thumbnails_worker.outcome import returned


def item(lease: str) -> Item:
    return Item(lease, "space", "job", "default", "http://store/original", (), Limits())


@pytest.fixture
def holdings() -> Holdings:
    return Holdings(renderers=2, ahead_bytes=1000)


def test_capacity_is_what_renderers_and_prefetching_can_use(holdings: Holdings) -> None:
    capacity = holdings.capacity()
    assert capacity > 2
    held = holdings.take([item("a"), item("b")])
    assert holdings.capacity() == capacity - 2
    held[0].stage = Stage.STORING
    assert holdings.capacity() == capacity - 1


def test_the_quicker_pictures_are_rendered_the_more_of_them_are_fetched_ahead(holdings: Holdings) -> None:
    paces = [holdings.capacity(seconds) for seconds in (None, 5.0, 0.05, 0.01, 0.0001)]
    assert paces == sorted(paces)
    assert paces[0] == paces[1] < paces[2] < paces[3] == paces[4]


def test_nothing_is_taken_while_large_originals_wait(holdings: Holdings) -> None:
    (held,) = holdings.take([item("a")])
    held.stage, held.source_bytes = Stage.READY, 1001
    assert holdings.capacity() == 0
    held.stage = Stage.RENDERING
    assert holdings.capacity() > 0


def test_nothing_is_taken_while_too_much_waits_for_the_operator_or_the_store(holdings: Holdings) -> None:
    for index in range(1000):
        for held in holdings.take([item(str(index))]):
            held.stage = Stage.STORING
        if holdings.capacity() == 0:
            break
    assert holdings.capacity() == 0


def test_an_item_that_comes_twice_is_taken_once(holdings: Holdings) -> None:
    assert len(holdings.take([item("a"), item("a")])) == 1
    assert holdings.take([item("a")]) == []


def test_a_result_is_sent_until_it_is_acknowledged(holdings: Holdings) -> None:
    (held,) = holdings.take([item("a")])
    holdings.finish(held, returned("a"))
    results = holdings.next_results()
    assert results == [returned("a")]
    assert holdings.next_results() == []  # under way
    holdings.not_acknowledged(results)
    assert holdings.next_results() == results
    assert holdings.leases() == ("a",)
    holdings.acknowledged(results)
    assert holdings.leases() == ()


def test_the_first_result_counts(holdings: Holdings) -> None:
    (held,) = holdings.take([item("a")])
    holdings.finish(held, returned("a"))
    holdings.finish(held, Result("a"))
    assert holdings.next_results() == [returned("a")]


def test_a_dropped_item_gives_no_result(holdings: Holdings) -> None:
    (held,) = holdings.take([item("a")])
    assert holdings.drop("a") is held
    holdings.finish(held, returned("a"))
    assert not holdings.has_results()
    assert holdings.drop("a") is None


def test_the_same_lease_after_a_drop_is_another_item(holdings: Holdings) -> None:
    (before,) = holdings.take([item("a")])
    holdings.drop("a")
    (after,) = holdings.take([item("a")])
    holdings.finish(before, returned("a"))
    assert not holdings.has_results()
    assert holdings.holds(after)
    assert not holdings.holds(before)


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order: each lease that was taken is held, until its result is through."""

    def __init__(self) -> None:
        super().__init__()
        self.holdings = Holdings(2, 1000)
        self.expected: dict[str, Held] = {}
        self.finished: set[str] = set()
        self.on_the_way: list[list[Result]] = []
        self.count = 0

    @precondition(lambda self: self.holdings.capacity() > 0)
    @rule()
    def take(self) -> None:
        self.count += 1
        (held,) = self.holdings.take([item(str(self.count))])
        self.expected[held.item.lease] = held

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), stage=st.sampled_from([Stage.READY, Stage.RENDERING, Stage.STORING]))
    def move_on(self, data: st.DataObject, stage: Stage) -> None:
        held = self.expected[data.draw(st.sampled_from(sorted(self.expected)))]
        if held.result is None:
            held.stage = stage

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.expected)))
        self.holdings.finish(self.expected[lease], returned(lease))
        self.finished.add(lease)

    @rule()
    def send(self) -> None:
        if results := self.holdings.next_results():
            self.on_the_way.append(results)

    @precondition(lambda self: self.on_the_way)
    @rule(arrived=st.booleans())
    def hear(self, arrived: bool) -> None:
        results = self.on_the_way.pop()
        if arrived:
            self.holdings.acknowledged(results)
            for result in results:
                del self.expected[result.lease]
        else:
            self.holdings.not_acknowledged(results)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.holdings.leases()) == set(self.expected)
        on_the_way = {result.lease for results in self.on_the_way for result in results}
        waiting = {held.item.lease for held in self.holdings.at(Stage.DONE) if not held.sending}
        assert on_the_way | waiting == self.finished & set(self.expected)
        assert not on_the_way & waiting
        assert self.holdings.capacity() >= 0


TestLife = Life.TestCase


def test_a_dropped_item_is_held_until_its_thumbnails_are_not_under_way_any_more(holdings: Holdings) -> None:
    (held,) = holdings.take([item("a")])
    held.stage = Stage.STORING
    assert holdings.drop("a") is held
    assert not holdings.holds(held)
    assert holdings.leases() == ("a",)
    assert holdings.drop("a") is None
    holdings.finish(held, Result("a"))
    assert holdings.leases() == ()
    assert holdings.next_results() == []
