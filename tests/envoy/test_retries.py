"""Retries over endpoints that refuse connections: as often as explain says, and to the endpoints that it says."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import pytest

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.call import Application, Call, Direction, HttpRequest
from pilotfish.explain.held import Held
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.trace import Branch, End, Passed, Tape, Trace
from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, LiveEnvoy, Start
from tests.waiting import wait_until

REQUESTS = 400
SERVICE = "10.96.0.7"
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "accessLogFile: /dev/stdout"}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: vm}}
spec:
  hosts: [web.example.com]
  addresses: [{address}]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 90, name: tcp, protocol: TCP}}]
  endpoints: {endpoints}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: vm}}
spec: {{host: web.example.com, trafficPolicy: {{loadBalancer: {balancer}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: vm}}
spec:
  hosts: [web.example.com]
  http:
  - route: [{{destination: {{host: web.example.com}}}}]
    retries: {retries}
"""
RANDOM = "{simple: RANDOM}"


def begin(start: Start, retries: str, live: int, dead: int, balancer: str = RANDOM) -> LiveEnvoy:
    ports = range(8001, 8001 + live + dead)
    endpoints = json.dumps([{"address": PEER4, "ports": {"http": port, "tcp": port}} for port in ports])
    envoy = start(MESH.format(address=SERVICE, endpoints=endpoints, retries=retries, balancer=balancer))
    for port in ports[:live]:
        envoy.start_app(envoy.peer, PEER4, port, f"app{port}")
    return envoy


def predict(envoy: LiveEnvoy, live: int, port: int = 80, **headers: str) -> Trace:
    tape = Tape()
    is_http = port == 80
    request = HttpRequest("web.example.com", headers=headers)
    application = Application.HTTP if is_http else Application.TCP
    call = Call(Direction.OUTBOUND, SERVICE, port, application, request=request)
    for onward in walk_proxy(Branch(tape), Held.of_resources(envoy.ads.resources), call):
        branch = replace(onward.branch, proxies=(Passed("webapp-0.vm", onward.is_http, onward.attempt),))
        branch.end(End.DELIVERED if onward.call.port < 8001 + live else End.REFUSED)
    return tape.trace()


@pytest.mark.parametrize(
    ("retries", "live", "dead"),
    [
        ("{attempts: 1, retryOn: connect-failure}", 1, 1),
        ("{attempts: 2, retryOn: connect-failure}", 1, 3),
        ("{attempts: 1, retryOn: 5xx, retryIgnorePreviousHosts: false}", 1, 1),
        ("{attempts: 2, retryOn: reset, retryIgnorePreviousHosts: false}", 1, 2),
        ("{attempts: 3, retryOn: retriable-4xx}", 2, 1),
        ("{attempts: 0}", 1, 1),
        ("{attempts: 2}", 0, 2),
    ],
)
def test_as_many_requests_end_so_as_predicted(start: Start, retries: str, live: int, dead: int) -> None:
    envoy = begin(start, retries, live, dead)
    trace = predict(envoy, live)
    predicted: Counter[tuple[int, str, str]] = Counter()
    for outcome in trace.outcomes:
        predicted[(outcome.status or 200, outcome.flag, outcome.endpoint)] += outcome.probability  # type: ignore[assignment]
    head = "GET / HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n"
    call_all(envoy.netns, SERVICE, 80, [[(0.0, head)]] * REQUESTS)
    seen = Counter((e.response_code, ",".join(e.response_flags), e.upstream_host) for e in logged(envoy, REQUESTS))
    assert set(seen) <= set(predicted)
    for end, part in predicted.items():
        assert abs(seen[end] - REQUESTS * part) <= 5 * math.sqrt(REQUESTS * part) + 1, (end, part, seen)


def test_a_hash_leads_to_the_same_endpoint_again(start: Start) -> None:
    balancer = "{consistentHash: {httpHeaderName: user}}"
    envoy = begin(start, "{attempts: 2, retryOn: connect-failure}", 1, 1, balancer)
    trace = predict(envoy, 1, user="x")
    assert {(o.flag, round(o.probability, 2)) for o in trace.outcomes} == {("", 0.5), ("URX,UF", 0.5)}
    users = [f"GET / HTTP/1.1\r\nHost: web.example.com\r\nuser: {n}\r\nConnection: close\r\n\r\n" for n in range(100)]
    call_all(envoy.netns, SERVICE, 80, [[(0.0, user)] for user in users])
    seen = Counter(",".join(e.response_flags) for e in logged(envoy, 100))
    assert set(seen) == {"", "URX,UF"}
    assert seen["URX,UF"] > 20


def test_a_connection_that_is_no_http_is_tried_once(start: Start) -> None:
    envoy = begin(start, "{attempts: 2}", 0, 1)
    (outcome,) = predict(envoy, 0, 90).outcomes
    call_all(envoy.netns, SERVICE, 90, [[(0.0, "hello")]])
    (entry,) = logged(envoy, 1)
    assert (",".join(entry.response_flags), entry.upstream_host) == (outcome.flag, outcome.endpoint)


def logged(envoy: LiveEnvoy, count: int) -> list[AccessLogEntry]:
    def read() -> list[AccessLogEntry] | None:
        found = [entry for line in envoy.log.read_text().splitlines() if (entry := parse_access_log(line))]
        return found if len(found) >= count else None

    entries: list[AccessLogEntry] = wait_until(f"{count} entries of the access log", read)
    return entries
