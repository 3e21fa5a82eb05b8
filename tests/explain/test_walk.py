"""The whole way of a request, out of manifests alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from pilotfish.explain.ask import parse
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import End, Outcome, Side, Stage, Trace
from pilotfish.explain.walk import explain
from pilotfish.explain.written import Written
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import build

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: vm, labels: {labels}, annotations: {annotations}}}
spec: {{containers: [{{name: a, command: [a]}}]}}
---
"""
MESH = (
    POD.format(name="web-1", labels="{app: web, version: v1}", annotations="{}")
    + POD.format(name="web-2", labels="{app: web, version: v2}", annotations="{}")
    + POD.format(name="client", labels="{app: client}", annotations="{}")
    + POD.format(name="bare", labels="{app: bare}", annotations="{sidecar.istio.io/inject: 'false'}")
    + POD.format(name="past", labels="{}", annotations="{traffic.sidecar.istio.io/excludeOutboundPorts: '80'}")
    + """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: vm}
spec: {selector: {app: none}, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web]
  http:
  - match: [{headers: {user: {exact: jason}}}]
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /v3}}]
    route: [{destination: {host: web, subset: v3}}]
  - match: [{uri: {prefix: /half}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 50}}}
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /web}}]
    route: [{destination: {host: web}}]
"""
)


@cache
def scene() -> Scene:
    desired = read([("mesh.yaml", MESH)])
    assert [p for p in desired.problems if p.severity == "error"] == []
    return build_scene(build(desired))


def way(source: str, to: str, /, **options: Any) -> Trace:
    return explain(scene(), scene().stations[f"{source}.vm"] if source else None, parse(to, **options))


def told(outcome: Outcome) -> tuple[float, str]:
    """Its share, and whose app answers or what does instead."""
    if outcome.kind is End.DELIVERED:
        return outcome.probability, outcome.pod or outcome.cause
    words = (outcome.kind.value, str(outcome.status or ""), outcome.flag)
    return outcome.probability, " ".join(word for word in words if word)


@pytest.mark.parametrize(
    ("source", "to", "options", "expected"),
    [
        ("client", "http://web/web", {}, {(0.5, "web-1.vm"), (0.5, "web-2.vm")}),
        ("client", "http://web/", {"headers": ["User: jason"]}, {(1.0, "web-1.vm")}),
        ("client", "http://web/", {"headers": ["User: other"]}, {(1.0, "response 404 NR")}),
        ("client", "http://web/v3", {}, {(1.0, "response 503 UH")}),
        ("client", "http://web/half", {}, {(0.5, "response 418 FI"), (0.5, "web-1.vm")}),
        ("client", "http://web/old", {}, {(1.0, "response 301")}),
        ("client", "http://web.vm.svc.cluster.local/a/../web", {}, {(0.5, "web-1.vm"), (0.5, "web-2.vm")}),
        ("client", "web:90", {}, {(0.5, "web-1.vm"), (0.5, "web-2.vm")}),
        ("client", "empty:90", {}, {(1.0, "reset UH")}),
        ("client", "http://web:81/", {}, {(1.0, "reset UF,URX")}),
        ("client", "web:80", {}, {(0.5, "response 400 DPE")}),
        ("client", "http://nobody/", {}, {(1.0, "unknown")}),
        ("client", "http://nobody.vm.svc.cluster.local/", {}, {(1.0, "refused")}),
        ("past", "http://web/v3", {}, {(0.5, "web-1.vm"), (0.5, "web-2.vm")}),
        ("past", "http://empty/", {}, {(1.0, "refused")}),
        ("bare", "http://web/v3", {}, {(0.5, "web-1.vm"), (0.5, "web-2.vm")}),
        ("client", "tcp://203.0.113.1:9", {}, {(1.0, "it leaves the mesh: 203.0.113.1:9 is no pod's")}),
        ("client", "127.0.0.1:9", {}, {(1.0, "client.vm")}),
        ("client", "127.0.0.1:15001", {}, {(1.0, "reset UH")}),
    ],
)
def test_how_requests_end(source: str, to: str, options: dict[str, Any], expected: set[tuple[float, str]]) -> None:
    assert {told(outcome) for outcome in way(source, to, **options).outcomes} == expected


