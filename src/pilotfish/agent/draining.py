"""How much inbound work is still under way, from Envoy's stats; and when that is little enough to stop.

An idle HTTP connection is no work: a peer keeps it for its next request, and would keep a pod for as long. So what
counts is requests on HTTP connections, and connections otherwise.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/draining
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DRAIN_PATH: Final = "/drain_listeners?inboundonly&graceful"
DRAIN_FILTER: Final = r"^listener\.[^;]*_15006\.downstream_cx_active$|^http\.inbound_.*\.downstream_(cx|rq)_active$"
_LISTENERS: Final = "_15006.downstream_cx_active"
QUIET: Final = 0.1
"""Seconds without inbound work that count as drained: a peer that learns late that we leave may still send some."""


def count_active(stats: Mapping[str, int]) -> int | None:
    """Inbound requests and connections under way; None where Envoy does not tell (its stats matcher drops them)."""
    connections = [value for name, value in stats.items() if name.startswith("listener.") and name.endswith(_LISTENERS)]
    if not connections:
        return None
    http = {name: value for name, value in stats.items() if name.startswith("http.inbound_")}
    idle = sum(value for name, value in http.items() if name.endswith("downstream_cx_active"))
    requests = sum(value for name, value in http.items() if name.endswith("downstream_rq_active"))
    return max(0, sum(connections) - idle) + requests


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
