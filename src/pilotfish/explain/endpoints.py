"""Which endpoints of a cluster a request may get, and with what probability.

Priorities by health, panic, weights and locality weights as Envoy documents them. What a hash decides is told as the
share of each endpoint: one client's requests all get the same one.
Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/priority and its
neighbours panic_threshold and locality_weight
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from pilotfish.explain.held import Held, Member
from pilotfish.explain.trace import Rejected
from pilotfish.explain.zones import locality_of, zone_shares
from pilotfish.model.addresses import host_port

_OVERPROVISIONED: Final = 140
"""Per cent: so much of a priority may be unhealthy before the next gets a part."""
_UNFIT: Final = (HealthStatus.UNHEALTHY, HealthStatus.DRAINING, HealthStatus.TIMEOUT)
"""What discovery says of an endpoint."""
_PANIC: Final = 50.0
"""Per cent of healthy endpoints below which health is not looked at (`healthy_panic_threshold`)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    address: str
    """IP, name, or path of a Unix socket."""
    port: int
    """0 for a Unix socket."""
    share: float
    """Of the cluster's requests. All add up to 1."""
    locality: str
    priority: int
    message: LbEndpoint

    def __str__(self) -> str:
        return _joined(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Candidates:
    chosen: tuple[Candidate, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    panic: bool = False
    unknown: bool = False
    """Nobody knows which there are."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A priority."""

    number: int
    members: tuple[Member, ...]
    healthy: tuple[Member, ...]


def find_endpoints(held: Held, cluster: Cluster, without: Set[int] = frozenset(), client: str = "") -> Candidates:
    """`without`: priorities that are not asked. `client`: its address, for its zone may count."""
    assignment = held.assignment(cluster)
    if assignment is None:
        return Candidates(unknown=True)
    groups = [group for group in _groups(held, cluster, assignment) if group.number not in without]
    lost = [
        Rejected(_name(member), ", ".join(_ills(held, cluster, member)))
        for group in groups
        for _, member in group.members
        if _ills(held, cluster, member)
    ]
    loads = _loads(groups, assignment.policy.overprovisioning_factor.value or _OVERPROVISIONED)
    chosen: list[Candidate] = []
    panic = False
    for group, load in zip(groups, loads, strict=True):
        if load <= 0:
            lost += [Rejected(_name(m), f"its priority {group.number} gets nothing") for _, m in group.healthy]
            continue
        in_panic = _in_panic(cluster, group)
        panic |= in_panic
        members = group.members if in_panic else group.healthy
        zones = zone_shares(held, cluster, members, client) if not group.number and not in_panic else None
        chosen += _shared(cluster, members, load, zones)
        lost += _in_other_zones(members, zones)
    return Candidates(tuple(chosen), tuple(lost), panic)


def _groups(held: Held, cluster: Cluster, assignment: ClusterLoadAssignment) -> Iterator[_Group]:
    for number in sorted({group.priority for group in assignment.endpoints}):
        listed = [group for group in assignment.endpoints if group.priority == number]
        members = tuple((group, member) for group in listed for member in group.lb_endpoints)
        yield _Group(number, members, tuple(m for m in members if not _ills(held, cluster, m[1])))


def _ills(held: Held, cluster: Cluster, member: LbEndpoint) -> tuple[str, ...]:
    """Why it gets no requests."""
    told = (HealthStatus.Name(member.health_status),) if member.health_status in _UNFIT else ()
    return (*held.ills(cluster).get(_name(member), ()), *told)


def _loads(groups: Sequence[_Group], factor: int) -> list[float]:
    """The part of each priority. Where all together can't take everything, what they can is scaled up."""
    able = [min(100.0, factor * len(group.healthy) / len(group.members)) if group.members else 0.0 for group in groups]
    total = min(100.0, sum(able))
    if not total:
        # Nobody is healthy: what there is of the first priority gets all, in panic.
        first = next((i for i, group in enumerate(groups) if group.members), -1)
        return [1.0 if i == first else 0.0 for i in range(len(groups))]
    left, loads = 100.0, list[float]()
    for each in able:
        part = min(left, each * 100.0 / total)
        loads.append(part / 100.0)
        left -= part
    return loads


def _in_panic(cluster: Cluster, group: _Group) -> bool:
    common = cluster.common_lb_config
    threshold = common.healthy_panic_threshold.value if common.HasField("healthy_panic_threshold") else _PANIC
    return bool(group.members) and len(group.healthy) * 100.0 / len(group.members) < threshold


def _in_other_zones(members: Iterable[Member], zones: Mapping[str, float] | None) -> Iterator[Rejected]:
    for group, member in members if zones is not None else ():
        if not (zones or {}).get(locality_of(group)):
            yield Rejected(_name(member), "the client's own zone has enough endpoints for its workload")


def _shared(
    cluster: Cluster, members: Sequence[Member], load: float, zones: Mapping[str, float] | None
) -> Iterator[Candidate]:
    by_locality = zones is not None or cluster.common_lb_config.HasField("locality_weighted_lb_config")
    groups: dict[object, list[Member]] = {}
    for group, member in members:
        key = locality_of(group) if zones is not None else id(group) if by_locality else None
        groups.setdefault(key, []).append((group, member))
    weights = [_group_weight(found[0][0], zones) if by_locality else 1 for found in groups.values()]
    total = sum(weights)
    for found, weight in zip(groups.values(), weights, strict=True):
        own = sum(_weight(member) for _, member in found)
        for group, member in found:
            share = load * (weight / total if total else 0.0) * _weight(member) / own
            if share > 0:
                address, port = address_of(member)
                yield Candidate(address, port, share, locality_of(group), group.priority, member)


def _group_weight(group: LocalityLbEndpoints, zones: Mapping[str, float] | None) -> float:
    return group.load_balancing_weight.value if zones is None else zones.get(locality_of(group), 0.0)


def _weight(member: LbEndpoint) -> int:
    return member.load_balancing_weight.value if member.HasField("load_balancing_weight") else 1


def address_of(member: LbEndpoint) -> tuple[str, int]:
    address = member.endpoint.address
    if address.HasField("pipe"):
        return address.pipe.path, 0
    return address.socket_address.address, address.socket_address.port_value


def _name(member: LbEndpoint) -> str:
    return _joined(*address_of(member))


def _joined(address: str, port: int) -> str:
    return host_port(address, port) if port or ":" in address else address
