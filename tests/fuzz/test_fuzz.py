"""Whatever the types can hold is translated, and whatever they can't is a Problem: never an exception."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.model import Severity
from pilotfish.offline.reading import read
from pilotfish.offline.rendering import render
from pilotfish.offline.world import World, build
from tests.fuzz.mutation import VALUES, broken_texts, mutated
from tests.fuzz.objects import Document, right_objects
from tests.fuzz.profile import fuzzed
from tests.fuzz.worlds import BASE, GATEWAY, Written, hold, sent, worlds


@fuzzed(40)
@given(worlds(), st.randoms(use_true_random=False))
def test_what_is_right_is_translated_and_always_the_same(written: Written, random: Random) -> None:
    hold(written, lambda less: _translate(less, random.sample(less.objects, len(less.objects))))


def _translate(written: Written, shuffled: list[Document]) -> None:
    world = written.world()
    assert [str(p) for p in world.desired.problems if p.severity is Severity.ERROR] == []
    found = sent(world)
    render(found[GATEWAY.id])
    again = replace(written, objects=tuple(shuffled)).world()
    assert sent(again) == found
    assert _said(again) == _said(world)


@fuzzed(80)
@given(st.lists(mutated(right_objects()), min_size=1, max_size=3), st.one_of(st.just({}), mutated(st.just({})), VALUES))
def test_what_is_wrong_is_said(documents: list[object], mesh_config: object) -> None:
    """What of it is not wrong is translated."""
    _read_and_send("\n---\n".join(json.dumps(document) for document in (*BASE, *documents)), json.dumps(mesh_config))


@fuzzed(60)
@given(broken_texts())
def test_what_is_hardly_yaml_is_read_as_far_as_it_goes(text: str) -> None:
    _read_and_send(text, text)


def _read_and_send(text: str, mesh_config: str) -> None:
    world = build(read([("in.yaml", text)], mesh_config=("mesh.yaml", mesh_config)))
    sent(world)
    lines = text.count("\n") + 1
    for problem in world.problems:
        assert problem.reason
        assert problem.message
        assert str(problem).encode(errors="surrogatepass")
        assert problem.source is None or problem.source.file != "in.yaml" or 1 <= problem.source.line <= lines


def _said(world: World) -> set[str]:
    return {str(problem) for problem in world.problems}
