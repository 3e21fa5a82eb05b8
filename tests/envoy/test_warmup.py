"""An endpoint that is new gets its full share only after a while."""

from __future__ import annotations

import time

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, WEBAPP, Start
from tests.waiting import wait_until

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app, namespace: vm}}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{endpoints}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app, namespace: vm}}
spec:
  host: app.example.com
  trafficPolicy:
    loadBalancer: {{simple: ROUND_ROBIN, warmup: {{duration: {seconds}s, minimumPercent: 5, aggression: 1}}}}
"""
SECONDS = 4
SENT = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"


def _resources(ports: tuple[int, ...]) -> ResourceSet:
    endpoints = ", ".join(f"{{address: {PEER4}, ports: {{http: {port}}}}}" for port in ports)
    graph = Graph()
    loaded = load(MESH.format(endpoints=endpoints, seconds=SECONDS), "in.yaml", "vm")
    assert not loaded.problems
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    return resource_set(graph, WEBAPP)


def test_a_new_endpoint_is_warmed_up(start: Start) -> None:
    live = start.serving(_resources((8001,)))
    for port in (8001, 8002):
        live.start_app(live.peer, PEER4, port, f"app{port}")

    def share() -> float:
        answers = [answer for answer, _ in call_all(live.netns, "10.96.0.7", 80, [[(0, SENT)]] * 60)]
        return sum("app8002" in answer for answer in answers) / len(answers)

    time.sleep(SECONDS)  # the first one is warm
    live.ads.update(_resources((8001, 8002)))
    wait_until("it is known", lambda: f"{PEER4}:8002" in live.get("/clusters"))
    assert share() < 0.42, "half, in turns, but for the warm-up"
    wait_until("it has its full share", lambda: share() > 0.45)
