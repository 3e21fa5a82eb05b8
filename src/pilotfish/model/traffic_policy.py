"""How clients treat a service, between the users' APIs and Envoy: what DestinationRules come to.

    DestinationPolicy ─┬─ of the whole service ── PolicyByPort ── TrafficPolicy
                       └─ subsets ── Subset ───── PolicyByPort ── TrafficPolicy

All is resolved: what holds for a port of a subset stands in one TrafficPolicy, whoever said it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pilotfish.model.ref import ObjectRef
from pilotfish.model.values import Duration


class LoadBalancer(StrEnum):
    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    """The address that the client chose, whichever that is."""


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits of each proxy by itself; None is no limit, and the mesh's own `connect_timeout`."""

    max_connections: int | None = None
    connect_timeout: Duration | None = None
    max_pending_requests: int | None = None
    """That wait for a connection."""
    max_requests: int | None = None
    """That are under way."""
    max_retries: int | None = None
    """That are under way."""
    max_requests_per_connection: int | None = None
    idle_timeout: Duration | None = None


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an endpoint is left alone for a while. None is Envoy's default."""

    consecutive_5xx_errors: int
    """So many in a row eject it; 0 is never."""
    consecutive_gateway_errors: int
    """The same for 502, 503 and 504 alone."""
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int = 0
    """With fewer healthy endpoints than this the ejected ones are used all the same."""


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    load_balancer: LoadBalancer = LoadBalancer.LEAST_REQUEST
    connection_pool: ConnectionPool = ConnectionPool()
    outlier_detection: OutlierDetection | None = None


@dataclass(frozen=True, slots=True)
class PolicyByPort:
    default: TrafficPolicy = TrafficPolicy()
    ports: tuple[tuple[int, TrafficPolicy], ...] = ()
    """For the ports that have one of their own, by number."""

    def of(self, port: int) -> TrafficPolicy:
        return next((policy for number, policy in self.ports if number == port), self.default)


@dataclass(frozen=True, slots=True)
class Subset:
    name: str
    labels: tuple[tuple[str, str], ...]
    """Of its endpoints; sorted."""
    policy: PolicyByPort


@dataclass(frozen=True, slots=True)
class DestinationPolicy:
    """What clients apply to one host."""

    refs: tuple[ObjectRef, ...] = ()
    """Who says so, the most important first; none where nobody does."""
    policy: PolicyByPort = PolicyByPort()
    subsets: tuple[Subset, ...] = ()
    """By name."""

    def subset(self, name: str) -> Subset | None:
        return next((s for s in self.subsets if s.name == name), None)

    def labels(self, subset: str) -> tuple[tuple[str, str], ...]:
        """Which endpoints belong to a subset; all of them, if the name is ""."""
        found = self.subset(subset)
        return found.labels if found is not None else ()

    def of(self, subset: str, port: int) -> TrafficPolicy:
        """What holds for a port of a subset; of the whole service, if the name is ""."""
        found = self.subset(subset)
        return (found.policy if found is not None else self.policy).of(port)
