"""What Envoy makes of zones: a client's own gets all, or as much as leaves nobody with more than others.

The part of the client's workload that is in a zone is held against the part of the cluster's endpoints there. What a
zone can't take goes to the others, to each as far as it has more endpoints than clients.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/zone_aware
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints

from pilotfish.envoy.naming import LOCAL_CLUSTER
from pilotfish.explain.held import Held, Member

_LEAST: Final = 6
"""Envoy's `min_cluster_size`."""


def zone_shares(held: Held, cluster: Cluster, healthy: Iterable[Member], client: str) -> Mapping[str, float] | None:
    """By locality, what a client at this address asks of the cluster's first priority. None where all are asked alike.
    `healthy`: of that priority."""
    asked = cluster.common_lb_config.zone_aware_lb_config
    if not cluster.common_lb_config.HasField("zone_aware_lb_config"):
        return None
    if asked.HasField("routing_enabled") and not asked.routing_enabled.value:
        return None
    there = Counter(locality_of(group) for group, _ in healthy)
    if there.total() < (asked.min_cluster_size.value if asked.HasField("min_cluster_size") else _LEAST):
        return None
    fellows = held.endpoints_of(LOCAL_CLUSTER)
    here = Counter(locality_of(group) for group, _ in fellows)
    own = next((locality_of(group) for group, each in fellows if _address(each) == client), None)
    if own is None or len(there) < 2 or not there[own]:
        return None
    return _shared_out(own, _parts(there), _parts(here))


def _shared_out(own: str, there: Mapping[str, float], here: Mapping[str, float]) -> Mapping[str, float]:
    if there[own] >= here[own]:
        return {own: 1.0}
    stays = there[own] / here[own]
    spare = {each: max(0.0, part - here.get(each, 0.0)) for each, part in there.items() if each != own}
    total = sum(spare.values())
    return {own: stays, **{each: (1 - stays) * part / total for each, part in spare.items()}}


def _parts(counted: Counter[str]) -> Mapping[str, float]:
    return {each: number / counted.total() for each, number in counted.items()}


def locality_of(group: LocalityLbEndpoints) -> str:
    parts = (group.locality.region, group.locality.zone, group.locality.sub_zone)
    return "/".join(parts).rstrip("/")


def _address(member: LbEndpoint) -> str:
    address: str = member.endpoint.address.socket_address.address
    return address
