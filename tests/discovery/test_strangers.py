"""Proxies that accept, refuse, stall and leave, in any mixture: what they can't do to those that work."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.discovery.standing import standings
from pilotfish.model.sync import Sync
from tests.discovery.sidecars import Sidecar, World
from tests.manifests import service, virtual_service

SERVICES = service("one", "10.96.0.10", "10.0.0.7") + service("two", "10.96.0.11")
HONEST = 3


def mesh(generation: int) -> str:
    paths = (f"{{prefix: /one/{generation}}}", f"{{prefix: /two/{generation}}}")
    return SERVICES + virtual_service("one", paths[0]) + virtual_service("two", paths[1])


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(["refuses", "lies in part", "stalls", "accepts"])),
        st.tuples(st.just("leave"), st.integers(0, 3)),
        st.tuples(st.just("stall"), st.integers(0, 3)),
        st.tuples(st.just("change"), st.none()),
        st.tuples(st.just("some answer"), st.integers(1, 12)),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("time"), st.integers(1, 20)),
    ),
    max_size=14,
)


def stranger(name: str, manner: str) -> Sidecar:
    refuses = {"refuses": ("",), "lies in part": ("/one/",)}.get(manner, ())
    return Sidecar(name, refuses=refuses, is_silent=manner == "stalls")


@settings(max_examples=60)
@given(EVENTS)
def test_no_mixture_rolls_back_what_most_honest_ones_took_or_is_called_in_sync_when_it_is_not(
    events: list[tuple[str, object]],
) -> None:
    honest = [Sidecar(f"honest-{n}") for n in range(HONEST)]
    world = World(mesh(0))
    for sidecar in honest:
        world.connect(sidecar)
    world.settle()
    strangers: list[Sidecar] = []
    generation = 0
    for what, detail in events:
        if what == "come" and len(strangers) < HONEST - 1:
            strangers.append(stranger(f"stranger-{len(strangers)}", str(detail)))
            world.connect(strangers[-1])
        elif what in ("leave", "stall") and isinstance(detail, int) and detail < len(strangers):
            if what == "stall":
                strangers[detail].is_silent = True
            elif not world.is_gone(strangers[detail]):
                world.disconnect(strangers[detail])
        elif what == "change":
            generation += 1
            world.change(mesh(generation))
        elif what == "some answer" and isinstance(detail, int):
            world.step(detail)
        elif what == "time" and isinstance(detail, int):
            world.pass_time(detail)
        elif what == "settle":
            world.settle()
        assert not world.plane.quarantine.rejected
        is_true(world)
    world.settle()
    world.pass_time(4.0)
    assert all(sidecar.holds(f"/one/{generation}") and sidecar.holds(f"/two/{generation}") for sidecar in honest)
    assert not world.plane.quarantine.rejected
    assert world.plane.quarantine.is_idle
    assert world.plane.roster.is_told
    is_true(world)


def is_true(world: World) -> None:
    """What is called in sync is: the proxy has the very bytes."""
    lacking = {str(s.session.proxy) for s in world.sidecars if s.session is not None and not world.has_all(s)}
    if world.plane.is_settled:
        assert not lacking
    if not world.plane.roster.is_behind:
        green = {s.proxy for s in standings(world.plane) if not {Sync.STALE, Sync.REFUSED} & {*s.types.values()}}
        assert not green & lacking
