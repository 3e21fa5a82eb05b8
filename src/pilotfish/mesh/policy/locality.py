"""Which endpoints a client asks first, by where it and they are.

    localityLbSetting, outlierDetection ──lower──▶ LocalityBalancing ─┐
    zoneAwareLbSetting ───────────────────lower──▶         "         ─┤
                                          Place of the client ────────┼─arrange─▶ Groups by priority, with weights
                                          endpoints ──────────────────┘

Source: https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/ and
https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting (and
#ZoneAwareLoadBalancerSetting)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from pilotfish.config import istio
from pilotfish.mesh.scope import Place
from pilotfish.model.service import (
    HOSTNAME_LABEL,
    NETWORK_LABEL,
    TOPOLOGY_LABELS,
    Endpoint,
    Locality,
    Proximity,
    Service,
)
from pilotfish.model.traffic_policy import Distribution, LocalityBalancing, TrafficPolicy, ZoneBalancing


def _by_labels(*labels: str) -> LocalityBalancing:
    return LocalityBalancing(fails_over=True, labels=tuple((label, None) for label in labels))


NEAREST: Final = {
    Proximity.ZONE: _by_labels(NETWORK_LABEL, *TOPOLOGY_LABELS[:2]),
    Proximity.NODE: _by_labels(NETWORK_LABEL, *TOPOLOGY_LABELS, HOSTNAME_LABEL),
}
"""What a service itself asks for. Unlike what a rule says it holds without outlier detection."""


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one locality and priority."""

    locality: Locality
    members: tuple[Endpoint, ...]
    weight: int
    """Against that of the other groups of its priority."""
    priority: int = 0
    """0 is asked first. There are no gaps."""


def balancing_of(policy: TrafficPolicy, found: Service) -> LocalityBalancing | None:
    """A rule's own word counts before the service's, and that before the mesh's. Source: Istio's GetLocalityLbSetting,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/loadbalancer/loadbalancer.go"""
    return policy.locality if policy.states_locality or found.prefers is None else NEAREST[found.prefers]


def zones_of(policy: TrafficPolicy, found: Service) -> ZoneBalancing | None:
    """None: it does not matter in which zone of a region an endpoint is."""
    balancing = balancing_of(policy, found)
    return balancing.zones if balancing is not None else None


def lower_zones(source: istio.ZoneAwareLoadBalancerSetting) -> LocalityBalancing | None:
    """Regions are told apart without outlier detection, too: one of them may have no endpoint at all."""
    if source.enabled is False:
        return None
    return LocalityBalancing(
        fails_over=True,
        failover=tuple((each.from_, each.to) for each in source.failover),
        labels=tuple(map(_label, source.failover_priority)),
        zones=ZoneBalancing(source.min_cluster_size),
    )


def lower_locality(
    setting: istio.LocalityLoadBalancerSetting | None, has_outlier_detection: bool
) -> LocalityBalancing | None:
    """Without outlier detection nothing fails over: Envoy would never find an endpoint to be unhealthy."""
    source = setting or istio.LocalityLoadBalancerSetting()
    if source.enabled is False:
        return None
    if source.distribute:
        return LocalityBalancing(distribute=tuple(map(_distribution, source.distribute)))
    if not has_outlier_detection:
        return None
    return LocalityBalancing(
        fails_over=True,
        failover=tuple((each.from_, each.to) for each in source.failover),
        labels=tuple(map(_label, source.failover_priority)),
    )


def _distribution(source: istio.LocalityDistribution) -> Distribution:
    shares = ((Locality.parse(text), weight) for text, weight in source.to.items())
    return Distribution(Locality.parse(source.from_), tuple(sorted(shares, key=lambda share: _vagueness(share[0]))))


def _label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    return key, value if equals else None


def _vagueness(locality: Locality) -> tuple[int, Locality]:
    return sum(part in ("", "*") for part in (locality.region, locality.zone, locality.sub_zone)), locality


def arrange(endpoints: Iterable[Endpoint], balancing: LocalityBalancing | None, client: Place) -> tuple[Group, ...]:
    """By priority and locality."""
    found = tuple(endpoints)
    if balancing is None:
        return tuple(_by_locality(found, 0))
    if balancing.distribute:
        return _distributed(found, balancing, client.locality)
    if not balancing.fails_over:
        return tuple(_by_locality(found, 0))
    ranked: dict[tuple[int, int], list[Endpoint]] = {}
    for endpoint in found:
        ranked.setdefault(_rank(endpoint, balancing, client), []).append(endpoint)
    levels = enumerate(ranked[level] for level in sorted(ranked))
    return tuple(group for priority, members in levels for group in _by_locality(members, priority))


def _by_locality(endpoints: Iterable[Endpoint], priority: int) -> Iterator[Group]:
    found: dict[Locality, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.locality, []).append(endpoint)
    for locality in sorted(found):
        members = tuple(found[locality])
        yield Group(locality, members, sum(e.weight for e in members), priority)


def _distributed(endpoints: tuple[Endpoint, ...], balancing: LocalityBalancing, client: Locality) -> tuple[Group, ...]:
    groups = tuple(_by_locality(endpoints, 0))
    shares = next((each.shares for each in balancing.distribute if _matches(each.source, client)), None)
    if shares is None:
        return groups
    left = list(groups)
    chosen: list[Group] = []
    for pattern, share in shares:
        matching = [group for group in left if _matches(pattern, group.locality)]
        left = [group for group in left if group not in matching]
        total = sum(group.weight for group in matching)
        chosen += (Group(g.locality, g.members, ceil(share * g.weight / total)) for g in matching)
    return tuple(sorted(chosen, key=lambda group: group.locality))


def _matches(pattern: Locality, locality: Locality) -> bool:
    wanted = (pattern.region, pattern.zone, pattern.sub_zone)
    parts = (locality.region, locality.zone, locality.sub_zone)
    return all(each in ("", "*", part) for each, part in zip(wanted, parts, strict=True))


def _rank(endpoint: Endpoint, balancing: LocalityBalancing, client: Place) -> tuple[int, int]:
    by_labels = _rank_labels(endpoint, balancing, client)
    counts = balancing.failover or balancing.zones is not None or not balancing.labels
    return by_labels, _rank_locality(endpoint, balancing, client) if counts else 0


def _rank_locality(endpoint: Endpoint, balancing: LocalityBalancing, client: Place) -> int:
    """0: the same subzone, 1: zone, 2: region, 3: the region that comes next, 4: another. Where zones are balanced, all
    of the client's region is 0."""
    here, there = client.locality, endpoint.locality
    if here.region == there.region:
        return 0 if here == there or balancing.zones is not None else 1 if here.zone == there.zone else 2
    named = next((to for source, to in balancing.failover if source == here.region), None)
    return 3 if named is None or named == there.region else 4


def _rank_labels(endpoint: Endpoint, balancing: LocalityBalancing, client: Place) -> int:
    """How many of the labels are left from the first that differs."""
    theirs, own = _labels(dict(endpoint.labels), endpoint.locality), _labels(dict(client.labels), client.locality)
    for left, (key, value) in enumerate(balancing.labels):
        wanted = own.get(key, "") if value is None else value
        if theirs.get(key, "") != wanted:
            return len(balancing.labels) - left
    return 0


def _labels(labels: Mapping[str, str], locality: Locality) -> Mapping[str, str]:
    """With those of the node that the locality stands for."""
    parts = (locality.region, locality.zone, locality.sub_zone)
    return {**{key: part for key, part in zip(TOPOLOGY_LABELS, parts, strict=True) if part}, **labels}
