"""A plan follows from its seed alone, and what is done at once does not meet."""

from __future__ import annotations

from itertools import islice

import pytest
import yaml

from tests.chaos.actions import ACTIONS
from tests.chaos.bad import BAD
from tests.chaos.plan import Step, steps
from tests.chaos.world import LOAD


def first(seed: int, count: int = 200) -> list[Step]:
    return list(islice(steps(seed, ACTIONS), count))


def test_a_seed_makes_the_same_plan_again() -> None:
    assert first(7) == first(7)
    assert first(7) != first(8)


def test_a_short_plan_is_the_beginning_of_a_long_one() -> None:
    assert first(7, 200)[:20] == first(7, 20)


def test_each_round_has_every_action_once() -> None:
    dealt = [type(action) for step in first(7, len(ACTIONS)) for action in step.actions]
    assert sorted(t.__name__ for t in dealt[: len(ACTIONS)]) == sorted(t.__name__ for t in ACTIONS)


def test_what_is_done_at_once_does_not_concern_the_same() -> None:
    planned = first(7)
    for step in planned:
        concerned = [what for action in step.actions for what in action.concerns]
        assert len(concerned) == len(set(concerned)), step
    assert any(len(step.actions) > 1 for step in planned)


def test_what_is_allowed_is_of_flows_that_there_are() -> None:
    flows = {flow for of_pod in LOAD.values() for flow in of_pod}
    for step in first(7):
        for action in step.actions:
            assert {flow for flow, _ in action.allows().failures} <= flows, action


def test_those_whom_nothing_happens_to_are_never_allowed_to_fail() -> None:
    for step in first(7):
        for action in step.actions:
            for flow, _ in action.allows().failures:
                assert not flow.startswith(("steady", "moving")), action


@pytest.mark.parametrize("what", BAD)
def test_what_is_bad_carries_the_name_or_is_no_yaml(what: str) -> None:
    try:
        documents = list(yaml.safe_load_all(BAD[what]("x1")))
    except (yaml.YAMLError, RecursionError, UnicodeError):
        return
    assert all(document["metadata"]["name"] == "x1" for document in documents)
