"""What is easily got wrong where objects meet: who has what several ask for, and what becomes of what nobody has.

In a real Envoy, which refuses duplicates, as the client sees it; and what the loser is told.
"""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

import pytest

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.problems.across import problems
from pilotfish.model import Severity
from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, LiveEnvoy, Start
from tests.envoy.test_services import start_echo

APPS = {7001: "old", 7002: "young", 7003: "third"}


def service(name: str, address: str, port: str, number: int, target: int, age: int = 1) -> str:
    """One whose endpoint is at the peer."""
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm, creationTimestamp: "2026-01-0{age}T00:00:00Z"}}
spec: {{clusterIP: "{address}", ports: [{{name: {port}, port: {number}}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: {name}, namespace: vm}}
subsets: [{{addresses: [{{ip: {PEER4}}}], ports: [{{name: {port}, port: {target}}}]}}]
"""


def entry(name: str, hosts: str, target: int, age: int, more: str = "") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {name}, creationTimestamp: "2026-01-0{age}T00:00:00Z"}}
spec:
  hosts: {hosts}
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP, targetPort: {target}}}]
  endpoints: [{{address: {PEER4}}}]
  {more}
"""


def routed(name: str, host: str, http: str, age: int = 1) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm, creationTimestamp: "2026-01-0{age}T00:00:00Z"}}
spec: {{hosts: ["{host}"], http: {http}}}
"""


def started(start: Start, mesh: str, said: Set[str] = frozenset()) -> LiveEnvoy:
    live = start(mesh, problems=said)
    for port, name in APPS.items():
        live.start_app(live.peer, PEER4, port, name)
    return live


def told(mesh: str) -> set[tuple[str, str]]:
    """(object, reason) of all problems between objects that are more than hints."""
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in load(mesh, "in.yaml", "vm").manifests})
    return {(p.ref.name if p.ref else "", p.reason) for p in graph.get(problems) if p.severity != "info"}


def ask(live: LiveEnvoy, host: str, path: str = "/", address: str = "10.96.0.1", port: int = 8080) -> str:
    return live.request(live.netns, address, port, host, path)


def test_http_and_tcp_on_one_port(start: Start) -> None:
    """HTTP shares the wildcard's listener, TCP has one of its address; what is no HTTP at an HTTP address is passed on
    to it as it comes."""
    mesh = service("web", "10.96.0.1", "http", 8080, 7001) + service("raw", "10.96.0.2", "tcp", 8080, 8080)
    mesh += service("more", "10.96.0.3", "http", 8080, 7002)
    live = started(start, mesh)
    start_echo(live, live.peer, PEER4)
    assert "old GET /" in ask(live, "web")
    assert "young GET /" in ask(live, "more", address="10.96.0.1"), "requests are told apart by their host"
    assert live.call(live.netns, "10.96.0.2", 8080, "\x01 no request\n") == "heard \x01 no request\n"
    assert ask(live, "web", address="10.96.0.2").startswith("heard GET / HTTP/1.1"), "nobody reads what is TCP"
    assert told(mesh) == set()


def test_the_oldest_virtual_service_of_a_host_routes_it(start: Start) -> None:
    mesh = service("web", "10.96.0.1", "http", 8080, 7003)
    mesh += service("old", "10.96.0.2", "http", 8080, 7001) + service("young", "10.96.0.3", "http", 8080, 7002)
    mesh += routed("a-young", "web", "[{route: [{destination: {host: young}}]}]", 2)
    mesh += routed("z-old", "WEB.vm.svc.cluster.local.", "[{route: [{destination: {host: old}}]}]", 1)
    live = started(start, mesh)
    for host in ("web", "Web.VM", "web.vm.svc.cluster.local:8080", "web.vm.svc.cluster.local.", "10.96.0.1"):
        assert "old GET /" in ask(live, host), host
    assert told(mesh) == {("a-young", "ConflictingVirtualService")}


def test_of_objects_that_claim_a_host_the_service_then_the_oldest_has_it(start: Start) -> None:
    """No domain is in two virtual hosts, however it is written."""
    mesh = service("web", "10.96.0.1", "http", 8080, 7003, age=3)
    mesh += entry("one", "[App.example.com, web.vm.svc.cluster.local]", 7001, 1)
    mesh += entry("two", "[app.example.com., web.vm, '*.example.com']", 7002, 2)
    live = started(start, mesh)
    for host, expected in (
        ("app.example.com", "old"),
        ("APP.example.com:8080", "old"),
        ("other.example.com", "young"),
        ("web.vm", "third"),
        ("web.vm.svc.cluster.local", "third"),
    ):
        assert f"{expected} GET /" in ask(live, host), host
    assert told(mesh) == {
        ("one", "ConflictingHost"),
        ("two", "ConflictingHost"),
        ("two", "ShadowedHost"),
    }


def to(*destinations: str, path: str = "") -> dict[str, Any]:
    """A route; destinations as `HOST` or `HOST/SUBSET`, in equal shares."""
    share = 100 // len(destinations)
    named = [dict(zip(("host", "subset"), text.split("/"), strict=False)) for text in destinations]
    match = {"match": [{"uri": {"prefix": path}}]} if path else {}
    return {**match, "route": [{"destination": each, "weight": share} for each in named]}


LOST = [
    to("web/gone", path="/subset"),
    to("gone", path="/host"),
    to("web", "gone", path="/half"),
    to("web", path="/a"),
    to("young", path="/a/b"),
    to("web"),
    to("young", path="/never"),
]


def test_a_destination_that_is_not_there_keeps_its_share_and_routes_their_order(start: Start) -> None:
    mesh = service("web", "10.96.0.1", "http", 8080, 7001) + service("young", "10.96.0.2", "http", 8080, 7002)
    mesh += routed("routes", "web", json.dumps(LOST))
    live = started(start, mesh, {"UnusedRoute"})
    for path, expected in (
        ("/subset", "503 Service Unavailable"),
        ("/host", "503 Service Unavailable"),
        ("/a/b", "old GET /a/b"),
        ("/never", "old GET /never"),
    ):
        assert expected in ask(live, "web", path), path
    request = "GET /half HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    answers = [answer for answer, _ in call_all(live.netns, "10.96.0.1", 8080, [[(0, request)]] * 200)]
    lost = sum(" 503 " in answer for answer in answers)
    assert 65 <= lost <= 135, "half of 200, within five standard deviations"
    assert sum("old GET /half" in answer for answer in answers) == 200 - lost
    assert told(mesh) == {("routes", "UnknownSubset"), ("routes", "UnknownHost")}


@pytest.mark.parametrize("weights", [(0, 0), (-1, 1)])
def test_weights_that_divide_nothing_are_refused(weights: tuple[int, int]) -> None:
    shares = ", ".join(f"{{destination: {{host: {h}}}, weight: {w}}}" for h, w in zip("ab", weights, strict=True))
    loaded = load(routed("routes", "web", f"[{{route: [{shares}]}}]"), "in.yaml", "vm")
    assert {problem.severity for problem in loaded.problems} == {Severity.ERROR}
    assert not loaded.manifests
