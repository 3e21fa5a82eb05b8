"""What a client sees of localities: who is asked, in what share, and what happens when the near ones fail."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, WEBAPP, LiveEnvoy, Start
from tests.envoy.levels import LEVELS, RULE, service
from tests.waiting import wait_until

NETWORKING = "networking.istio.io/v1"
LABELS = {"app": "webapp", "topology.kubernetes.io/region": "west", "topology.kubernetes.io/zone": "1"}
DISTRIBUTED = "{loadBalancer: {localityLbSetting: {distribute: [{from: west/*, to: {west/2: 80, east: 20}}]}}}"
EJECTING = (
    "{outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 60s, maxEjectionPercent: 100}}"
)
GOLDEN = WEBAPP.of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels={**LABELS, "tier": "gold"})
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


def answers(live: LiveEnvoy, requests: int, header: str = "x-none: 1") -> Counter[str]:
    text = f"GET / HTTP/1.1\r\nHost: shop.example.com\r\n{header}\r\nConnection: close\r\n\r\n"
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
    live = start(text, proxy=GOLDEN)
    for port, place in PLACES.items():
        live.start_app(live.peer, PEER4, port, place)
    assert set(answers(live, 30)) == first
    if len(first) == 1:
        answers(live, 1, "x-answer: 500")
        # Envoy puts what happens within a second together (`update_merge_window`).
        wait_until(f"{then} are asked", lambda: set(answers(live, 30)) == then)


FAR = {8001: "south/1", 8002: "north/1", 8003: "east/1"}
"""None is near. Only the last is gold."""
OUTLIERS = "outlierDetection: {consecutive5xxErrors: 9}"
ALL_FAR = frozenset(FAR.values())
SETTINGS = {
    "nothing": ("", ALL_FAR),
    "distribute": ("distribute: [{from: west, to: {north: 100}}]", {"north/1"}),
    "failover": ("failover: [{from: west, to: south}]", {"south/1"}),
    "priority": ("failoverPriority: [tier=gold]", {"east/1"}),
    "disabled": ("failoverPriority: [tier=gold], enabled: false", ALL_FAR),
}
"""And who is asked."""


def setting(name: str) -> str:
    """A traffic policy."""
    stated, _ = SETTINGS[name]
    return f"{OUTLIERS}, loadBalancer: {{localityLbSetting: {{{stated}}}}}" if stated else OUTLIERS


def levelled(services: dict[str, tuple[str, str]]) -> str:
    """Services, each with a traffic policy at a level, at 10.96.2.1 and so on."""
    endpoints = [
        f"address: {PEER4}, ports: {{port: {port}}}, locality: {place}, labels: {{tier: {tier}}}"
        for (port, place), tier in zip(FAR.items(), ("tin", "tin", "gold"), strict=True)
    ]
    return "".join(
        service(level, name, f"10.96.2.{index}", policy, endpoints)
        for index, (name, (level, policy)) in enumerate(services.items(), 1)
    )


def start_far(start: Start, text: str) -> LiveEnvoy:
    live = start(text, proxy=GOLDEN)
    for port, place in FAR.items():
        live.start_app(live.peer, PEER4, port, place)
    return live


def who_answers(live: LiveEnvoy, name: str, index: int) -> frozenset[str]:
    # Of three places one is left out of 40 answers once in ten million times.
    found = (live.request(live.netns, f"10.96.2.{index}", 80, f"{name}.example.com") for _ in range(40))
    return frozenset(answer.rpartition(" GET ")[0].splitlines()[-1] for answer in found)


def test_what_is_near_at_every_level(start: Start) -> None:
    services = {f"{name}-{level}": (level, setting(name)) for level in LEVELS for name in SETTINGS}
    live = start_far(start, levelled(services))
    found = {name: who_answers(live, name, index) for index, name in enumerate(services, 1)}
    assert found == {f"{name}-{level}": places for level in LEVELS for name, (_, places) in SETTINGS.items()}


def test_what_is_near_where_the_mesh_says_it(start: Start) -> None:
    """Of a service whose rule does not."""
    services = {"open": (RULE, OUTLIERS), "stated": (RULE, setting("failover"))}

    def mesh(name: str) -> str:
        stated, _ = SETTINGS[name]
        config = f'data: {{mesh: "localityLbSetting: {{{stated}}}"}}'
        head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}"
        return f"{head}\n{config}\n---\n{levelled(services)}"

    live = start_far(start, mesh("nothing"))
    found = {}
    for name in SETTINGS:
        live.update(mesh(name), GOLDEN)
        found[name] = [who_answers(live, "open", 1), who_answers(live, "stated", 2)]
    assert found == {name: [places, {"south/1"}] for name, (_, places) in SETTINGS.items()}


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
EVERYWHERE = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx, backoff: 1ms, retryRemoteLocalities: true}"}
"""


