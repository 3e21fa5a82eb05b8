"""One choice among candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pilotfish.explain.call import Failure
from pilotfish.explain.trace import Rejected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    taken: T | None = None
    """None: nothing matches; or, with `failure`, nobody can tell."""
    why: str = ""
    """What decided for it, or what it depends on that is not known."""
    rejected: tuple[Rejected, ...] = ()
    failure: Failure | None = None
