"""Which object is found, told by a world in which some objects are bad."""

from __future__ import annotations

import itertools
from collections.abc import Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.discovery.quarantine import Quarantine
from pilotfish.discovery.rejection import Nack, Rejection
from pilotfish.discovery.voting import Votes
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import POD, SERVICE, VIRTUAL_SERVICE

ROUTE = "route"
PROXY = "web-0"


def ref(name: str, kind: Kind = VIRTUAL_SERVICE) -> ObjectRef:
    return kind.ref("vm", name)


class World:
    """One resource made of all objects. A proxy accepts it if no bad object is in use."""

    def __init__(self, bad: set[ObjectRef], owners: set[ObjectRef], unproven: set[ObjectRef]) -> None:
        self.bad = bad
        self.owning = owners
        self.out: set[ObjectRef] = set()
        self.fresh = unproven
        self.generation = 0
        self.accepted: dict[str, str] = {}
        """By proxy."""
        self.refused: dict[str, str] = {}
        self.offered: list[str] = []
        self.quarantine = Quarantine(self)

    # Probed

    def exclude(self, ref: ObjectRef) -> None:
        self.out.add(ref)

    def readmit(self, ref: ObjectRef) -> None:
        self.out.discard(ref)

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        return f"{self.generation}:" + ",".join(sorted(r.name for r in self.owning - self.out))

    def votes(self, type_url: str, name: str, version: str, but: Set[str]) -> Votes:
        """Only those who have answered it count; nobody else is waited for."""
        accepted = frozenset(proxy for proxy, held in self.accepted.items() if held == version)
        refused = frozenset(proxy for proxy, said in self.refused.items() if said == version)
        return Votes(accepted - but, refused - but)

    def gathers(self, now: float) -> bool:
        return False

    def owners(self, ref: ObjectRef, rejection: Rejection) -> Set[ObjectRef]:
        return self.owning

    def unproven(self) -> dict[ObjectRef, int]:
        return dict.fromkeys(self.fresh, 1)

    # The proxy

    def answer(self, proxy: str = PROXY) -> None:
        """What the proxy says to the resource that it gets now."""
        version = self.version(proxy, ROUTE, "r")
        assert version is not None
        if version == self.accepted.get(proxy):
            return
        self.offered.append(version)
        if self.bad & (self.owning - self.out):
            self.refuse(Nack(proxy, ROUTE, "r", version, tuple(sorted(self.owning)), "no"))
        else:
            self.accepted[proxy] = version
            self.quarantine.review(0.0)

    def refuse(self, nack: Nack) -> None:
        self.refused[nack.proxy] = nack.version
        self.quarantine.refused(nack)
        self.quarantine.review(0.0)

    def settle(self) -> None:
        """The proxy is sent what changed until nothing changes any more."""
        for _ in range(100):
            before = self.version(PROXY, ROUTE, "r")
            self.answer()
            if self.version(PROXY, ROUTE, "r") == before and self.quarantine.is_idle:
                return
        raise AssertionError(f"it never ends: {self.offered[-6:]}")


A, B, C = ref("a"), ref("b"), ref("c")


def test_one_changed_object_is_found_at_once() -> None:
    world = World(bad={A}, owners={A, B}, unproven={A})
    world.accepted[PROXY] = "0:b"
    world.answer()
    assert set(world.quarantine.rejected) == {A}
    assert world.quarantine.is_idle, "the proxy has what is in force now, so nothing is to be waited for"
    assert world.quarantine.rejected[A].proxies == {PROXY}
    assert world.out == {A}


