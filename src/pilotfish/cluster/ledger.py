"""What is to be written of many objects, and when: never what stands there already, never faster than a rate. Pure.

    want ─▶ Ledger ─take─▶ (object, Verdict) ─(written) wrote─▶ nothing more to do until it is another
                              └─(refused) failed─▶ again after a while

What keeps an object out of force goes first, then what has come to be good again, and then all else.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import inf
from typing import Final

from pilotfish.cluster.conditions import Verdict
from pilotfish.model import ObjectRef

RATE: Final = 10.0
"""Objects a second, in the long run."""
BURST: Final = 50.0
"""Objects at once, after a time of quiet."""
_ONE: Final = 1.0 - 1e-6
"""As what adds up to one is a little less."""
PATIENCE: Final = (1.0, 60.0)
"""Seconds until what failed is tried again: at first, and at the most."""


@dataclass(frozen=True, slots=True)
class _Failure:
    until: float
    pause: float


class Ledger:
    """Not for several threads. `now`: seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._wanted: dict[ObjectRef, Verdict] = {}
        self._written: dict[ObjectRef, Verdict] = {}
        self._due: dict[ObjectRef, None] = {}
        """Whose two differ."""
        self._failed: dict[ObjectRef, _Failure] = {}
        self._tokens = BURST
        self._at: float | None = None

    def want(self, verdicts: Mapping[ObjectRef, Verdict], held: Set[ObjectRef] = frozenset()) -> None:
        """All that there is to say, but of those that are `held` later. Of whom nothing is said any more is forgotten,
        once nothing bad stands there."""
        over = {ref: Verdict(0) for ref, verdict in self._written.items() if verdict.told}
        self._wanted = {**over, **verdicts}
        for known in (self._written, self._failed):
            for ref in known.keys() - self._wanted.keys():
                del known[ref]
        differ = (ref for ref, verdict in self._wanted.items() if self._written.get(ref) != verdict)
        self._due = {ref: None for ref in differ if ref not in held}

    def known(self, ref: ObjectRef) -> Verdict | None:
        """What stands there, as far as is known."""
        return self._written.get(ref)

    def take(self, now: float) -> tuple[ObjectRef, Verdict] | None:
        """The next to write, which counts; None if there is none now."""
        ready = [ref for ref in self._due if self._waits_until(ref) <= now]
        if not ready or self._refill(now) < _ONE:
            return None
        ref = min(ready, key=self._urgency)
        self._tokens -= 1.0
        return ref, self._wanted[ref]

    def wrote(self, ref: ObjectRef, verdict: Verdict) -> Verdict | None:
        """It stands there. Returns what stood there before, as far as is known."""
        before = self._written.get(ref)
        self._written[ref] = verdict
        self._failed.pop(ref, None)
        if self._wanted.get(ref) == verdict:
            self._due.pop(ref, None)
        return before

    def failed(self, ref: ObjectRef, now: float) -> None:
        first, most = PATIENCE
        before = self._failed.get(ref)
        pause = first if before is None else min(most, 2 * before.pause)
        self._failed[ref] = _Failure(now + pause, pause)

    def wake_at(self, now: float) -> float | None:
        """When `take` may give something again; None if there is nothing to give."""
        if not self._due:
            return None
        ready = min(map(self._waits_until, self._due))
        tokens = self._refill(now)
        return ready if tokens >= _ONE else max(ready, now + (1.0 - tokens) / RATE)

    def _waits_until(self, ref: ObjectRef) -> float:
        failure = self._failed.get(ref)
        return failure.until if failure is not None else -inf

    def _urgency(self, ref: ObjectRef) -> int:
        verdict, before = self._wanted[ref], self._written.get(ref)
        if verdict.keeps_out:
            return 0
        return 1 if before is not None and not before.is_good else 2

    def _refill(self, now: float) -> float:
        if self._at is not None:
            self._tokens = min(BURST, self._tokens + max(0.0, now - self._at) * RATE)
        self._at = now
        return self._tokens
