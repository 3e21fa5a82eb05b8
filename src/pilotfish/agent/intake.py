"""Where traffic comes into an Envoy: what shows that it listens, what is held while it is away, what is drained.

A sidecar has its two captured ports, whatever its app serves. A gateway has those of its servers, which come and go
with the Gateways that select it; its own readiness and metrics are not among them. A machine's has those of each of its
pods, whose agents look after them.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin#post--drain_listeners
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.envoy.naming import counted_as
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import HEALTH_PORT, INBOUND_PORT, OUTBOUND_PORT, PROMETHEUS_PORT

_LISTENER: Final = r"^listener\.[^;]*_({})\.downstream_cx_active$"
_OWN: Final = (HEALTH_PORT, PROMETHEUS_PORT)
"""Listeners of the bootstrap: nobody's work comes by them."""


@dataclass(frozen=True, slots=True)
class Intake:
    ports: str
    """Of its listeners in Envoy's stats: a part of a regular expression."""
    inbound: str
    """The same of those that are drained."""
    required: tuple[int, ...]
    """Ports without which it has no listeners."""
    lasting: tuple[int, ...]
    """Ports that serve on while it is drained: the app still calls others."""
    drain_path: str
    waited: float = 1.0
    """Seconds for which who connects waits for an Envoy that ended. Ten times what a restart takes; after that it is
    better for a client to be refused, and to try another pod."""
    held: tuple[int, ...] = ()
    """Ports of which others know whether it has them: they are to be held whenever it serves."""

    @property
    def listener_filter(self) -> str:
        return _LISTENER.format(self.ports)

    @property
    def drain_filter(self) -> str:
        return _LISTENER.format(self.inbound)

    def listening(self, stats: Mapping[str, int]) -> tuple[int, ...]:
        """The ports of its listeners, sorted; those that it needs in any case."""
        found = {int(port) for port in _found(self.listener_filter, stats)}
        return tuple(sorted((found | {*self.required, *self.held}) - set(_OWN)))

    def count_active(self, stats: Mapping[str, int]) -> int | None:
        """Inbound connections, of both families; None where Envoy does not tell (its stats matcher drops them)."""
        found = _found(self.drain_filter, stats)
        active = [count for port, counts in found.items() if int(port) not in _OWN for count in counts]
        return sum(active) if active else None


def _found(pattern: str, stats: Mapping[str, int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, value in stats.items():
        if match := re.search(pattern, name):
            found.setdefault(match[1], []).append(value)
    return found


SIDECAR: Final = Intake(
    ports=f"{OUTBOUND_PORT}|{INBOUND_PORT}",
    inbound=str(INBOUND_PORT),
    required=(OUTBOUND_PORT, INBOUND_PORT),
    lasting=(OUTBOUND_PORT,),
    drain_path="/drain_listeners?inboundonly&graceful",
)
GATEWAY: Final = Intake(
    ports="[0-9]+", inbound="[0-9]+", required=(), lasting=(), drain_path="/drain_listeners?graceful"
)
NODE: Final = Intake(
    ports=str(HEALTH_PORT),
    inbound=str(HEALTH_PORT),
    required=(),
    lasting=(),
    drain_path="/drain_listeners?graceful",
    # Listeners of 100 pods take one to two seconds; and other pods of the machine wait for the same Envoy.
    waited=10.0,
    held=(OUTBOUND_PORT, INBOUND_PORT),
)
INTAKES: Final = {ProxyType.SIDECAR: SIDECAR, ProxyType.ROUTER: GATEWAY, ProxyType.NODE: NODE}


def inbound_listener(pod: str, namespace: str) -> str:
    """Of a pod that its machine's proxy serves, in Envoy's stats."""
    return f"listener.{counted_as(f'{pod}.{namespace}', INBOUND_PORT)}"


def connections_filter(listener: str) -> str:
    """Of the stats that `count_connections` looks at."""
    return rf"^{re.escape(listener)}\.downstream_cx_active$"


def count_connections(listener: str, stats: Mapping[str, int]) -> int:
    """Those of a listener that its Envoy may have let go of: then there are none."""
    return stats.get(f"{listener}.downstream_cx_active", 0)