def test_every_stage_is_passed_on_both_sides() -> None:
    trace = way("client", "http://web/", headers=["user: jason"])
    assert [(step.side.value, step.stage.value, step.name) for step in trace.steps if step.stage is not Stage.TLS] == [
        ("client", "dns", "web.vm.svc.cluster.local"),
        ("client", "netfilter", "nat/ISTIO_REDIRECT/1"),
        ("client", "listener", "virtualOutbound"),
        ("client", "listener", "0.0.0.0_80"),
        ("client", "listener_filter", "http_inspector, tls_inspector"),
        ("client", "filter_chain", "(without a name)"),
        ("client", "network_filter", "http_connection_manager"),
        ("client", "route_config", "80"),
        ("client", "virtual_host", "web.vm.svc.cluster.local:80"),
        ("client", "route", "route 1"),
        ("client", "cluster", "outbound|80|v1|web.vm.svc.cluster.local"),
        ("client", "endpoint", f"{address('web-1')}:8080"),
        ("client", "netfilter", "nat/ISTIO_OUTPUT/6"),
        ("server", "netfilter", "nat/ISTIO_IN_REDIRECT/1"),
        ("server", "listener", "virtualInbound"),
        ("server", "listener_filter", "http_inspector, tls_inspector"),
        ("server", "filter_chain", "0.0.0.0_8080"),
        ("server", "network_filter", "tcp_proxy"),
        ("server", "cluster", "inbound|8080||"),
        ("server", "endpoint", f"{address('web-1')}:8080"),
        ("server", "app", f"{address('web-1')}:8080"),
    ]


def address(pod: str) -> str:
    return scene().stations[f"{pod}.vm"].addresses[0]


def test_each_route_that_lost_is_named_with_the_first_criterion_that_failed() -> None:
    (route,) = [s for s in way("client", "http://web/v3").steps if s.stage is Stage.ROUTE and s.side == "client"]
    assert [(each.name, each.reason) for each in route.rejected] == [
        ("route 1", "header user is 'jason'; there is none")
    ]
    assert route.written == Written(
        "/apis/networking.istio.io/v1/namespaces/vm/virtual-service/web", "spec.http[1].match[0]"
    )


def test_a_rule_that_excludes_is_the_one_that_decides() -> None:
    (first, *_) = way("past", "http://web/").at(Stage.NETFILTER)
    assert "--dport 80" in str(first.evidence["rule"])
    assert first.evidence["verdict"] == "accepted as it is"


GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: vm}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http: [{match: [{uri: {prefix: /web}}], route: [{destination: {host: web, port: {number: 80}, subset: v1}}]}]
---
"""


@pytest.mark.parametrize(
    ("to", "options", "expected"),
    [
        ("http://shop.example.com/web", {}, (1.0, "web-1.vm")),
        ("http://shop.example.com/other", {}, (1.0, "response 404 NR")),
        ("http://other.example.com/web", {}, (1.0, "response 404 NR")),
        ("https://shop.example.com/web", {}, (1.0, "unknown")),
        (
            "http://10.0.0.1/web",
            {"headers": ["Host: shop.example.com"]},
            (1.0, "it leaves the mesh: 10.0.0.1:80 is no pod's"),
        ),
    ],
)
def test_the_way_in_leads_by_the_gateway(to: str, options: dict[str, Any], expected: tuple[float, str]) -> None:
    gated = build_scene(build(read([("mesh.yaml", f"{GATEWAY}{MESH}")])))
    trace = explain(gated, None, parse(to, **options))
    assert [told(outcome) for outcome in trace.outcomes] == [expected]
    sides = {step.side.value for step in trace.steps if step.pod}
    assert sides == (
        {"gateway", "server"} if expected[1] == "web-1.vm" else {"gateway"} if "404" in expected[1] else set()
    )


UNDECLARED = """
apiVersion: v1
kind: Service
metadata: {name: mail, namespace: vm}
spec: {selector: {app: web}, ports: [{port: 2525}]}
---
"""


@pytest.mark.parametrize(
    ("config", "to", "source", "server_first", "expected"),
    [
        ("", "mail:2525", "client", False, {"web-1.vm", "web-2.vm"}),
        ("", "mail:2525", "client", True, {"timeout"}),
        # Past the client's proxy: the server's waits for a second, for the sake of its port 90, which declares TCP.
        ("", "mail:2525", "bare", True, {"web-1.vm", "web-2.vm"}),
        ("protocolDetectionTimeout: 100ms", "mail:2525", "client", True, {"web-1.vm", "web-2.vm"}),
        ("", "web:90", "client", True, {"web-1.vm", "web-2.vm"}),
    ],
)
def test_a_server_that_speaks_first_is_waited_for_where_the_protocol_is_looked_for(
    config: str, to: str, source: str, server_first: bool, expected: set[str]
) -> None:
    desired = read([("mesh.yaml", f"{UNDECLARED}{MESH}")], mesh_config=("config.yaml", config))
    made = build_scene(build(desired))
    trace = explain(made, made.stations[f"{source}.vm"], parse(to, server_first=server_first))
    assert {told(outcome)[1] for outcome in trace.outcomes} == expected


def test_who_reads_requests_is_told_with_the_reason() -> None:
    def told(config: str) -> object:
        found = build_scene(build(read([("mesh.yaml", MESH + config)])))
        trace = explain(found, found.stations["client.vm"], parse("http://web/", headers=["user: jason"]))
        (step,) = (step for step in trace.at(Stage.FILTER_CHAIN) if step.side is Side.SERVER)
        return step.evidence["requests"]

    assert told("") == "passed on as the client's proxy has read them"
    policy = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: vm}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
"""
    assert told(policy) == "read again: AuthorizationPolicy vm/readers"
