"""What followers are told: every change after the one they saw, or that they have to look at everything."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from thumbnails_api.accounts import Caller
from thumbnails_api.changes import Change, Changes
from thumbnails_contract.job import JobKey

SHOP: Final = Caller("shops", "shop")


def change(version: int, name: str, account: str = "shop", namespace: str = "shops") -> Change:
    return Change(version, Caller(namespace, account), JobKey(namespace, name))


def names(changes: list[Change] | None) -> list[str] | None:
    return None if changes is None else [each.key.name for each in changes]


def test_what_happened_since() -> None:
    changes = Changes()
    changes.begin(10)
    for each in (change(11, "a"), change(12, "b"), change(13, "b", "rival"), change(14, "a")):
        changes.add(each)
    assert names(changes.since(SHOP, 10)) == ["b", "a"]
    assert names(changes.since(SHOP, 12)) == ["a"]
    assert names(changes.since(SHOP, 14)) == []
    assert names(changes.since(Caller("shops", "rival"), 10)) == ["b"]
    assert names(changes.since(Caller("elsewhere", "shop"), 10)) == []
    assert changes.latest(SHOP) == 14


def test_before_the_beginning_nothing_is_known() -> None:
    changes = Changes()
    changes.begin(10)
    changes.add(change(11, "a"))
    assert changes.since(SHOP, 9) is None
    assert changes.since(SHOP, -1) is None
    changes.begin(20)
    assert changes.since(SHOP, 11) is None
    assert names(changes.since(SHOP, 20)) == []


def test_a_follower_that_another_replica_told_more_hears_nothing_twice() -> None:
    changes = Changes()
    changes.begin(10)
    changes.add(change(11, "a"))
    assert names(changes.since(SHOP, 15)) == []
    changes.add(change(15, "b"))
    changes.add(change(16, "c"))
    assert names(changes.since(SHOP, 15)) == ["c"]


def test_namespaces_have_an_order_of_their_own() -> None:
    changes = Changes()
    changes.begin(10)
    changes.add(change(15, "a"))
    changes.add(change(12, "b", namespace="others"))
    assert names(changes.since(Caller("others", "shop"), 10)) == ["b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(1, 5), st.integers(0, 40))
def test_nothing_is_left_out_unless_it_says_so(
    events: list[tuple[str, bool]], remembered: int, seen: int
) -> None:
    changes = Changes(remembered)
    changes.begin(0)
    for version, (name, own) in enumerate(events, start=1):
        changes.add(change(version, name, "shop" if own else "rival"))
    found = changes.since(SHOP, seen)
    if found is None:
        assert seen < len(events) - remembered
        return
    last = {name: version for version, (name, own) in enumerate(events, start=1) if own and version > seen}
    assert {each.key.name: each.version for each in found} == last
    assert [each.version for each in found] == sorted(last.values())
