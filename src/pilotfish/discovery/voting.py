"""What the proxies say of one version of a resource, and what follows from it.

One proxy may be wrong, or lie. The same bytes that most others took are not to blame.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Votes:
    """Node ids."""

    accepted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()
    """Those that were, or will be, sent it and have not answered."""

    def decide(self, is_over: bool) -> bool | None:
        """Whether it is accepted: where as many take it as refuse it, it is. None as long as those who have not
        answered could turn it, unless waiting is over; and where nobody has answered at all."""
        ayes, noes = len(self.accepted), len(self.refused)
        if not ayes and not noes:
            return None
        open_ = 0 if is_over else len(self.pending)
        if ayes >= noes + open_:
            return True
        return False if noes > ayes + open_ else None
