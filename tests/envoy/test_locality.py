"""What a client sees of localities: who is asked, in what share, and what happens when the near ones fail."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.envoy.conftest import PEER4, WEBAPP, LiveEnvoy, Start
from tests.waiting import wait_until

LABELS = {"app": "webapp", "topology.kubernetes.io/region": "west", "topology.kubernetes.io/zone": "1"}
DISTRIBUTED = "{loadBalancer: {localityLbSetting: {distribute: [{from: west/*, to: {west/2: 80, east: 20}}]}}}"
EJECTING = (
    "{outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 60s, maxEjectionPercent: 100}}"
)
PLACES = {8001: "west/1", 8002: "west/2", 8003: "east/1"}


def mesh(policy: str) -> str:
    """A service with an endpoint in each place, all at one address."""
    endpoints = "\n".join(
        f"  - {{address: {PEER4}, ports: {{http: {port}}}, locality: {place}}}" for port, place in PLACES.items()
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: vm}}
spec:
  hosts: [shop.example.com]
  addresses: [10.96.0.7]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
{endpoints}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop, namespace: vm}}
spec: {{host: shop.example.com, trafficPolicy: {policy}}}
"""


def started(start: Start, policy: str) -> LiveEnvoy:
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=LABELS)
    live = start(mesh(policy), proxy=proxy)
    for port, place in PLACES.items():
        live.start_app(live.peer, PEER4, port, place)
    return live


def answers(live: LiveEnvoy, requests: int, header: str = "x-none: 1", host: str = "shop.example.com") -> Counter[str]:
    text = f"GET / HTTP/1.1\r\nHost: {host}\r\n{header}\r\nConnection: close\r\n\r\n"
    found = (live.call(live.netns, "10.96.0.7", 80, text) for _ in range(requests))
    return Counter(next((place for place in PLACES.values() if place in text), "none") for text in found)


def test_requests_are_shared_out_over_localities(start: Start) -> None:
    live = started(
        start, "{loadBalancer: {localityLbSetting: {distribute: [{from: west/*, to: {west/2: 80, east: 20}}]}}}"
    )
    seen = answers(live, 400)
    assert seen["west/1"] == 0
    assert 45 <= seen["east/1"] <= 120, seen  # 80 expected; five standard deviations are 40


def test_the_nearest_are_asked_until_they_fail(start: Start) -> None:
    live = started(start, EJECTING)
    assert answers(live, 30) == {"west/1": 30}
    for place in ("west/2", "east/1"):
        answers(live, 1, "x-answer: 500")  # whoever is asked now is ejected
        # Envoy puts what happens within a second together (`update_merge_window`).
        wait_until(f"{place} is asked", lambda place=place: answers(live, 1) == {place: 1})  # type: ignore[misc]
        assert answers(live, 30) == {place: 30}


@pytest.mark.parametrize(
    ("setting", "first", "then"),
    [
        ("failover: [{from: west, to: east}], enabled: true", {"west/1"}, {"west/2"}),
        ("failoverPriority: ['tier=gold', topology.kubernetes.io/region]", {"east/1"}, {"west/1", "west/2"}),
        ("enabled: false", {"west/1", "west/2", "east/1"}, {"west/1", "west/2", "east/1"}),
    ],
)
def test_a_rule_says_who_is_near(start: Start, setting: str, first: set[str], then: set[str]) -> None:
    policy = EJECTING.replace("{outlier", f"{{loadBalancer: {{localityLbSetting: {{{setting}}}}}, outlier")
    labels = {"west": "topology.kubernetes.io/region: west", "east": "tier: gold"}
    text = mesh(policy)
    for port, place in PLACES.items():
        text = text.replace(f"{port}}}", f"{port}}}, labels: {{{labels[place.partition('/')[0]]}}}")
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels={**LABELS, "tier": "gold"})
    live = start(text, proxy=proxy)
    for port, place in PLACES.items():
        live.start_app(live.peer, PEER4, port, place)
    assert set(answers(live, 30)) == first
    if len(first) == 1:
        answers(live, 1, "x-answer: 500")
        assert set(answers(live, 30)) == then


OTHERS = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: vm}
spec:
  host: shop.example.com
  trafficPolicy:
    loadBalancer: {localityLbSetting: {failover: [{from: west, to: north}]}}
    outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 60s, maxEjectionPercent: 100}
"""


def test_of_other_regions_the_named_one_comes_first(start: Start) -> None:
    text = mesh("{}").partition("---")[0].replace("west/1", "south/1").replace("west/2", "north/1") + OTHERS
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=LABELS)
    live = start(text, proxy=proxy)
    for port, place in zip(PLACES, ("west/1", "west/2", "east/1"), strict=True):
        live.start_app(live.peer, PEER4, port, place)
    assert answers(live, 30) == {"west/2": 30}, "which is in the north here"
    answers(live, 1, "x-answer: 500")
    assert answers(live, 30).keys() == {"west/1", "east/1"}


ROUTED = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec:
  hosts: [shop.example.com]
  http:
  - match: [{uri: {prefix: /far}}]
    retries: {attempts: 5, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}
    route: [{destination: {host: shop.example.com}}]
  - retries: {attempts: 5, retryOn: 5xx, backoff: 1ms}
    route: [{destination: {host: shop.example.com}}]
"""


def test_retries_go_further_where_it_is_asked_for(start: Start) -> None:
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=LABELS)
    live = start(mesh("{outlierDetection: {consecutive5xxErrors: 1000}}") + ROUTED, proxy=proxy)
    for port, place in PLACES.items():
        live.start_app(live.peer, PEER4, port, place)
    for path in ("/far", "/near"):
        request = f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nx-answer: 500\r\nConnection: close\r\n\r\n"
        assert "500 Internal" in live.call(live.netns, "10.96.0.7", 80, request)
    seen = {place: live.request(live.peer, PEER4, port, "seen", "/seen") for port, place in PLACES.items()}
    # Two tries each, the nearest first, or all at the nearest.
    assert {place: text.count("/far") for place, text in seen.items()} == {"west/1": 2, "west/2": 2, "east/1": 2}
    assert {place: text.count("/near") for place, text in seen.items()} == {"west/1": 6, "west/2": 0, "east/1": 0}


def test_a_service_may_prefer_the_pods_of_the_clients_zone(start: Start) -> None:
    def pod(number: int, zone: str) -> str:
        labels = f"app: shop, topology.kubernetes.io/region: west, topology.kubernetes.io/zone: '{zone}'"
        return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: shop-{number}, namespace: vm, labels: {{{labels}}}}}
spec: {{containers: [{{name: app, command: [x], ports: [{{name: http, containerPort: {number}}}]}}]}}
status: {{podIP: {PEER4}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""

    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=LABELS)
    live = start(SHOP + pod(8001, "1") + pod(8002, "2"), proxy=proxy)
    live.start_app(live.peer, PEER4, 8001, "west/1")
    live.start_app(live.peer, PEER4, 8002, "west/2")
    assert answers(live, 30, host="shop") == {"west/1": 30}


SHOP = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: vm}
spec:
  clusterIP: 10.96.0.7
  selector: {app: shop}
  trafficDistribution: PreferClose
  ports: [{name: http, port: 80, targetPort: http}]
"""
