"""What a client sees of zones that Envoy compares: those of its own workload against those of the service."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import yaml

from pilotfish.explain.call import Call, Direction, HttpRequest
from pilotfish.explain.held import Held
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.trace import Branch, Stage, Tape
from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, POD4, WEBAPP, LiveEnvoy, Start

NETWORKING = "networking.istio.io/v1"
HERE = {"app": "webapp", "topology.istio.io/locality": "west.1"}
CLIENT = replace(type(WEBAPP).of_pod("webapp-0", "vm", WEBAPP.addresses, labels=HERE), discovers_itself=True)
OTHER_POD = "10.245.1.77"
SHOP, ADDRESS = "shop.example.com", "10.96.0.7"
NEAR = {"west/1": 3, "west/2": 3}
"""As many endpoints as Envoy asks for before it compares zones, by locality."""
REQUESTS = 300


def mesh(policy: str, places: dict[str, int], fellows: dict[str, str]) -> str:
    """`fellows`: where the pods of the client's workload are, by address."""
    listed = [place for place, number in places.items() for _ in range(number)]
    endpoints = [{"address": PEER4, "ports": {"http": 8001 + i}, "locality": p} for i, p in enumerate(listed)]
    entry = {
        "hosts": [SHOP],
        "addresses": [ADDRESS],
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": endpoints,
    }
    service = {"selector": {"app": "webapp"}, "clusterIP": "10.96.0.8", "ports": [{"name": "http", "port": 80}]}
    documents: list[dict[str, object]] = [
        {"apiVersion": NETWORKING, "kind": "ServiceEntry", "metadata": {"name": "shop"}, "spec": entry},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
        *(pod(f"webapp-{i}", address, place) for i, (address, place) in enumerate(fellows.items())),
    ]
    if policy:
        rule = {"host": SHOP, "trafficPolicy": yaml.safe_load(policy)}
        documents.append({"apiVersion": NETWORKING, "kind": "DestinationRule", "metadata": {"name": "s"}, "spec": rule})
    return yaml.safe_dump_all(documents)


def pod(name: str, address: str, place: str) -> dict[str, object]:
    labels = {"app": "webapp", "topology.istio.io/locality": place.replace("/", ".")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "app", "command": ["x"]}]},
        "status": {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def told(live: LiveEnvoy) -> dict[str, float]:
    """What is said of it, by locality."""
    tape, held = Tape(), Held.of_resources(live.ads.resources)
    call = Call(Direction.OUTBOUND, ADDRESS, 80, request=HttpRequest(host=SHOP), source=POD4)
    for _ in walk_proxy(Branch(tape), held, call):
        pass
    shares: dict[str, float] = {}
    for step in tape.trace().at(Stage.ENDPOINT):
        place = str(step.evidence["locality"])
        shares[place] = shares.get(place, 0) + step.probability
    return shares


def answers(live: LiveEnvoy, places: dict[str, int]) -> Counter[str]:
    listed = [place for place, number in places.items() for _ in range(number)]
    for i, place in enumerate(listed):
        live.start_app(live.peer, PEER4, 8001 + i, place)
    request = f"GET / HTTP/1.1\r\nHost: {SHOP}\r\nConnection: close\r\n\r\n"
    found = call_all(live.netns, ADDRESS, 80, [[(0, request)]] * REQUESTS)
    return Counter(next((place for place in places if place in text), text) for text, _ in found)


COMPARED = "{loadBalancer: {simple: RANDOM, zoneAwareLbSetting: {enabled: true}}}"
IN_BOTH = {POD4: "west/1", OTHER_POD: "west/2"}


@pytest.mark.parametrize(
    "policy",
    [COMPARED, COMPARED.replace("RANDOM", "ROUND_ROBIN"), "{loadBalancer: {zoneAwareLbSetting: {}}}"],
)
def test_a_client_asks_its_own_zone(start: Start, policy: str) -> None:
    live = start(mesh(policy, {**NEAR, "east/1": 3}, IN_BOTH), proxy=CLIENT)
    assert answers(live, {**NEAR, "east/1": 3}) == {"west/1": REQUESTS}
    assert told(live) == pytest.approx({"west/1": 1})


def test_what_is_too_much_for_its_zone_goes_to_others(start: Start) -> None:
    places = {"west/1": 2, "west/2": 6}
    live = start(mesh(COMPARED, places, IN_BOTH), proxy=CLIENT)
    seen = answers(live, places)
    # Half of the clients are here, and a quarter of the endpoints: half of the requests stay. Five deviations are 43.
    assert 107 <= seen["west/1"] <= 193, seen
    assert seen.total() == seen["west/1"] + seen["west/2"]
    assert told(live) == pytest.approx({"west/1": 0.5, "west/2": 0.5})


@pytest.mark.parametrize(
    ("policy", "fellows", "compares", "asked"),
    [
        ("", IN_BOTH, True, {"west/1", "west/2", "east/1"}),
        ("{loadBalancer: {backendUtilization: {}}}", IN_BOTH, True, {"west/1", "west/2", "east/1"}),
        ("{loadBalancer: {consistentHash: {httpHeaderName: x-a}}}", IN_BOTH, True, {"west/1", "west/2", "east/1"}),
        (COMPARED.replace("true", "false"), IN_BOTH, True, {"west/1", "west/2", "east/1"}),
        (COMPARED.replace("true", "true, minClusterSize: 7"), IN_BOTH, True, {"west/1", "west/2"}),
        (COMPARED, {POD4: "west/1"}, True, {"west/1", "west/2"}),
        (COMPARED, {}, True, {"west/1", "west/2"}),
        (COMPARED, IN_BOTH, False, {"west/1", "west/2"}),
    ],
    ids=["no rule", "by utilization", "by hash", "disabled", "few endpoints", "one zone", "no service", "not told to"],
)
def test_who_compares_no_zones_asks_all_alike(
    start: Start, policy: str, fellows: dict[str, str], compares: bool, asked: set[str]
) -> None:
    places = {**NEAR, "east/1": 3}
    live = start(mesh(policy, places, fellows), proxy=replace(CLIENT, discovers_itself=compares))
    seen = answers(live, places)
    assert seen.keys() == asked
    # Five standard deviations of a half, or a third.
    assert told(live) == pytest.approx(dict.fromkeys(asked, 1 / len(asked)))
    assert max(seen.values()) - min(seen.values()) <= 90, seen


def test_another_region_is_asked_when_the_client_has_none(start: Start) -> None:
    policy = "{loadBalancer: {zoneAwareLbSetting: {failover: [{from: west, to: north}]}}}"
    places = {"east/1": 1, "north/1": 1}
    assert answers(start(mesh(policy, places, IN_BOTH), proxy=CLIENT), places) == {"north/1": REQUESTS}
