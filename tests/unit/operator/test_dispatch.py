"""Handing out: nothing is lost, nothing is with two live workers, order and fairness hold, poison ends."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from thumbnails_contract.job import JobKey
from thumbnails_contract.spec import Priority
from thumbnails_contract.status import ErrorFacts
from thumbnails_operator.dispatch import MAX_POSTPONE_SECONDS, Dispatcher, Failure
from thumbnails_operator.lane import State, Ticket
from thumbnails_operator.lease import LeaseName, WorkerKey

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CRASH = ErrorFacts("WorkerCrashed", "It died.")
AWAY = ErrorFacts("ObjectStoreUnavailable", "It is away.")
MAX_ATTEMPTS = 3


def make_dispatcher() -> Dispatcher:
    numbers = itertools.count()
    return Dispatcher(max_attempts=MAX_ATTEMPTS, lease_seconds=60, new_suffix=lambda: f"r{next(numbers)}")


def ticket(
    name: str,
    *,
    namespace: str = "ns",
    account: str = "a",
    bulk: bool = False,
    age: int = 0,
    attempts: int = 0,
) -> Ticket:
    return Ticket(
        JobKey(namespace, name),
        f"uid-{name}",
        account,
        Priority.BULK if bulk else Priority.INTERACTIVE,
        CREATED - timedelta(seconds=age),
        attempts,
    )


def worker(name: str, namespace: str = "ns") -> WorkerKey:
    return WorkerKey(namespace, name)


def names(dispatcher: Dispatcher, who: WorkerKey, capacity: int = 1) -> list[str]:
    return [grant.key.name for grant in dispatcher.grant(who, capacity)]


def test_interactive_goes_before_bulk_and_the_oldest_first() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("bulk", bulk=True, age=9), 0)
    dispatcher.add(ticket("young", age=1), 0)
    dispatcher.add(ticket("old", age=5), 0)
    dispatcher.add(ticket("old-too", age=5), 0)
    dispatcher.hold(worker("w"), (), 0)
    assert names(dispatcher, worker("w"), 9) == ["old", "old-too", "young", "bulk"]


def test_accounts_take_turns() -> None:
    dispatcher = make_dispatcher()
    for index in range(3):
        dispatcher.add(ticket(f"flood-{index}", account="flood", age=99), 0)
    dispatcher.add(ticket("x", account="x"), 0)
    dispatcher.add(ticket("y", account="y"), 0)
    dispatcher.hold(worker("w"), (), 0)
    assert names(dispatcher, worker("w"), 9) == ["flood-0", "x", "y", "flood-1", "flood-2"]


def test_a_worker_serves_its_own_namespace_only() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one", namespace="other"), 0)
    dispatcher.hold(worker("w"), (), 0)
    assert names(dispatcher, worker("w")) == []
    dispatcher.hold(worker("v", "other"), (), 0)
    assert names(dispatcher, worker("v", "other")) == ["one"]


def test_few_jobs_are_spread_over_the_workers() -> None:
    dispatcher = make_dispatcher()
    dispatcher.hold(worker("v"), (), 0)
    dispatcher.hold(worker("w"), (), 0)
    for index in range(4):
        dispatcher.add(ticket(f"job-{index}"), 0)
    assert len(names(dispatcher, worker("v"), 8)) == 2


def test_what_the_answer_lost_is_handed_out_again_without_an_attempt() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("w"), (), 0)
    assert names(dispatcher, worker("w")) == ["one"]
    assert dispatcher.hold(worker("w"), (), 1) == (JobKey("ns", "one"),)
    entry = dispatcher.entry(JobKey("ns", "one"))
    assert entry is not None
    assert (entry.state, entry.attempts, entry.suspect) == (State.READY, 0, False)


def test_a_lease_of_an_earlier_operator_is_adopted() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0, held_back=True)
    lease = str(LeaseName(JobKey("ns", "one"), "uid-one", 2, "earlier"))
    dispatcher.hold(worker("v"), (), 0)
    assert names(dispatcher, worker("v")) == []  # held back: somebody may have it
    dispatcher.hold(worker("w"), (lease,), 0)
    entry = dispatcher.entry(JobKey("ns", "one"))
    assert entry is not None
    assert (entry.worker, entry.attempts) == (worker("w"), 1)
    dispatcher.release_held_back(2)
    assert names(dispatcher, worker("v")) == []
    assert dispatcher.succeed(worker("w"), lease) == JobKey("ns", "one")


def test_of_two_workers_that_hold_the_same_job_the_second_drops_it() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0, held_back=True)
    dispatcher.hold(worker("v"), ("ns/one/uid-one/1/earlier",), 0)
    dispatcher.hold(worker("w"), ("ns/one/uid-one/1/earliest",), 0)
    assert dispatcher.drops(worker("w")) == {"ns/one/uid-one/1/earliest"}
    assert dispatcher.is_current(worker("v"), "ns/one/uid-one/1/earlier")


def test_what_nobody_adopts_is_handed_out_after_the_grace() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0, held_back=True)
    dispatcher.hold(worker("w"), (), 0)
    dispatcher.release_held_back(2)
    assert names(dispatcher, worker("w")) == ["one"]


@pytest.mark.parametrize(
    "lease",
    [
        "no lease of ours",
        "ns/one/another-uid/1/x",
        "ns/gone/uid-gone/1/x",
        "other/one/uid-one/1/x",
        "ns/one/uid-one/many/x",
    ],
)
def test_a_held_lease_of_no_job_is_to_be_dropped(lease: str) -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("w"), (lease,), 0)
    assert dispatcher.drops(worker("w")) == {lease}


def test_a_removed_job_is_dropped_by_its_worker_until_it_is_held_no_more() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("w"), (), 0)
    (grant,) = dispatcher.grant(worker("w"), 1)
    assert dispatcher.remove(grant.key)
    assert dispatcher.drops(worker("w")) == {grant.lease}
    dispatcher.hold(worker("w"), (grant.lease,), 1)
    assert dispatcher.unwanted_jobs() == {grant.key}
    assert dispatcher.succeed(worker("w"), grant.lease) is None  # its result is ignored
    dispatcher.hold(worker("w"), (), 2)
    assert not dispatcher.drops(worker("w"))
    assert not dispatcher.unwanted_jobs()


def test_a_late_success_of_another_worker_counts_and_the_second_try_is_dropped() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("v"), (), 0)
    (first,) = dispatcher.grant(worker("v"), 1)
    dispatcher.lose(worker("v"), CRASH, 61, counts=True)
    dispatcher.hold(worker("w"), (), 61)
    (second,) = dispatcher.grant(worker("w"), 1)
    assert dispatcher.succeed(worker("v"), first.lease) == JobKey("ns", "one")
    assert dispatcher.drops(worker("w")) == {second.lease}
    assert dispatcher.succeed(worker("w"), second.lease) is None


def test_a_late_failure_of_an_attempt_that_is_over_counts_nothing() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("v"), (), 0)
    (first,) = dispatcher.grant(worker("v"), 1)
    dispatcher.lose(worker("v"), CRASH, 61, counts=True)
    assert dispatcher.fail(worker("v"), first.lease, CRASH, 62, final=False, alone=True) is None


def test_a_failure_for_a_job_that_nobody_has_after_a_restart_counts() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0, held_back=True)
    failure = dispatcher.fail(worker("w"), "ns/one/uid-one/1/earlier", CRASH, 1, final=False, alone=True)
    assert failure == Failure(JobKey("ns", "one"), CRASH, 1, final=False)


def test_no_worker_speaks_for_another_namespace() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one", namespace="other"), 0)
    lease = "other/one/uid-one/1/x"
    assert dispatcher.succeed(worker("w"), lease) is None
    assert dispatcher.fail(worker("w"), lease, CRASH, 0, final=True, alone=False) is None
    assert dispatcher.entry(JobKey("other", "one")) is not None


def test_what_a_dead_worker_held_is_tried_alone() -> None:
    dispatcher = make_dispatcher()
    for index in range(3):
        dispatcher.add(ticket(f"job-{index}"), 0)
    dispatcher.hold(worker("v"), (), 0)
    assert len(dispatcher.grant(worker("v"), 2)) == 2
    dispatcher.lose(worker("v"), CRASH, 1, counts=True)
    dispatcher.hold(worker("w"), (), 1)
    (grant,) = dispatcher.grant(worker("w"), 9)
    assert grant.key.name == "job-0"
    assert dispatcher.grant(worker("w"), 9) == ()  # nothing beside a suspect


def test_a_busy_worker_drains_for_a_suspect() -> None:
    dispatcher = make_dispatcher()
    for index in range(5):
        dispatcher.add(ticket(f"job-{index}"), 0)
    dispatcher.hold(worker("w"), (), 0)
    first, second = dispatcher.grant(worker("w"), 2)
    dispatcher.fail(worker("w"), first.lease, CRASH, 1, final=False, alone=True)
    assert dispatcher.grant(worker("w"), 1) == ()  # it has one left
    dispatcher.succeed(worker("w"), second.lease)
    assert names(dispatcher, worker("w"), 2) == [first.key.name]


def test_attempts_end() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one", attempts=1), 0)
    dispatcher.hold(worker("w"), (), 0)
    (grant,) = dispatcher.grant(worker("w"), 1)
    assert grant.lease.startswith("ns/one/uid-one/2/")
    failure = dispatcher.fail(worker("w"), grant.lease, CRASH, 1, final=False, alone=True)
    assert failure is not None
    assert not failure.final
    (grant,) = dispatcher.grant(worker("w"), 1)
    failure = dispatcher.fail(worker("w"), grant.lease, CRASH, 2, final=False, alone=True)
    assert failure == Failure(JobKey("ns", "one"), CRASH, 3, final=True)
    assert dispatcher.entry(JobKey("ns", "one")) is None


def test_what_is_away_is_waited_for_longer_and_longer_without_attempts() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("w"), (), 0)
    now, delays = 0.0, []
    for _ in range(7):
        (grant,) = dispatcher.grant(worker("w"), 1)
        dispatcher.postpone(worker("w"), grant.lease, AWAY, now)
        due = dispatcher.next_due()
        assert due is not None
        delays.append(due - now)
        now = due
        dispatcher.advance(now)
    assert delays == [1, 2, 4, 8, 16, MAX_POSTPONE_SECONDS, MAX_POSTPONE_SECONDS]
    entry = dispatcher.entry(JobKey("ns", "one"))
    assert entry is not None
    assert entry.attempts == 0


def test_a_job_that_is_given_back_again_and_again_waits_a_little() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.hold(worker("w"), (), 0)
    for _ in range(4):
        (grant,) = dispatcher.grant(worker("w"), 1)
        dispatcher.give_back(worker("w"), grant.lease, 0, AWAY)
    entry = dispatcher.entry(JobKey("ns", "one"))
    assert entry is not None
    assert (entry.state, entry.cause, entry.attempts) == (State.POSTPONED, AWAY, 0)


def test_silence_is_noticed() -> None:
    dispatcher = make_dispatcher()
    dispatcher.hold(worker("v"), (), 0)
    dispatcher.hold(worker("w"), (), 0)
    dispatcher.seen(worker("w"), 50)
    assert dispatcher.silent(61) == (worker("v"),)


def test_demand_says_how_much_waits_and_for_how_much_it_is_late() -> None:
    dispatcher = make_dispatcher()
    dispatcher.add(ticket("one"), 0)
    dispatcher.add(ticket("two", bulk=True), 5)
    dispatcher.add(ticket("three", namespace="other"), 5)
    demand = dispatcher.demand(6, 2, 10)
    assert (demand["ns"].interactive, demand["ns"].bulk, demand["ns"].overdue) == (1, 1, 1)
    assert demand["other"].overdue == 0
    dispatcher.remove(JobKey("other", "three"))
    assert set(dispatcher.demand(6, 2, 10)) == {"ns"}


WORKERS = [worker("v"), worker("w"), worker("x", "other")]


class Dispatching(RuleBasedStateMachine):
    """Any order of jobs, polls, results, deaths and restarts; a model of workers beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = make_dispatcher()
        self.now = 0.0
        self.number = 0
        self.unfinished: dict[JobKey, Ticket] = {}
        self.finished: set[JobKey] = set()
        self.held: dict[WorkerKey, set[str]] = {key: set() for key in WORKERS}
        self.deaths: dict[JobKey, int] = {}

    @initialize()
    def begin(self) -> None:
        for key in WORKERS:
            self.dispatcher.hold(key, (), self.now)

    @rule(
        namespace=st.sampled_from(["ns", "other"]),
        account=st.sampled_from("abc"),
        bulk=st.booleans(),
        age=st.integers(0, 5),
    )
    def add(self, namespace: str, account: str, bulk: bool, age: int) -> None:
        self.number += 1
        new = ticket(f"job-{self.number}", namespace=namespace, account=account, bulk=bulk, age=age)
        assert self.dispatcher.add(new, self.now)
        assert not self.dispatcher.add(new, self.now)
        self.unfinished[new.key] = new

    @rule(who=st.sampled_from(WORKERS), capacity=st.integers(0, 4), lost=st.booleans())
    def poll(self, who: WorkerKey, capacity: int, lost: bool) -> None:
        self.dispatcher.hold(who, self.held[who], self.now)
        drops = self.dispatcher.drops(who)
        self.held[who] -= drops
        before = {lease for lease in self.held[who] if self.dispatcher.is_current(who, lease)}
        ready = [
            entry
            for entry in self.dispatcher.entries()
            if entry.state is State.READY and entry.key.namespace == who.namespace and not entry.suspect
        ]
        grants = self.dispatcher.grant(who, capacity)
        assert len(grants) <= capacity
        for grant in grants:
            entry = self.dispatcher.entry(grant.key)
            assert entry is not None
            assert grant.key.namespace == who.namespace
            if entry.suspect:
                assert len(grants) == 1
                assert not before
            else:
                older = [
                    each
                    for each in ready
                    if each.ticket.account == entry.ticket.account
                    and each.ticket.priority is entry.ticket.priority
                    and (each.ticket.created, each.key.name) < (entry.ticket.created, entry.key.name)
                    and each.state is State.READY
                ]
                assert not older
                if entry.ticket.priority is Priority.BULK:
                    assert not any(
                        each.ticket.priority is Priority.INTERACTIVE and each.state is State.READY
                        for each in ready
                    )
        if not lost:
            self.held[who] |= {grant.lease for grant in grants}

    def _some_lease(self, who: WorkerKey, index: int) -> str:
        leases = sorted(self.held[who])
        assume(leases)
        return leases[index % len(leases)]

    @rule(who=st.sampled_from(WORKERS), index=st.integers(0, 9), again=st.booleans())
    def succeed(self, who: WorkerKey, index: int, again: bool) -> None:
        lease = self._some_lease(who, index)
        key = self.dispatcher.succeed(who, lease)
        if key is not None:
            del self.unfinished[key]
            self.finished.add(key)
        if again:
            assert self.dispatcher.succeed(who, lease) is None
        self.held[who].discard(lease)

    @rule(who=st.sampled_from(WORKERS), index=st.integers(0, 9), alone=st.booleans())
    def fail(self, who: WorkerKey, index: int, alone: bool) -> None:
        lease = self._some_lease(who, index)
        self._ended(self.dispatcher.fail(who, lease, CRASH, self.now, final=False, alone=alone))
        self.held[who].discard(lease)

    @rule(who=st.sampled_from(WORKERS), index=st.integers(0, 9))
    def give_back(self, who: WorkerKey, index: int) -> None:
        lease = self._some_lease(who, index)
        self.dispatcher.give_back(who, lease, self.now)
        self.held[who].discard(lease)

    @rule(who=st.sampled_from(WORKERS), index=st.integers(0, 9))
    def postpone(self, who: WorkerKey, index: int) -> None:
        lease = self._some_lease(who, index)
        self.dispatcher.postpone(who, lease, AWAY, self.now)
        self.held[who].discard(lease)

    @rule(who=st.sampled_from(WORKERS), counts=st.booleans())
    def die(self, who: WorkerKey, counts: bool) -> None:
        for ended in self.dispatcher.lose(who, CRASH, self.now, counts=counts):
            assert isinstance(ended, Failure) is counts
            self._ended(ended if isinstance(ended, Failure) else None)
        self.held[who].clear()
        self.dispatcher.hold(who, (), self.now)

    @rule(seconds=st.floats(0, 40))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.dispatcher.advance(self.now)

    @precondition(lambda self: self.unfinished)
    @rule(index=st.integers(0, 9))
    def cancel(self, index: int) -> None:
        key = sorted(self.unfinished)[index % len(self.unfinished)]
        assert self.dispatcher.remove(key)
        del self.unfinished[key]

    @rule()
    def restart(self) -> None:
        attempts = {entry.key: entry.attempts for entry in self.dispatcher.entries()}
        self.dispatcher = make_dispatcher()
        for old in self.unfinished.values():
            again = Ticket(old.key, old.uid, old.account, old.priority, old.created, attempts.get(old.key, 0))
            self.dispatcher.add(again, self.now, held_back=True)
        for key in WORKERS:
            self.dispatcher.hold(key, self.held[key], self.now)
        self.dispatcher.release_held_back(self.now)

    def _ended(self, failure: Failure | None) -> None:
        if failure is None:
            return
        assert failure.attempts <= MAX_ATTEMPTS
        self.deaths[failure.key] = self.deaths.get(failure.key, 0) + 1
        assert failure.final == (failure.attempts == MAX_ATTEMPTS)
        if failure.final:
            del self.unfinished[failure.key]
            self.finished.add(failure.key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {entry.key for entry in self.dispatcher.entries()} == set(self.unfinished)

    @invariant()
    def nothing_is_with_two_workers(self) -> None:
        leased = [entry for entry in self.dispatcher.entries() if entry.state is State.LEASED]
        for entry in leased:
            assert entry.lease is not None
            assert entry.worker is not None
            assert self.dispatcher.is_current(entry.worker, entry.lease)
        holders = [
            LeaseName.parse(lease)
            for who in WORKERS
            for lease in self.held[who]
            if self.dispatcher.is_current(who, lease)
        ]
        jobs = [name.job for name in holders if name]
        assert len(jobs) == len(set(jobs))

    @invariant()
    def demand_counts_what_is_ready(self) -> None:
        ready = sum(entry.state is State.READY for entry in self.dispatcher.entries())
        assert sum(each.ready for each in self.dispatcher.demand(self.now, 0, 10**6).values()) == ready

    @invariant()
    def attempts_are_bounded(self) -> None:
        assert all(deaths <= MAX_ATTEMPTS for deaths in self.deaths.values())

    def teardown(self) -> None:
        """Whatever has happened: workers that succeed from now on finish everything."""
        for _ in range(10 * (len(self.unfinished) + 1)):
            if not self.unfinished:
                break
            self.pass_time(MAX_POSTPONE_SECONDS)
            for who in WORKERS:
                self.poll(who, 2, lost=False)
                for lease in sorted(self.held[who]):
                    key = self.dispatcher.succeed(who, lease)
                    if key is not None:
                        del self.unfinished[key]
                    self.held[who].discard(lease)
        assert not self.unfinished


TestDispatching: Callable[..., object] = Dispatching.TestCase
Dispatching.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
