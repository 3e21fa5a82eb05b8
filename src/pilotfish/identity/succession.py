"""Which authority signs, and whose certificates are trusted, while one follows another.

    change ──▶ next: trusted by all, signs nothing yet ──SPREAD──▶ signs; the one before: trusted until all that it
                                                                   signed has ended

Whoever is shown a certificate must already trust what signed it, and a certificate in use must stay trusted: so at no
moment is a connection refused. Where the roots stay the same, a new authority signs at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pilotfish.identity.authority import Authority, load_all, merge_roots
from pilotfish.model.private import reveal
from pilotfish.model.renewal import DEFAULT_TTL

SPREAD: Final = 10.0
"""Seconds in which a new root comes to every agent and its Envoy; agents that are there have it within a second."""


@dataclass(frozen=True, slots=True)
class Retired:
    """Roots that sign nothing any more."""

    roots: bytes
    until: float
    """When the last certificate below them ends, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Succession:
    """A value; each step gives another. Times are seconds since the epoch."""

    current: Authority
    next: Authority | None = None
    next_at: float = 0.0
    """When `next` begins to sign."""
    retired: tuple[Retired, ...] = ()
    longest: float = DEFAULT_TTL
    """Seconds that the longest certificate was signed for."""
    silent_until: float = 0.0
    """Before then nothing is signed: nobody knew the root of `current`, and the key of what signed before is gone."""

    @property
    def trusted(self) -> bytes:
        """All roots, PEM."""
        following = () if self.next is None else (self.next.roots,)
        return merge_roots((self.current.roots, *following, *(each.roots for each in self.retired)))

    @property
    def wanted(self) -> Authority:
        """Who signs in the end."""
        return self.next or self.current

    @property
    def wake_at(self) -> float | None:
        """When `advance` has something to do."""
        times = [each.until for each in self.retired]
        return min([*times, self.next_at] if self.next is not None else times, default=None)

    def signed_for(self, seconds: float) -> Succession:
        return self if seconds <= self.longest else replace(self, longest=seconds)


def change(state: Succession, authority: Authority, now: float, spread: float) -> Succession:
    """`authority` is to sign from now on, or as soon as it is trusted: SPREAD seconds later."""
    if authority == state.wanted:
        return state
    if authority == state.current:
        return replace(state, next=None)  # what would have followed has signed nothing
    known = merge_roots((state.current.roots, *(each.roots for each in state.retired)))
    if _trusts(known, authority.roots):
        return _follow(replace(state, next=authority), now)
    is_under_way = state.next is not None and _trusts(state.next.roots, authority.roots)
    return replace(state, next=authority, next_at=state.next_at if is_under_way else now + spread)


def resume(kept: Succession | None, authority: Authority, now: float, spread: float) -> Succession:
    """Where a start finds what an earlier one left, and `authority` is to sign. The key of one that was plugged in is
    not kept: if another is found in its place, that one follows at once, and signs when its root is trusted."""
    if kept is None:
        return Succession(authority)
    if kept.current.certificate == authority.certificate:
        return replace(kept, current=authority, next=None)
    changed = change(kept, authority, now, spread)
    if changed.next is None or reveal(kept.current.key):
        return advance(changed, now)
    return replace(_follow(changed, now), silent_until=changed.next_at)


def advance(state: Succession, now: float) -> Succession:
    """What is due at `now`."""
    if state.next is not None and now >= state.next_at:
        state = _follow(state, now)
    kept = tuple(each for each in state.retired if now < each.until)
    return state if kept == state.retired else replace(state, retired=kept)


def _follow(state: Succession, now: float) -> Succession:
    if state.next is None:
        return state
    past = state.retired
    if not _trusts(state.next.roots, state.current.roots):
        past = (*past, Retired(state.current.roots, now + state.longest))
    return replace(state, current=state.next, next=None, next_at=0.0, retired=past)


def _trusts(roots: bytes, others: bytes) -> bool:
    """Whether all of `others` are among `roots`."""
    known = load_all(roots)
    return all(each in known for each in load_all(others))
