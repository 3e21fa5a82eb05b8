"""Which endpoints a client is spared, by what they answer."""

from __future__ import annotations

import re
from collections import Counter

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, LiveEnvoy, Start
from tests.waiting import wait_until

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app, namespace: vm}}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{endpoints}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app, namespace: vm}}
spec: {{host: app.example.com, trafficPolicy: {{outlierDetection: {{maxEjectionPercent: 100, {wanted}}}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: vm}}
spec:
  hosts: [app.example.com]
  http: [{{retries: {{attempts: 0}}, route: [{{destination: {{host: app.example.com}}}}]}}]
"""


def mesh(ports: range, wanted: str) -> str:
    endpoints = ", ".join(f"{{address: {PEER4}, ports: {{http: {port}}}}}" for port in ports)
    return MESH.format(endpoints=endpoints, wanted=wanted)


def answers(live: LiveEnvoy, count: int, header: str = "x-none: 1") -> Counter[str]:
    """Who answered, or the status where nobody did."""
    request = f"GET / HTTP/1.1\r\nHost: app.example.com\r\n{header}\r\nConnection: close\r\n\r\n"
    found = (answer for answer, _ in call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * count))
    return Counter(re.findall(r"x-app: (\w+)", answer)[0] if "x-app" in answer else answer[9:12] for answer in found)


def test_statuses_that_are_errors_where_they_are_named(start: Start) -> None:
    wanted = "interval: 100ms, consecutive5xxErrors: 1, outlierDetectionHttpErrorCodes: [429, 418]"
    live = start(mesh(range(8001, 8004), wanted))
    for port in range(8001, 8004):
        live.start_app(live.peer, PEER4, port, str(port))
    answers(live, 30, "x-answer: 500")
    assert len(answers(live, 60)) == 3, "5xx is none of them"
    for left, status in ((2, 429), (1, 418)):
        answers(live, 1, f"x-answer: {status}")
        # Envoy merges such changes of one second.
        wait_until(f"{status} is one", lambda: len(answers(live, 60)) == left)  # noqa: B023


def test_a_large_share_of_errors_need_not_come_one_after_another(start: Start) -> None:
    live = start(mesh(range(8001, 8007), "interval: 1s, consecutive5xxErrors: 0, failurePercentageThreshold: 50"))
    for port in range(8001, 8006):  # nobody listens at the last
        live.start_app(live.peer, PEER4, port, str(port))
    wait_until("the dead one is left alone", lambda: "503" not in answers(live, 480))
