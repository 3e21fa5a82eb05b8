"""What a route says of one destination among several: headers, mirrors, subsets and shares."""

from __future__ import annotations

import re
from collections import Counter

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, Start
from tests.envoy.connections import connect_all, start_server
from tests.waiting import wait_until

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.0.{index}]
  resolution: STATIC
  ports: [{ports}]
  endpoints:
  - {{address: 10.245.1.2, labels: {{version: v1}}, ports: {{{one}}}}}
  - {{address: 10.245.1.2, labels: {{version: v2}}, ports: {{{two}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec:
  host: {name}.example.com
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
"""
HTTP = ENTRY.format(
    name="app",
    index=7,
    ports="{number: 80, name: http, protocol: HTTP}, {number: 81, name: also, protocol: HTTP}",
    one="http: 8001, also: 8011",
    two="http: 8002, also: 8012",
)
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  http:
  - match: [{uri: {prefix: /headers}}]
    headers: {request: {set: {x-all: "yes"}}}
    route:
    - destination: {host: app.example.com, subset: v1}
      weight: 50
      headers:
        request: {set: {x-set: one}, add: {x-added: one}, remove: [x-gone]}
        response: {set: {x-app: one}, add: {x-more: one}, remove: [x-old]}
    - destination: {host: app.example.com, subset: v2}
      weight: 50
  - match: [{uri: {prefix: /mirror}}]
    mirror: {host: app.example.com, subset: v2, port: {number: 81}}
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /copies}}]
    mirrors: [{destination: {host: app.example.com, subset: v1, port: {number: 81}}}]
    route: [{destination: {host: app.example.com, subset: v1}}]
  - match: [{uri: {prefix: /port}}]
    route: [{destination: {host: app.example.com, subset: v2, port: {number: 81}}}]
"""
PORTS = {8001: "v1", 8002: "v2", 8011: "v1 also", 8012: "v2 also"}


def test_a_destination_has_headers_of_its_own_and_mirrors_name_subsets_and_ports(start: Start) -> None:
    live = start(HTTP + ROUTES)
    for port, name in PORTS.items():
        live.start_app(live.peer, PEER4, port, name)

    def ask(path: str, *headers: str) -> str:
        lines = (f"GET {path} HTTP/1.1", "Host: app.example.com", "Connection: close", *headers, "", "")
        return live.call(live.netns, "10.96.0.7", 80, "\r\n".join(lines))

    seen: dict[str, str] = {}
    while len(seen) < 2:
        answer = ask("/headers", "x-show: 1", "x-gone: here", "x-added: mine", "x-set: mine")
        seen["v1" if "v1 GET" in answer else "v2"] = answer
    assert all("x-all: yes" in answer for answer in seen.values())
    one, two = seen["v1"], seen["v2"]
    head, _, body = one.partition("\n\n")
    assert {line for line in body.splitlines() if line.startswith(("x-set", "x-added", "x-gone"))} >= {"x-set: one"}
    assert "x-gone" not in body
    assert re.findall(r"x-added: (\w+)", body) == ["mine", "one"]
    assert ("x-app: one" in head, "x-more: one" in head, "x-old" in head) == (True, True, False)
    assert ("x-gone: here" in two, "x-set: mine" in two, "x-old: yes" in two, "x-more" in two) == (
        True,
        True,
        True,
        False,
    )
    assert "v2 also GET" in ask("/port")
    for path, copied_to in (("/mirror", 8012), ("/copies", 8011)):
        assert "v1 GET" in ask(path)

        def copies(port: int = copied_to, path: str = path) -> bool:
            return f"GET {path} app.example.com-shadow" in live.request(live.peer, PEER4, port, "x", "/seen")

        wait_until(f"the copy of {path} comes", copies)


CONNECTIONS = (
    ENTRY.format(
        name="raw", index=8, ports="{number: 5432, name: tcp, protocol: TCP}", one="tcp: 7001", two="tcp: 7002"
    )
    + ENTRY.format(
        name="tls", index=9, ports="{number: 443, name: tls, protocol: TLS}", one="tls: 7001", two="tls: 7002"
    )
    + """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: raw, namespace: vm}
spec: {hosts: [raw.example.com], tcp: [{route: [{destination: {host: raw.example.com, subset: v2}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tls, namespace: vm}
spec:
  hosts: [tls.example.com]
  tls:
  - match: [{sniHosts: [tls.example.com], gateways: [elsewhere]}]
    route: [{destination: {host: raw.example.com, port: {number: 5432}}}]
  - match: [{sniHosts: [tls.example.com], gateways: [mesh]}]
    route:
    - {destination: {host: tls.example.com, subset: v1}, weight: 80}
    - {destination: {host: tls.example.com, subset: v2, port: {number: 443}}, weight: 20}
"""
)


def test_connections_go_to_subsets_by_their_share(start: Start) -> None:
    live = start(CONNECTIONS)
    for port, name in ((7001, "one"), (7002, "two")):
        start_server(live, port, name)
    assert set(connect_all(live.netns, [("10.96.0.8", 5432, "")] * 20)) == {"two"}
    found = Counter(connect_all(live.netns, [("10.96.0.9", 443, "tls.example.com")] * 150))
    assert found.keys() == {"one", "two"}
    assert 90 < found["one"] < 150, "it is 120 of 150, and 30 are six standard deviations"


WORKLOADS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: vm}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: app}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: heavy, namespace: vm}
spec: {address: 10.245.1.2, ports: {http: 8001}, labels: {app: app}, weight: 3, locality: west/1}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: light, namespace: vm}
spec: {address: 10.245.1.2, ports: {http: 8002}, labels: {app: app}, weight: 1, locality: west/1}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ill, namespace: vm, annotations: {proxy.istio.io/health-checks-enabled: "true"}}
spec: {address: 10.245.1.2, ports: {http: 8011}, labels: {app: app}}
status: {conditions: [{type: Healthy, status: "False"}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: elsewhere, namespace: other}
spec: {address: 10.245.1.2, ports: {http: 8012}, labels: {app: app}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: vm}
spec: {host: app.example.com, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
---
"""
# By turns: where the least busy is asked, weights count for less the more requests are under way.


def test_workloads_have_weights_and_the_unhealthy_are_left_out(start: Start) -> None:
    live = start(WORKLOADS)
    for port, name in PORTS.items():
        live.start_app(live.peer, PEER4, port, name.replace(" ", "-"))
    request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    answers = [answer for answer, _ in call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * 400)]
    found = Counter(name for answer in answers for name in re.findall(r"x-app: ([\w-]+)", answer))
    assert found.keys() == {"v1", "v2"}
    assert 290 < found["v1"] < 310, "it is 300 of 400, but for where each turn begins"
