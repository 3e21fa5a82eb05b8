"""Envoy's stats → whether it is ready for traffic, or why not.

Ready means: discovery's first clusters and listeners were answered, every listener of them serves, and the workers run.
A first answer that Envoy refused in part counts, too: it keeps what was good of it, and one bad object of a user's must
not keep all new pods from starting.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/statistics (server, listener manager)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.agent.intake import Intake
from pilotfish.agent.taken import TAKEN_FILTER

_FILTER: Final = (
    r"^(cluster_manager\.cds|listener_manager\.lds)\.update_(success|rejected)$"
    r"|^listener_manager\.(workers_started|total_listeners_warming)$"
    r"|^server\.(state|parent_connections|uptime)$"
)
WHOSE: Final = "server.hot_restart_epoch"
"""How many took over from one another before the one that answers."""
_STATES: Final = {1: "Envoy is draining", 2: "Envoy is starting", 3: "Envoy waits for endpoints, routes or secrets"}
"""envoy.admin.v3.ServerInfo.State; 0 is LIVE."""

Stats = Mapping[str, int]


def parse_stats(text: str) -> dict[str, int]:
    """The counters and gauges of `/stats`: lines `name: value`. Histograms and texts are left out."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(": ")
        if name and value.isdecimal():
            values[name] = int(value)
    return values


def readiness_filter(intake: Intake) -> str:
    """Of the stats that `why_not_ready` looks at, and those of what was taken meanwhile."""
    return f"{_FILTER}|^{WHOSE}$|{intake.listener_filter}|{TAKEN_FILTER}"


def draining_filter(intake: Intake) -> str:
    """Of the stats that tell what inbound work is left, and whose."""
    return f"^{WHOSE}$|{intake.drain_filter}"


def why_not_ready(stats: Stats, was_ready: bool, intake: Intake) -> str:
    """ "" if Envoy is ready. A run that `was_ready` stays so while new listeners warm: the old ones serve meanwhile."""
    for kind, what in (("cluster_manager.cds", "clusters"), ("listener_manager.lds", "listeners")):
        if not stats.get(f"{kind}.update_success", 0) + stats.get(f"{kind}.update_rejected", 0):
            return f"discovery has not sent {what} yet"
    state = stats.get("server.state", 2)
    if state != 0:
        return _STATES.get(state, f"Envoy is in state {state}")
    if stats.get("listener_manager.workers_started", 0) != 1:
        return "Envoy's workers have not started"
    if was_ready:
        return ""
    if warming := stats.get("listener_manager.total_listeners_warming", 0):
        return f"{warming} listeners wait for their routes"
    required = (f"listener.0.0.0.0_{port}.downstream_cx_active" for port in intake.required)
    if not stats.get("listener_manager.lds.update_success", 0) and any(name not in stats for name in required):
        return "Envoy refused its listeners; its log says why"
    return ""
