"""What a slip of the pen may stand for, among long names that are mostly alike: hosts, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_PARTS = re.compile(r"[./]")


def closest(name: str, known: Iterable[str], like: float = 0.6) -> str:
    """The name that is most like it; "" for none. What both have in common, part by part from either end, does not
    count: that two hosts end with `default.svc.cluster.local` makes them no more alike.

    `like`: the share of letters in common that is enough: `wbe` and `web` have 0.67, `reviews` and `ratings` 0.43.
    """
    best, found = like, ""
    for other in sorted(known):
        likeness = _likeness(name, other, best)
        if likeness > best or (likeness == best and not found):
            best, found = likeness, other
    return found


def _likeness(one: str, other: str, wanted: float) -> float:
    """0 where it is less than `wanted`, and for what are no two spellings of one word."""
    mine, theirs = _PARTS.split(one.lower()), _PARTS.split(other.lower())
    while mine and theirs and mine[-1] == theirs[-1]:
        mine, theirs = mine[:-1], theirs[:-1]
    while mine and theirs and mine[0] == theirs[0]:
        mine, theirs = mine[1:], theirs[1:]
    matcher = SequenceMatcher(None, ".".join(mine), ".".join(theirs))
    # The first two are quick, and never less than the third.
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
    return matcher.ratio() if mine and theirs and all(bound() >= wanted for bound in bounds) else 0.0
