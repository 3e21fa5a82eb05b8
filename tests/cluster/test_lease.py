"""Never two leaders, whatever is delayed or lost, and however clocks go; and one, soon after all trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.cluster.lease import Candidate, Lease, Terms, micro_time

TERMS = Terms()
TROUBLE = 400.0
"""Seconds in which things go wrong."""


class World:
    """Replicas with clocks of their own, a server that is slow and forgets to answer, and true time."""

    def __init__(self, random: Random, faulty: bool = True) -> None:
        self.random = random
        self.faulty = faulty
        self.time = 0.0
        self.lease = Lease()
        """What the server has. No more is relied upon than that of those who replace the same version one succeeds."""
        self.rates = [random.choice((1.0, 1.2, TERMS.drift * 0.999)) for _ in range(3)]
        self.candidates = [Candidate(f"replica-{n}", TERMS) for n in range(3)]
        self.cut_off = [0.0] * 3
        """Until when what each of them writes is lost."""
        self.led = 0
        """By how many different processes."""
        self._last = ""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        for replica in range(3):
            self.after(random.random(), self.attempt, replica)

    def after(self, seconds: float, then: Callable[..., None], *arguments: object) -> None:
        heappush(self._events, (self.time + seconds, next(self._numbers), lambda: then(*arguments)))

    def now(self, replica: int) -> float:
        return 1000.0 * replica + self.time * self.rates[replica]

    def run(self, until: float) -> None:
        while self._events[0][0] < until:
            self.time, _, event = heappop(self._events)
            self.check()
            event()
            self.check()

    def check(self) -> None:
        leading = [c.me for n, c in enumerate(self.candidates) if c.leads(self.now(n))]
        assert len(leading) <= 1, (self.time, leading)
        if leading and leading[0] != self._last:
            self._last, self.led = leading[0], self.led + 1

    def delay(self) -> float:
        return self.random.choice((0.0, 0.0, 0.1, 1.0, 4.0, 12.0, 30.0)) if self.faulty else 0.0

    def attempt(self, replica: int) -> None:
        """Read, then write; and go on whether or not there was an answer."""
        if self.faulty and self.random.random() < 0.03:
            self.end(replica)
        if self.faulty and self.random.random() < 0.05:
            self.cut_off[replica] = self.time + 20.0
        now = self.now(replica)
        self.candidates[replica] = candidate = self.candidates[replica].observe(self.lease, now)
        wanted = candidate.wanted(now, micro_time(now))
        if wanted is not None and self.time >= self.cut_off[replica]:
            self.after(self.delay(), self.serve, replica, candidate.me, now, wanted)
        self.after(self.random.choice((TERMS.retry, 3 * TERMS.retry)), self.attempt, replica)

    def serve(self, replica: int, by: str, began: float, wanted: Lease) -> None:
        if wanted.version == self.lease.version:
            self.lease = replace(wanted, version=str(next(self._numbers)))
            if not self.faulty or self.random.random() < 0.8:
                self.after(self.delay(), self.answer, replica, by, began, self.lease)

    def answer(self, replica: int, by: str, began: float, written: Lease) -> None:
        candidate = self.candidates[replica]
        if candidate.me == by:
            self.candidates[replica] = candidate.won(written, began, self.now(replica))

    def end(self, replica: int) -> None:
        """The process ends, in order or not, and another takes its place."""
        candidate, lease = self.candidates[replica].resigned("")
        if lease is not None and self.random.random() < 0.5:
            self.after(self.delay(), self.serve, replica, "", 0.0, lease)
        self.candidates[replica] = Candidate(f"{candidate.me}'", TERMS)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=True))
def test_never_two_lead_and_after_all_trouble_one_does(random: Random) -> None:
    world = World(random)
    world.run(TROUBLE)
    world.faulty = False
    world.run(TROUBLE + 30.0 + TERMS.duration + 3 * TERMS.retry)
    before = world.led
    world.run(TROUBLE + 200.0)
    assert any(c.leads(world.now(n)) for n, c in enumerate(world.candidates))
    assert world.led <= before + 1, "it goes from one to another for no reason"


def test_the_clocks_in_a_lease_are_nobodys_business() -> None:
    """One whose clock is a year ahead neither loses nor gains by it."""
    lease = Lease("a", 15.0, micro_time(0), micro_time(0), 0, "1")
    candidate = Candidate("b").observe(lease, 100.0)
    assert candidate.wanted(114.9, "2030") is None
    taken = candidate.wanted(115.0, "2030")
    assert taken == Lease("b", 15.0, "2030", "2030", 1, "1")


def test_a_lease_that_was_let_go_is_anybodys_at_once() -> None:
    leader = Candidate("a").won(Lease("a", 15.0, "t", "t", 0, "1"), 0.0, 0.1)
    assert leader.leads(5.0)
    quiet, lease = leader.resigned("later")
    assert not quiet.leads(5.0)
    assert lease is not None
    assert lease.holder == ""
    follower = Candidate("b").observe(replace(lease, version="2"), 5.0)
    assert follower.wanted(5.0, "now") == Lease("b", 15.0, "now", "now", 1, "2")


def test_what_is_written_is_read_again_as_the_same() -> None:
    lease = Lease("a", 15.0, micro_time(1), micro_time(2), 3, "7")
    assert Lease.read(lease.document("istio-system", "pilotfish-leader", {"a": "b"})) == lease
    assert Lease.read({"spec": {"leaseTransitions": "x", "leaseDurationSeconds": None}, "metadata": []}) == Lease()


@pytest.mark.parametrize("terms", [(15, 15, 2), (15, 10, 10), (15.5, 10, 2), (15, 10, 0)])
def test_terms_that_would_let_two_lead_are_refused(terms: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="retry < deadline < duration"):
        Terms(*terms)
