"""Gateways as their clients see them: which hosts answer, who does, and what becomes of everything else."""

from __future__ import annotations

import re

import pytest

from tests.envoy.calls import call_all
from tests.envoy.conftest import EDGE, PEER4, POD4, POD6, LiveEnvoy, Start

SERVICES = "".join(
    f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [{name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  endpoints: [{{address: {PEER4}}}]
---
"""
    for name, port in (("a", 9001), ("b", 9002))
)

HTTP = (
    SERVICES
    + """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts:
    - A.example.com
    - "*.wild.example.com"
    - secure.example.com
    - redirected.example.com
    - other/elsewhere.example.com
  - {port: {number: 8081, name: idle, protocol: HTTP}, hosts: [idle.example.com]}
  - {port: {number: 8082, name: bound, protocol: HTTP}, bind: 127.0.0.1, hosts: ["*"]}
  - {port: {number: 0, name: socket, protocol: HTTP}, bind: "unix://@edge", hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: [secure.example.com]
    tls: {httpsRedirect: true}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: young, namespace: shop, creationTimestamp: "2021-01-01T00:00:00Z"}
spec:
  hosts: [a.example.com]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /both}}, {uri: {prefix: /young}}]
    route: [{destination: {host: b}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old, namespace: shop, creationTimestamp: "2020-01-01T00:00:00Z"}
spec:
  hosts: [a.example.com]
  gateways: [shop/edge]
  http:
  - match: [{uri: {prefix: /both}}]
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /mesh}, gateways: [mesh]}]
    route: [{destination: {host: b}}]
  - match: [{uri: {prefix: /split}}]
    route: [{destination: {host: a}, weight: 30}, {destination: {host: b}, weight: 70}]
  - match: [{uri: {prefix: /told}, gateways: [edge]}]
    headers: {request: {set: {x-by: edge}}, response: {add: {x-back: edge}}}
    rewrite: {uri: /rewritten}
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /there, derivePort: FROM_REQUEST_PORT}
  - route: [{destination: {host: a}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wild, namespace: shop}
spec:
  hosts: ["*.wild.example.com", secure.example.com, nobody.example.com, elsewhere.example.com]
  gateways: [edge, secure]
  http: [{route: [{destination: {host: a}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: exact, namespace: shop}
spec:
  hosts: [exact.wild.example.com]
  gateways: [edge]
  http: [{route: [{destination: {host: b}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: low, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [low]
  http: [{route: [{destination: {host: a}}]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: low, namespace: shop}
spec:
  selector: {istio: edge}
  servers: [{port: {number: 8083, name: low, protocol: HTTP}, bind: 127.0.0.1, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: sidecars, namespace: shop}
spec:
  hosts: [redirected.example.com]
  http: [{route: [{destination: {host: a}}]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: others, namespace: shop}
spec:
  selector: {istio: other}
  servers: [{port: {number: 8090, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
)
NOBODY = "404 Not Found"


@pytest.fixture
def edge(start: Start) -> LiveEnvoy:
    live = start(HTTP, proxy=EDGE)
    for name, port in (("a", 9001), ("b", 9002)):
        live.start_app(live.peer, PEER4, port, name)
    return live


def _ask(live: LiveEnvoy, host: str, path: str = "/", port: int = 8080, address: str = POD4) -> str:
    return live.request(live.peer, address, port, host, path)


def test_hosts_and_routes(edge: LiveEnvoy) -> None:
    for host, path, expected in (
        ("a.example.com", "/", "a GET /"),
        ("A.Example.COM", "/", "a GET /"),
        ("a.example.com:8080", "/", "a GET /"),
        ("a.example.com.", "/", "a GET /"),
        ("a.example.com", "/both", "a GET /both"),
        ("a.example.com", "/young", "b GET /young"),
        ("a.example.com", "/mesh", "a GET /mesh"),
        ("a.example.com", "/x/../young", "b GET /young"),
        ("x.wild.example.com", "/", "a GET /"),
        ("exact.wild.example.com", "/", "b GET /"),
        ("wild.example.com", "/", NOBODY),
        ("nobody.example.com", "/", NOBODY),
        ("elsewhere.example.com", "/", NOBODY),
        ("redirected.example.com", "/", NOBODY),
        ("a.shop.svc.cluster.local", "/", NOBODY),
        ("secure.example.com", "/x", "location: https://secure.example.com/x"),
        ("a.example.com", "/moved", "location: http://a.example.com:8080/there"),
    ):
        assert expected in _ask(edge, host, path), (host, path)
    assert NOBODY in _ask(edge, "a.example.com", port=8081), "a listener without routes stays, and says so"
    assert "a GET /" in _ask(edge, "a.example.com", address=POD6)
    assert "ERROR" in _ask(edge, "a.example.com", port=8082), "it is bound to the loopback"
    assert "a GET /" in edge.request(edge.netns, "127.0.0.1", 8082, "a.example.com")
    assert "a GET /" in edge.request(edge.netns, "127.0.0.1", 8083, "any.example.com")
    assert "ERROR" in _ask(edge, "a.example.com", port=8090), "the selector is another gateway's"
    assert "unix://@edge_0" in edge.listeners()


def test_what_an_app_and_a_client_are_told(edge: LiveEnvoy) -> None:
    asked = "GET /told HTTP/1.1\r\nHost: a.example.com\r\nX-Show: 1\r\nX-Forwarded-For: 8.8.8.8\r\n"
    asked += "X-Forwarded-Client-Cert: By=me\r\nConnection: close\r\n\r\n"
    answer = edge.call(edge.peer, POD4, 8080, asked)
    assert "a GET /rewritten" in answer
    assert "x-back: edge" in answer
    assert "server: istio-envoy" in answer
    assert "x-by: edge" in answer
    assert f"x-forwarded-for: 8.8.8.8,{PEER4}" in answer
    assert "x-forwarded-proto: http" in answer
    assert f"x-envoy-external-address: {PEER4}" in answer, "whatever the client says of itself"
    assert "x-forwarded-client-cert" not in answer, "nobody outside may say whose certificate it was"
    old = edge.call(edge.peer, POD4, 8080, "GET / HTTP/1.0\r\nHost: a.example.com\r\n\r\n")
    assert "200 OK" in old, "HTTP/1.0 is served"


def test_weights(edge: LiveEnvoy) -> None:
    asked = "GET /split HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"
    answers = [answer for answer, _ in call_all(edge.peer, POD4, 8080, [[(0, asked)]] * 300)]
    by_a = sum(bool(re.search("^a GET", answer, re.MULTILINE)) for answer in answers)
    assert 55 <= by_a <= 130, "30% of 300, within 4.5 standard deviations"


TCP = (
    SERVICES
    + """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {gatewayTopology: {numTrustedProxies: 2}}"}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 9000, name: a, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 9001, name: b, protocol: MONGO}, hosts: ["*"]}
  - {port: {number: 9002, name: c, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 9003, name: d, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  http: [{route: [{destination: {host: a}}]}]
  tcp:
  - match: [{port: 9000}]
    route: [{destination: {host: a}, weight: 50}, {destination: {host: b}, weight: 50}]
  - match: [{port: 9001}]
    route: [{destination: {host: b}}]
"""
)


def test_connections_and_proxies_in_front(start: Start) -> None:
    live = start(TCP, proxy=EDGE)
    for name, port in (("a", 9001), ("b", 9002)):
        live.start_app(live.peer, PEER4, port, name)
    asked = "GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"
    answers = [answer for answer, _ in call_all(live.peer, POD4, 9000, [[(0, asked)]] * 100)]
    assert 25 <= sum("a GET /" in answer for answer in answers) <= 75, "half of 100, within 5 standard deviations"
    assert "b GET /" in _ask(live, "any", port=9001)
    assert "ERROR" in _ask(live, "any", port=9002), "nobody routes it, so nothing listens"
    passed_on = asked.replace("\r\n\r\n", "\r\nX-Show: 1\r\nX-Forwarded-For: 9.9.9.9, 8.8.8.8, 7.7.7.7\r\n\r\n")
    answer = live.call(live.peer, POD4, 9003, passed_on)
    assert "x-envoy-external-address: 8.8.8.8" in answer, "two proxies in front are believed, and no more"


def test_what_the_mesh_believes_of_those_in_front(start: Start) -> None:
    topology = "{forwardClientCertDetails: ALWAYS_FORWARD_ONLY, proxyProtocol: {}}"
    live = start(TCP.replace("{numTrustedProxies: 2}", topology), proxy=EDGE)
    live.start_app(live.peer, PEER4, 9001, "a")
    asked = "GET / HTTP/1.1\r\nHost: any\r\nX-Show: 1\r\nX-Forwarded-Client-Cert: By=me\r\nConnection: close\r\n\r\n"
    answer = live.call(live.peer, POD4, 9003, "PROXY TCP4 8.8.8.8 10.0.0.1 1234 80\r\n" + asked)
    assert "x-forwarded-for: 8.8.8.8" in answer
    assert "x-forwarded-client-cert: By=me" in answer
    assert "200 OK" not in live.call(live.peer, POD4, 9003, asked), "a connection that does not say whose it is"
