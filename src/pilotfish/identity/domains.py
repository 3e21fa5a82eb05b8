"""Which trust domain certificates are of, and whose are taken, while one follows another. Pure.

    change ──▶ next: taken by all, none is signed yet ──SPREAD──▶ signed; the one before: taken for LEFT more

As with roots (succession.py), at no moment is a connection refused. But the one before is not taken for as long as its
certificates are valid: policies that name it would hold for a day, and then no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

LEFT: Final = 30.0
"""Seconds in which every agent that reaches discovery has a certificate of the new one; they ask for it within two."""


@dataclass(frozen=True, slots=True)
class Domains:
    """A value; each step gives another. Times are seconds since the epoch."""

    current: str
    """Certificates are signed for it."""
    next: str = ""
    """"" if none follows."""
    next_at: float = 0.0
    past: tuple[tuple[str, float], ...] = ()
    """Those before, and until when each is taken."""

    @property
    def taken(self) -> tuple[str, ...]:
        """Each once."""
        found = (self.current, self.next, *(domain for domain, _ in self.past))
        return tuple(dict.fromkeys(domain for domain in found if domain))

    @property
    def wake_at(self) -> float | None:
        """When `advance` has something to do."""
        times = [until for _, until in self.past]
        return min([*times, self.next_at] if self.next else times, default=None)


def change(state: Domains, domain: str, now: float, spread: float) -> Domains:
    """Certificates are to be of `domain` as soon as it is taken by all: `spread` seconds from now."""
    if domain == state.current:
        return replace(state, next="")
    return state if domain == state.next else replace(state, next=domain, next_at=now + spread)


def advance(state: Domains, now: float) -> Domains:
    """What is due at `now`."""
    if state.next and now >= state.next_at:
        past = tuple(each for each in state.past if each[0] != state.next)
        state = Domains(state.next, past=(*past, (state.current, now + LEFT)))
    return replace(state, past=tuple(each for each in state.past if now < each[1]))
