"""The resources in a real Envoy: all accepted, and traffic takes the way that they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.envoy.resources import resource_set
from tests.envoy.authority import Authority
from tests.envoy.conftest import Start
from tests.golden.cases import CASES, NAMES, read_case

MESH = """
apiVersion: v1
kind: Service
metadata: {name: webapp, namespace: vm}
spec:
  selector: {app: webapp}
  clusterIP: 10.96.0.8
  ports: [{name: http, port: 8889, targetPort: 9889}, {name: other, port: 7100}]
---
apiVersion: v1
kind: Pod
metadata: {name: webapp-0, namespace: vm, labels: {app: webapp}}
spec: {containers: [{name: app, command: [x]}]}
status: {podIP: 10.245.1.1}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: calculator, namespace: vm}
spec:
  hosts: [calculator.vm.svc.cluster.local]
  addresses: [10.96.0.7, "fd00:96::7"]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8888, name: http, protocol: HTTP}, {number: 7000, name: tcp, protocol: TCP}, {number: 9000, name: x}]
  endpoints: [{address: 10.245.1.2, labels: {version: v1}}, {address: "fd00:245::2", labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: calculator, namespace: vm}
spec:
  host: calculator.vm.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: calculator, namespace: vm}
spec:
  hosts: [calculator.vm.svc.cluster.local]
  http:
  - match: [{uri: {prefix: /v2}}]
    route: [{destination: {host: calculator.vm.svc.cluster.local, subset: v2}}]
  - match: [{uri: {prefix: /nowhere}}]
    route: [{destination: {host: nobody.vm.svc.cluster.local}}]
  - route: [{destination: {host: calculator.vm.svc.cluster.local, subset: v1}}]
"""


def test_envoy_takes_every_resource_and_warns_of_nothing(start: Start) -> None:
    start(MESH)


def test_traffic_takes_the_way_that_the_resources_say(start: Start) -> None:
    live = start(MESH)
    live.start_app(live.peer, "10.245.1.2", 8888, "v1")
    live.start_app(live.peer, "fd00:245::2", 8888, "v2")
    live.start_app(live.peer, "10.245.1.2", 7777, "unknown")
    live.start_app(live.netns, "10.245.1.1", 9889, "webapp")
    live.start_app(live.netns, "fd00:245::1", 9889, "webapp6")
    live.start_app(live.netns, "10.245.1.1", 9999, "stray")
    pod, peer, host = live.netns, live.peer, "calculator.vm:8888"
    for what, netns, address, port, name, path, answer in (
        ("the default route", pod, "10.96.0.7", 8888, host, "/", "v1 GET / from 10.245.1.1"),
        ("a match, to an IPv6 endpoint", pod, "10.96.0.7", 8888, host, "/v2", "v2 GET /v2 from fd00:245::1"),
        ("a virtual IPv6 address", pod, "fd00:96::7", 8888, host, "/", "v1 GET / from 10.245.1.1"),
        ("a destination that is not there", pod, "fd00:96::7", 8888, host, "/nowhere", "no healthy upstream"),
        ("a port nobody declared", pod, "10.245.1.2", 7777, host, "/", "unknown GET / from 10.245.1.1"),
        ("a host nobody knows", pod, "10.245.1.2", 8888, "other", "/", "v1 GET / from 10.245.1.1"),
        ("inbound", peer, "10.245.1.1", 9889, "other", "/in", "webapp GET /in from 127.0.0.6"),
        ("inbound, IPv6", peer, "fd00:245::1", 9889, "other", "/in", "webapp6 GET /in from ::6"),
        ("inbound, not a service's port", peer, "10.245.1.1", 9999, "other", "/", "stray GET / from 127.0.0.6"),
    ):
        assert answer in live.request(netns, address, port, name, path), what


def test_old_long_and_broken_requests_are_answered(start: Start) -> None:
    """HTTP/1.0 is served, whether it says a host or not; what is too long, or no HTTP, is told so: never a reset."""
    live = start(MESH)
    live.start_app(live.peer, "10.245.1.2", 8888, "v1")
    live.start_app(live.netns, "10.245.1.1", 9889, "webapp")
    out, inward = (live.netns, "10.96.0.7", 8888), (live.peer, "10.245.1.1", 9889)
    host, close, long = "Host: calculator.vm", "Connection: close", "x" * 65536
    served, too_long = "HTTP/1.0 200 OK", "HTTP/1.1 431 Request Header Fields Too Large"
    for what, way, sent, answer in (
        ("HTTP/1.0", out, f"GET / HTTP/1.0\r\n{host}\r\n\r\n", served),
        ("HTTP/1.0 inbound", inward, "GET / HTTP/1.0\r\n\r\n", served),
        ("HTTP/1.0 without a host, to a pod", (live.netns, "10.245.1.2", 8888), "GET / HTTP/1.0\r\n\r\n", served),
        ("a long head", out, f"GET / HTTP/1.1\r\n{host}\r\n{close}\r\nX: {long}\r\n\r\n", too_long),
        ("a long head inbound", inward, f"GET / HTTP/1.1\r\n{host}\r\n{close}\r\nX: {long}\r\n\r\n", too_long),
        ("a long URL", out, f"GET /{long[:20000]} HTTP/1.0\r\n{host}\r\n\r\n", served),
        ("a URL that is too long", out, f"GET /{long[:63000]} HTTP/1.1\r\n{host}\r\n{close}\r\n\r\n", too_long),
        ("no HTTP, inbound", inward, "hello\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ):
        assert live.call(*way, sent).startswith(answer), what


@pytest.mark.parametrize("name", NAMES)
def test_envoy_takes_every_golden_case(start: Start, name: str, tmp_path: Path) -> None:
    proxy, graph, _ = read_case(CASES / name / "in.yaml")
    start.serving(resource_set(graph, proxy), proxy, secrets=Authority(tmp_path).secrets)