def test_retries_go_further_where_it_is_asked_for(start: Start) -> None:
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=LABELS)
    service = mesh("{outlierDetection: {consecutive5xxErrors: 1000}}")
    live = start(service + ROUTED, proxy=proxy)
    for port, place in PLACES.items():
        live.start_app(live.peer, PEER4, port, place)

    def ask(path: str) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nx-answer: 500\r\nConnection: close\r\n\r\n"
        assert "500 Internal" in live.call(live.netns, "10.96.0.7", 80, request)

    ask("/far")
    ask("/near")
    live.update(service + EVERYWHERE, proxy)
    ask("/mesh")
    seen = {place: live.request(live.peer, PEER4, port, "seen", "/seen") for port, place in PLACES.items()}
    # Two tries each, the nearest first, or all at the nearest.
    for path in ("/far", "/mesh"):
        assert {place: text.count(path) for place, text in seen.items()} == {"west/1": 2, "west/2": 2, "east/1": 2}
    assert {place: text.count("/near") for place, text in seen.items()} == {"west/1": 6, "west/2": 0, "east/1": 0}


DISTRIBUTION = "networking.istio.io/traffic-distribution"
PODS = {8001: ("1", "here"), 8002: ("1", "there"), 8003: ("2", "here")}
"""The zone of each pod, and its subzone and node, by the port on which its app listens."""
ALL, ZONE, NODE = frozenset(PODS), frozenset({8001, 8002}), frozenset({8001})
SERVICES = {
    "plain": ("vm", "", "", "", ALL),
    "close": ("vm", "PreferClose", "", "", ZONE),
    "zone": ("vm", "PreferSameZone", "", "", ZONE),
    "node": ("vm", "PreferSameNode", "", "", NODE),
    "annotated": ("vm", "", "preferSameNode", "", NODE),
    "field": ("vm", "PreferSameZone", "PreferSameNode", "", ZONE),
    "inherited": ("near", "", "", "", ZONE),
    "own": ("near", "", "PreferSameNode", "", NODE),
    "freed": ("near", "", "Any", "", ALL),
    "disabled": ("vm", "PreferSameNode", "", "{loadBalancer: {localityLbSetting: {enabled: false}}}", ALL),
    "unhealthy": ("vm", "PreferSameNode", "", "{loadBalancer: {localityLbSetting: {enabled: true}}}", ALL),
    "ejecting": ("vm", "PreferSameNode", "", "{outlierDetection: {consecutive5xxErrors: 9}}", NODE),
}
"""Namespace, trafficDistribution, its annotation, traffic policy, and the pods that answer."""


def test_whose_pods_a_service_prefers(start: Start) -> None:
    labels = {**LABELS, "topology.istio.io/subzone": "here", "kubernetes.io/hostname": "here"}
    proxy = type(WEBAPP).of_pod(WEBAPP.name, WEBAPP.namespace, WEBAPP.addresses, labels=labels)
    live = start(distributed(), proxy=proxy, problems={"UnusedField"})
    for port in PODS:
        live.start_app(live.peer, PEER4, port, str(port))
    asked = {name: f"{name}.{namespace}" for name, (namespace, *_) in SERVICES.items()} | {"entry": "entry.example.com"}
    # Of three pods one is left out of 40 answers once in ten million times.
    answered = {name: answering(live, f"10.96.1.{i}", host) for i, (name, host) in enumerate(asked.items(), 1)}
    assert answered == {name: pods for name, (*_, pods) in SERVICES.items()} | {"entry": ZONE}


def answering(live: LiveEnvoy, address: str, host: str) -> set[int]:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    found = call_all(live.netns, address, 80, [[(0, request)]] * 40)
    return {int(answer.rpartition(" GET ")[0].splitlines()[-1]) for answer, _ in found}


def distributed() -> str:
    documents: list[dict[str, object]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "near", "annotations": {DISTRIBUTION: "PreferSameZone"}},
        }
    ]
    for index, (name, (namespace, field, annotation, policy, _)) in enumerate(SERVICES.items(), 1):
        annotations = {DISTRIBUTION: annotation} if annotation else {}
        spec = {"clusterIP": f"10.96.1.{index}", "selector": {"app": "shop"}, "trafficDistribution": field}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        metadata = {"name": name, "namespace": namespace, "annotations": annotations}
        documents.append(
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {**spec, "ports": ports}}
        )
        if policy:
            rule = {"host": name, "trafficPolicy": yaml.safe_load(policy)}
            documents.append(
                {"apiVersion": NETWORKING, "kind": "DestinationRule", "metadata": {"name": name}, "spec": rule}
            )
    documents += (pod(namespace, port) for namespace in ("vm", "near") for port in PODS)
    entry = {
        "hosts": ["entry.example.com"],
        "addresses": [f"10.96.1.{len(SERVICES) + 1}"],
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": [
            {"address": PEER4, "ports": {"http": port}, "locality": f"west/{zone}"} for port, (zone, _) in PODS.items()
        ],
    }
    metadata = {"name": "entry", "annotations": {DISTRIBUTION: "PreferClose"}}
    documents.append({"apiVersion": NETWORKING, "kind": "ServiceEntry", "metadata": metadata, "spec": entry})
    return yaml.safe_dump_all(documents)


def pod(namespace: str, port: int) -> dict[str, object]:
    zone, node = PODS[port]
    labels = {
        "app": "shop",
        "topology.istio.io/locality": f"west.{zone}.{node}",
        "kubernetes.io/hostname": node,
    }
    container = {"name": "app", "command": ["x"], "ports": [{"name": "http", "containerPort": port}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"shop-{port}", "namespace": namespace, "labels": labels},
        "spec": {"containers": [container]},
        "status": {"podIP": PEER4, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
