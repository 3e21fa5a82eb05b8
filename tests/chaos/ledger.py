"""Which failures a plan allows. Pure.

the actions' Allowances ┐
the load's Failures     ┴─judge─▶ the failures that are nobody's due
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    flow: str
    at: float
    """CLOCK_MONOTONIC."""
    bad: str
    """What the client saw."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one action may cost."""

    failures: tuple[tuple[str, int], ...] = ()
    """Of each flow that it concerns, how many requests or connections. A flow that is not named: none."""
    lateness: float = 0.0
    """Seconds by which changes may take effect later, and status be ready later."""


def judge(failures: Iterable[Failure], allowances: Iterable[Allowance]) -> tuple[Failure, ...]:
    """All the failures of those flows that have more than they are allowed together."""
    failures = tuple(failures)
    allowed: Counter[str] = Counter()
    for allowance in allowances:
        allowed.update(dict(allowance.failures))
    seen = Counter(failure.flow for failure in failures)
    return tuple(failure for failure in failures if seen[failure.flow] > allowed[failure.flow])
