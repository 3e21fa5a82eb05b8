"""Where the user's objects come from, for the node and for discovery alike.

    paths ─survey─▶ files ─reading─▶ bytes ─Files─▶ Batch ─config.desired.update─▶ DesiredState
                      ▲
    inotify ─debounce─┘

`Files` are those of this machine: they are read at first, and each again when it was saved. `Cluster` has an API server
tell it what there is and what changes, with an origin for each object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pilotfish.config.desired import News
from pilotfish.model import Problem


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed together, so that whoever hears of it can act at once."""

    news: News
    since: float
    """The loop's time when the first of it changed."""


class ObjectSource(Protocol):
    async def next(self) -> Batch:
        """At first all that there is. After that, each time, what changed since then, once it does.

        Raises MachineError, and only at first, if what it was given can't be a source.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """How it takes what it was given, where that is not as it stands."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """What keeps it just now from telling what changed."""
        ...

    def away_since(self) -> float | None:
        """Since when, in seconds since the epoch, it can't be told what changed; None if it can."""
        ...

    def close(self) -> None: ...
