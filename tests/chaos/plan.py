"""What is done, and when: a seed makes an endless list of steps, always the same. Pure.

seed ─steps─▶ Step, Step, …      a step: one action, or some at once that don't concern the same
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.actions import Action

MOST_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    actions: tuple[Action, ...]
    """Begun together."""


def steps(seed: int, table: Sequence[type[Action]]) -> Iterator[Step]:
    """Without end. Each round deals every action of the table once, so that a short run sees most of them."""
    draw = random.Random(seed)
    number = 0
    while True:
        deck = [kind.draw(draw) for kind in draw.sample(table, len(table))]
        while deck:
            number += 1
            taken = _together(deck, draw.randint(1, MOST_AT_ONCE))
            deck = [action for action in deck if action not in taken]
            yield Step(number, taken)


def _together(deck: Sequence[Action], most: int) -> tuple[Action, ...]:
    """The first of the deck, and what goes with it."""
    taken: list[Action] = []
    for action in deck:
        if len(taken) < most and all(action.concerns.isdisjoint(other.concerns) for other in taken):
            taken.append(action)
    return tuple(taken)
