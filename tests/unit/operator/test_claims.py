"""Which of several equal jobs renders: one, and never none."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from thumbnails_contract.job import JobKey
from thumbnails_operator.claims import Claims


def job(name: str) -> JobKey:
    return JobKey("ns", name)


def never(_holder: JobKey) -> bool:
    return False


def always(_holder: JobKey) -> bool:
    return True


def test_the_second_waits_and_is_woken_when_the_first_lets_go() -> None:
    claims = Claims()
    assert claims.claim(job("a"), ["x", "y"], never) == ()
    claims.claim(job("b"), ["y", "z"], never)
    assert claims.holds(job("a"))
    assert not claims.holds(job("b"))
    assert claims.waits(job("b"))
    assert claims.release(job("a")) == (job("b"),)
    assert not claims.waits(job("b"))
    claims.claim(job("b"), ["y", "z"], never)
    assert claims.holds(job("b"))


def test_other_thumbnails_are_not_waited_for() -> None:
    claims = Claims()
    claims.claim(job("a"), ["x"], never)
    claims.claim(job("b"), ["y"], never)
    assert claims.holds(job("b"))


def test_who_is_overtaken_and_all_who_waited_for_it_look_again() -> None:
    claims = Claims()
    claims.claim(job("bulk"), ["x"], never)
    claims.claim(job("waiter"), ["x"], never)
    assert set(claims.claim(job("people"), ["x"], always)) == {job("bulk"), job("waiter")}
    assert claims.holds(job("people"))
    assert not claims.holds(job("bulk"))


class Claiming(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.claims = Claims()
        self.held: dict[JobKey, set[str]] = {}

    @rule(name=st.sampled_from("abcde"), keys=st.sets(st.sampled_from("wxyz"), min_size=1))
    def claim(self, name: str, keys: set[str]) -> None:
        for other in self.claims.claim(job(name), sorted(keys), lambda holder: holder > job(name)):
            if not self.claims.holds(other):
                self.held.pop(other, None)
        self.held.pop(job(name), None)
        if self.claims.holds(job(name)):
            self.held[job(name)] = keys

    @rule(name=st.sampled_from("abcde"))
    def release(self, name: str) -> None:
        self.claims.release(job(name))
        self.held.pop(job(name), None)

    @invariant()
    def nobody_shares_and_nobody_waits_for_nobody(self) -> None:
        every = [key for keys in self.held.values() for key in keys]
        assert len(every) == len(set(every))
        for name in "abcde":
            assert self.claims.holds(job(name)) == (job(name) in self.held)
            if self.claims.waits(job(name)):
                assert self.claims._waits_for[job(name)] in self.held


TestClaiming = Claiming.TestCase
Claiming.TestCase.settings = settings(max_examples=80)
