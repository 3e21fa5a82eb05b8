"""What the control plane asks its driver to do, or tells it, in order. Those of a session's stream are among them."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish import ads
from pilotfish.discovery.admission import Refusal
from pilotfish.discovery.memory import Remembered
from pilotfish.discovery.session import ProxySession


@dataclass(frozen=True, slots=True)
class Failed:
    """A proxy's resources could not be computed, or, where no session is concerned, a change could not be taken in:
    which is a bug. Proxies keep what they have."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Settled:
    """Every proxy has acknowledged all that it should have."""

    took: float | None
    """Seconds since the change that led to it; None where there was none."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep this for the next start, in the place of what was kept."""

    remembered: tuple[Remembered, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End this session: what is to be said to its proxy."""

    session: ProxySession
    refusal: Refusal


Effect = ads.Effect | Disconnect | Failed | Settled | Remember
