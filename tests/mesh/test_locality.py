"""Which endpoints are near, as seen from a client."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from pilotfish.config import istio
from pilotfish.config.mesh import MeshConfig
from pilotfish.mesh.policy.destination_rule import Defaults, lower_destination_rules
from pilotfish.mesh.policy.locality import arrange, balancing_of, lower_locality, lower_zones
from pilotfish.mesh.scope import Place
from pilotfish.model import kinds
from pilotfish.model.service import Endpoint, Locality, Proximity, Service
from pilotfish.model.traffic_policy import LocalityBalancing


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}, Locality("r", "z")),
        ({"failure-domain.beta.kubernetes.io/region": "r", "topology.istio.io/subzone": "s"}, Locality("r", "", "s")),
        ({"istio-locality": "a.b.c", "topology.kubernetes.io/region": "r"}, Locality("a", "b", "c")),
        ({"istio-locality": "a.b.c", "topology.istio.io/locality": "d.e"}, Locality("d", "e")),
        ({}, Locality()),
    ],
)
def test_where_a_workload_is_its_labels_say(labels: dict[str, str], expected: Locality) -> None:
    assert Locality.of_labels(labels) == expected


PLACES = ("west/1/a", "west/1/b", "west/2/a", "east/1/a", "north/1/a")


def endpoint(place: str, **labels: str) -> Endpoint:
    return Endpoint(place, 80, tuple(sorted(labels.items())), locality=Locality.parse(place))


def arranged(setting: str, place: str = "west/1/a", healthy: bool = True, **labels: str) -> dict[str, tuple[int, int]]:
    """(priority, weight) by address."""
    given = msgspec.yaml.decode(setting, type=istio.LocalityLoadBalancerSetting) if setting else None
    return placed(lower_locality(given, healthy), place, labels)


def placed(balancing: LocalityBalancing | None, place: str, labels: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    client = Place(Locality.parse(place), tuple(sorted(labels.items())))
    endpoints = [endpoint(each, tier="gold" if each.startswith("east") else "tin") for each in PLACES]
    groups = arrange(endpoints, balancing, client)
    return {member.address: (group.priority, group.weight) for group in groups for member in group.members}


ALIKE = dict.fromkeys(PLACES, (0, 1))


@pytest.mark.parametrize(
    ("setting", "labels", "priorities"),
    [
        ("{}", {}, (0, 0, 0, 1, 1)),
        ("{enabled: false, failover: [{from: west, to: north}]}", {}, (0, 0, 0, 0, 0)),
        ("{failover: [{from: west, to: north}]}", {}, (0, 0, 0, 2, 1)),
        ("{failover: [{from: south, to: north}]}", {}, (0, 0, 0, 1, 1)),
        ("{failoverPriority: [tier]}", {"tier": "gold"}, (1, 1, 1, 0, 2)),
        ("{failoverPriority: [tier=tin], failover: [{from: west, to: north}]}", {}, (0, 0, 0, 2, 1)),
    ],
)
def test_where_zones_are_compared_regions_come_one_after_another(
    setting: str, labels: dict[str, str], priorities: tuple[int, ...]
) -> None:
    given = msgspec.yaml.decode(setting, type=istio.ZoneAwareLoadBalancerSetting)
    assert placed(lower_zones(given), "west/1/a", labels) == dict(
        zip(PLACES, ((n, 1) for n in priorities), strict=True)
    )


def near_of(mesh: str, rule: str, prefers: Proximity | None) -> str:
    """`zones`, `labels` or `places`: by what endpoints are told apart; "" if they are not."""
    config = msgspec.yaml.decode(mesh, type=MeshConfig)
    settings = msgspec.yaml.decode(rule, type=istio.LoadBalancerSettings)
    traffic = istio.TrafficPolicy(load_balancer=settings, outlier_detection=istio.OutlierDetection())
    spec = istio.DestinationRuleSpec(host="a", traffic_policy=traffic)
    applied = lower_destination_rules([(kinds.DESTINATION_RULE.ref("vm", "a"), spec)], Defaults.of(config)).of("", 80)
    found = balancing_of(applied, Service(kinds.SERVICE.ref("vm", "a"), "a", "vm", (), prefers=prefers))
    return "" if found is None else "zones" if found.zones is not None else "labels" if found.labels else "places"


LOCALITY, OFF = "localityLbSetting: {}", "localityLbSetting: {enabled: false}"
ZONES, ZONES_OFF = "zoneAwareLbSetting: {}", "zoneAwareLbSetting: {enabled: false}"


@pytest.mark.parametrize(
    ("mesh", "rule", "prefers", "expected"),
    [
        ("{}", "{}", None, "places"),
        (f"{{{ZONES}}}", "{}", None, "zones"),
        (f"{{{ZONES}, {LOCALITY}}}", "{}", None, "zones"),
        (f"{{{ZONES_OFF}, {LOCALITY}}}", "{}", None, ""),
        (f"{{{ZONES}}}", f"{{{LOCALITY}}}", None, "places"),
        (f"{{{LOCALITY}}}", f"{{{ZONES}}}", None, "zones"),
        (f"{{{LOCALITY}}}", f"{{{ZONES_OFF}}}", None, ""),
        (f"{{{ZONES_OFF}}}", f"{{{ZONES}}}", None, "zones"),
        (f"{{{ZONES}}}", f"{{{OFF}}}", None, ""),
        (f"{{{ZONES}}}", "{}", Proximity.ZONE, "labels"),
        ("{}", f"{{{ZONES}}}", Proximity.ZONE, "zones"),
        ("{}", f"{{{LOCALITY}}}", Proximity.ZONE, "places"),
    ],
)
def test_whose_word_counts(mesh: str, rule: str, prefers: Proximity | None, expected: str) -> None:
    assert near_of(mesh, rule, prefers) == expected


@pytest.mark.parametrize(
    ("setting", "place", "healthy", "expected"),
    [
        ("", "west/1/a", False, ALIKE),
        ("{enabled: false}", "west/1/a", True, ALIKE),
        ("", "west/1/a", True, dict(zip(PLACES, ((0, 1), (1, 1), (2, 1), (3, 1), (3, 1)), strict=True))),
        # There are no gaps.
        ("", "north/9", True, {**dict.fromkeys(PLACES, (1, 1)), "north/1/a": (0, 1)}),
        ("", "", True, ALIKE),
        (
            "{failover: [{from: west, to: north}]}",
            "west/1/a",
            True,
            dict(zip(PLACES, ((0, 1), (1, 1), (2, 1), (4, 1), (3, 1)), strict=True)),
        ),
        (
            "{distribute: [{from: 'west/*', to: {west/1/*: 80, east: 20}}]}",
            "west/1/a",
            False,
            {"west/1/a": (0, 40), "west/1/b": (0, 40), "east/1/a": (0, 20)},
        ),
        ("{distribute: [{from: east, to: {east: 100}}]}", "west/1/a", False, ALIKE),
    ],
)
def test_by_place(setting: str, place: str, healthy: bool, expected: dict[str, tuple[int, int]]) -> None:
    assert arranged(setting, place, healthy) == expected


def test_by_labels_the_first_that_differs_decides() -> None:
    setting = "{failoverPriority: [tier, topology.kubernetes.io/region]}"
    assert arranged(setting, "west/1/a", tier="tin") == {
        **dict.fromkeys(PLACES[:3], (0, 1)),
        "north/1/a": (1, 1),
        "east/1/a": (2, 1),
    }
    assert arranged("{failoverPriority: [tier=gold]}") == {**dict.fromkeys(PLACES, (1, 1)), "east/1/a": (0, 1)}


def test_regions_tell_apart_what_the_labels_do_not() -> None:
    setting = "{failoverPriority: [tier], failover: [{from: west, to: north}]}"
    assert arranged(setting, tier="tin") == {
        **dict(zip(PLACES, ((0, 1), (1, 1), (2, 1)), strict=False)),
        "north/1/a": (3, 1),
        "east/1/a": (4, 1),
    }
