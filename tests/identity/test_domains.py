"""Which trust domain is signed for, and which are taken, at each moment of a change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.identity.domains import LEFT, Domains, advance, change

SPREAD = 10.0
_NAMES = st.sampled_from(["a", "b", "c"])
_STEPS = st.lists(st.tuples(st.floats(0.1, 40), st.none() | _NAMES), max_size=12)


def test_a_new_one_is_taken_before_it_is_signed_and_the_old_one_for_a_while_after() -> None:
    state = change(Domains("old"), "new", 100, SPREAD)
    assert (state.current, state.taken, state.wake_at) == ("old", ("old", "new"), 110)
    assert advance(state, 109.9) == state
    state = advance(state, 110)
    assert (state.current, state.taken, state.wake_at) == ("new", ("new", "old"), 110 + LEFT)
    assert advance(state, 110 + LEFT) == Domains("new")


def test_who_changes_back_in_between_changes_nothing() -> None:
    state = change(change(Domains("old"), "new", 100, SPREAD), "old", 105, SPREAD)
    assert (state.current, state.taken) == ("old", ("old",))
    back = change(advance(change(Domains("old"), "new", 100, SPREAD), 110), "old", 112, SPREAD)
    assert advance(back, 122).taken == ("old", "new"), "each stands once"


@given(_STEPS)
def test_what_is_signed_has_been_taken_for_long_enough_and_what_was_signed_still_is(
    steps: list[tuple[float, str | None]],
) -> None:
    state, now = Domains("a"), 0.0
    taken_since, last_signed = {"a": -SPREAD}, {"a": 0.0}
    for pause, named in steps:
        until = now + pause
        while now < until:
            now = min(until, state.wake_at or until) if (state.wake_at or until) > now else until
            state = advance(state, now)
            taken_since = {each: taken_since.get(each, now) for each in state.taken}
            assert now - taken_since[state.current] >= SPREAD - 1e-6
            last_signed[state.current] = now
            assert all(each in state.taken for each, at in last_signed.items() if now - at < LEFT - 1e-6)
        if named is not None:
            state = change(state, named, now, SPREAD)
            taken_since = {each: taken_since.get(each, now) for each in state.taken}