@given(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_all_that_are_bad_are_found_and_no_other(bad: set[int], changed: set[int]) -> None:
    owners = [ref(str(n)) for n in range(5)]
    rejected = {owners[n] for n in bad}
    world = World(rejected, set(owners), {owners[n] for n in bad | changed})
    world.settle()
    assert set(world.quarantine.rejected) == rejected
    assert world.out == rejected
    assert not world.quarantine.unexplained


def test_after_a_restart_all_of_istios_kinds_are_candidates() -> None:
    world = World(bad={B}, owners={A, B, C, ref("web", SERVICE)}, unproven=set())
    world.settle()
    assert set(world.quarantine.rejected) == {B}


def test_istios_kinds_are_tried_before_services_and_pods() -> None:
    service, pod = ref("a", SERVICE), ref("a", POD)
    world = World(bad={B}, owners={service, pod, B}, unproven={service, pod, B})
    world.answer()
    assert world.out == {B}


def test_another_proxy_that_refuses_the_same_is_noted() -> None:
    world = World(bad={A}, owners={A, B}, unproven={A})
    world.accepted[PROXY] = "0:b"
    nack = Nack("web-1", ROUTE, "r", "0:a,b", (A, B), "no")
    world.answer()
    world.refuse(nack)
    assert world.quarantine.rejected[A].proxies == {PROXY, "web-1"}


def test_a_changed_object_is_offered_again() -> None:
    world = World(bad={A}, owners={A, B}, unproven={A})
    world.settle()
    world.bad, world.generation = set(), 1
    world.quarantine.changed([A])
    assert not world.out
    world.settle()
    assert not world.quarantine.rejected


@pytest.mark.parametrize("steps", range(4))
def test_a_change_in_the_middle_of_a_search(steps: int) -> None:
    world = World(bad={A, B}, owners={A, B, C}, unproven={A, B, C})
    for _ in range(steps):
        world.answer()
    world.bad, world.generation = {B}, 1
    world.quarantine.changed([A])
    world.settle()
    assert set(world.quarantine.rejected) == {B}


@pytest.mark.parametrize("steps", range(4))
def test_the_proxy_that_refuses_leaves_in_the_middle_of_a_search(steps: int) -> None:
    world = World(bad={A, B}, owners={A, B, C}, unproven={A, B, C})
    for _ in range(steps):
        world.answer()
    world.quarantine.left(PROXY)
    world.settle()
    assert set(world.quarantine.rejected) == {A, B}


@pytest.mark.parametrize("added", [False, True])
def test_what_was_refused_for_another_is_offered_again_with_it(added: bool) -> None:
    world = World(bad={A}, owners={A, B}, unproven={A})
    world.settle()
    world.bad, world.generation = set(), 1
    world.owning |= {C}
    world.quarantine.changed([C if added else B])
    world.settle()
    assert not world.quarantine.rejected


def test_what_is_of_no_weight_or_of_nothing_that_was_refused_offers_nothing_again() -> None:
    world = World(bad={A}, owners={A, B}, unproven={A})
    world.settle()
    world.bad = set()
    world.quarantine.changed([C, ref("web-0", POD)])
    assert set(world.quarantine.rejected) == {A}


def test_what_was_refused_before_is_tried_first() -> None:
    world = World(bad={A}, owners={A, B, C}, unproven={A})
    world.settle()
    world.generation, world.offered = 1, []
    world.fresh = {A, B, C}
    world.quarantine.changed([B])
    world.settle()
    assert world.offered == ["1:a,b,c", "1:b,c"]
    assert set(world.quarantine.rejected) == {A}


def test_a_refusal_that_no_object_explains_is_kept_until_something_changes() -> None:
    world = World(bad={ref("the mesh configuration")}, owners={A, ref("the mesh configuration")}, unproven={A})
    world.owning = {A}
    nack = Nack(PROXY, ROUTE, "r", "0:a", (), "no")
    world.refuse(nack)
    assert list(world.quarantine.unexplained) == [(ROUTE, "r")]
    assert world.quarantine.is_idle
    assert not world.out
    world.quarantine.changed([B])
    assert not world.quarantine.unexplained


def test_every_order_of_two_proxies_answers() -> None:
    for order in itertools.product(("web-0", "web-1"), repeat=3):
        world = World(bad={A}, owners={A, B}, unproven={A, B})
        for proxy in order:
            world.answer(proxy)
        world.settle()
        assert set(world.quarantine.rejected) == {A}
