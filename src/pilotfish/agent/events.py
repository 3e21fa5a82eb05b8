"""What happens to a sidecar, and what it wants done about it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from pilotfish.agent.readiness import Stats


@dataclass(frozen=True, slots=True)
class Start:
    """Run Envoy from now on."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process that Spawn asked for exists."""

    epoch: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended, or could not be made."""

    epoch: int
    code: int
    """Minus the signal's number if a signal ended it."""
    message: str = ""
    """Why it could not be made."""


@dataclass(frozen=True, slots=True)
class Answered:
    """To Ask: Envoy's stats; None if it did not answer."""

    stats: Stats | None


@dataclass(frozen=True, slots=True)
class Restart:
    """Let another Envoy take over from the one that serves."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Let inbound work finish, for as long as `until` at most; said again, no longer than the sooner of them."""

    until: float
    earliest: float = 0.0
    """Not before, even if there is none."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End Envoy; by force at `deadline`."""

    deadline: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `timer` named has come."""


Event = Start | Spawned | Exited | Answered | Restart | Drain | Stop | Tick


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make an Envoy process. Answer: Spawned, then Exited; or Exited alone."""

    epoch: int
    """How many were made before it."""
    line: int
    """The epoch of the first of those that took over from one another, down to this one. They know each other."""
    number: int
    """How many of the line served before it: of the last of them it takes the listeners over. 0: there is none."""


@dataclass(frozen=True, slots=True)
class Ask:
    """GET /stats with this filter. Answer: Answered."""

    filter: str


@dataclass(frozen=True, slots=True)
class Post:
    """POST this path to Envoy's admin."""

    path: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send this signal to the process."""

    epoch: int
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep these ports, on which Envoy listens, open whenever it is away: who connects waits for the next one."""

    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Hold these ports no longer: who connects while Envoy is away is refused."""

    ports: tuple[int, ...]


Effect = Spawn | Ask | Post | Kill | Hold | Release
