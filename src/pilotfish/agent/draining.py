"""When so little inbound work is under way (`intake.Intake.count_active`) that Envoy may stop.

Every connection counts, an idle one, too. Peers in the mesh close theirs once they know that the pod leaves. A client
from outside knows nothing: it learns it from the `connection: close` of its next answer, and that request must find
the app still there.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/draining
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

QUIET: Final = 0.1
"""Seconds without inbound work that count as drained: a peer that learns late that we leave may still send some."""


@dataclass(frozen=True, slots=True)
class Draining:
    """One drain under way. Times are those of the machine's clock."""

    since: float
    until: float
    """It ends here, whatever is still under way."""
    active: int | None = None
    quiet_since: float | None = None
    over: bool = False

    def observe(self, active: int | None, now: float) -> Draining:
        """After Envoy told `active`, or the time went by."""
        quiet_since = (now if self.quiet_since is None else self.quiet_since) if active == 0 else None
        quiet = quiet_since is not None and now - quiet_since >= QUIET
        return Draining(self.since, self.until, active, quiet_since, self.over or quiet or now >= self.until)
