"""TCP and TLS routes as a client sees them: which server of several answers a connection through a real Envoy."""

from __future__ import annotations

from tests.envoy.conftest import Start
from tests.envoy.connections import connect_all, start_server

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: vm}
spec:
  hosts: [one.example.com]
  addresses: [10.96.0.1, 10.97.0.0/16]
  resolution: STATIC
  ports:
  - {number: 5432, name: tcp, protocol: TCP, targetPort: 7001}
  - {number: 5433, name: also, protocol: TCP, targetPort: 7001}
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: vm}
spec:
  hosts: [two.example.com]
  addresses: [10.96.0.2]
  resolution: STATIC
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  workloadSelector: {labels: {app: two}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: two, namespace: vm}
spec: {address: 10.245.1.2, labels: {app: two}, ports: {tcp: 7002}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: own, namespace: vm}
spec:
  hosts: [own.example.com]
  addresses: [10.96.0.3]
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: 7001}]
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: vm}
spec:
  hosts: ["*.example.org"]
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: 7001}]
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: one, namespace: vm}
spec:
  hosts: [one.example.com]
  tcp:
  - match: [{port: 5433}]
    route: [{destination: {host: two.example.com, port: {number: 5432}}}]
  - match: [{destinationSubnets: [10.97.1.0/24, 10.97.2.7]}]
    route: [{destination: {host: two.example.com}}]
  - match: [{destinationSubnets: [10.97.3.0/24]}]
    route: [{destination: {host: nowhere.example.com}}]
  - route:
    - {destination: {host: one.example.com}, weight: 3}
    - {destination: {host: two.example.com}, weight: 1}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: own, namespace: vm}
spec:
  hosts: [own.example.com]
  tls:
  - match: [{sniHosts: [own.example.com]}]
    route: [{destination: {host: two.example.com, port: {number: 5432}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside, namespace: vm}
spec:
  hosts: ["*.example.org"]
  tls:
  - match: [{sniHosts: [a.example.org], port: 443}, {sniHosts: [b.example.org], destinationSubnets: [10.98.0.0/16]}]
    route: [{destination: {host: two.example.com, port: {number: 5432}}}]
  - match: [{sniHosts: ["*.example.org"]}]
    route: [{destination: {host: "*.example.org"}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: sourced, namespace: vm}
spec:
  hosts: [sourced.example.com]
  addresses: [10.96.0.4]
  resolution: STATIC
  ports:
  - {number: 1, name: tcp-1, protocol: TCP, targetPort: 7001}
  - {number: 2, name: tcp-2, protocol: TCP, targetPort: 7001}
  - {number: 3, name: tcp-3, protocol: TCP, targetPort: 7001}
  - {number: 4, name: tcp-4, protocol: TCP, targetPort: 7001}
  - {number: 5, name: tls-5, protocol: TLS, targetPort: 7001}
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: sourced, namespace: vm}
spec:
  hosts: [sourced.example.com]
  tcp:
  - match:
    - {port: 1, sourceLabels: {app: webapp}}
    - {port: 2, sourceLabels: {app: webapp, version: v2}}
    - {port: 3, sourceNamespace: vm}
    - {port: 4, sourceNamespace: other, sourceLabels: {app: webapp}}
    route: [{destination: {host: two.example.com, port: {number: 5432}}}]
  - route: [{destination: {host: sourced.example.com}}]
  tls:
  - match:
    - {sniHosts: [sourced.example.com], sourceLabels: {app: other}}
    - {sniHosts: [sourced.example.com], sourceNamespace: other}
    route: [{destination: {host: nowhere.example.com}}]
  - match: [{sniHosts: [sourced.example.com], sourceLabels: {app: webapp}, sourceNamespace: vm}]
    route: [{destination: {host: two.example.com, port: {number: 5432}}}]
"""

CALLS = (
    ("a port", "10.96.0.1", 5433, "", "two"),
    ("a subnet", "10.97.1.9", 5432, "", "two"),
    ("an address", "10.97.2.7", 5432, "", "two"),
    ("a destination that is not there", "10.97.3.1", 5432, "", "closed"),
    ("a service that nobody routes", "10.96.0.2", 5432, "", "two"),
    ("a server name", "10.96.0.3", 443, "own.example.com", "two"),
    ("another name on a service's own address", "10.96.0.3", 443, "other.example.com", "closed"),
    ("a name among several", "10.99.0.1", 443, "a.example.org", "two"),
    ("a name and a subnet", "10.98.0.1", 443, "b.example.org", "two"),
    ("the name without the subnet", "10.99.0.1", 443, "b.example.org", "one"),
    ("a client with the labels", "10.96.0.4", 1, "", "two"),
    ("a client without one of the labels", "10.96.0.4", 2, "", "one"),
    ("a client of the namespace", "10.96.0.4", 3, "", "two"),
    ("a client of another namespace", "10.96.0.4", 4, "", "one"),
    ("a server name for some clients", "10.96.0.4", 5, "sourced.example.com", "two"),
    ("a wildcard", "10.99.0.1", 443, "c.example.org", "one"),
)
"""What is tried, the address and port that the client means, its server name, and who answers."""


def test_which_server_answers(start: Start) -> None:
    live = start(MESH)
    for port, name in ((7001, "one"), (7002, "two")):
        start_server(live, port, name)
    answers = connect_all(live.netns, [(address, port, name) for _, address, port, name, _ in CALLS])
    found = [(what, answer) for (what, *_), answer in zip(CALLS, answers, strict=True)]
    assert found == [(what, expected) for what, *_, expected in CALLS]
    answers = connect_all(live.netns, [("10.96.0.1", 5432, "")] * 400)
    assert set(answers) == {"one", "two"}
    # 400 of 3:1, six standard deviations (8.7) to both sides.
    assert 248 < answers.count("one") < 352


OUTSIDE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: vm}
spec:
  hosts: ["*.example.org"]
  resolution: NONE
  ports: [{number: 443, name: tls, protocol: TLS}]
"""


def test_a_wildcard_of_resolution_none_goes_where_the_client_meant(start: Start) -> None:
    live = start(OUTSIDE)
    start_server(live, 443, "there")
    names = ("a.example.org", "b.a.example.org", "example.org", "a.example.com")
    answers = connect_all(live.netns, [("10.245.1.2", 443, name) for name in names])
    assert answers == ["there", "there", "closed", "closed"]
