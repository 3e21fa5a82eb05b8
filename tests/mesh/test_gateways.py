"""Servers of several Gateways on one port, and VirtualServices of several at one: who has what, and who is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from textwrap import dedent

import pytest

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.owners import owners
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import LISTENER, ROUTE
from pilotfish.mesh import inputs
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.problems.credentials import expiries, overdue
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from tests.certificates import issue, secret

EDGE = Proxy.of_pod("edge-0", "edge", ("10.244.0.9",), labels={"istio": "edge"}, type=ProxyType.ROUTER)


def _gateway(name: str, *servers: str, age: int = 1, selector: str = "{istio: edge}", namespace: str = "vm") -> str:
    listed = "".join(f"\n      - {server}" for server in servers)
    return dedent(f"""
    apiVersion: networking.istio.io/v1
    kind: Gateway
    metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "20{age:02}-01-01T00:00:00Z"}}
    spec:
      selector: {selector}
      servers:{listed}
    ---
    """)


def _server(number: int, protocol: str, hosts: str, tls: str = "", name: str = "") -> str:
    ending = f", tls: {tls}" if tls else ""
    port = f"{{number: {number}, name: {name or f'p{number}'}, protocol: {protocol}}}"
    return f"{{port: {port}, hosts: [{hosts}]{ending}}}"


def _virtual_service(name: str, hosts: str, gateways: str, rest: str, age: int = 1) -> str:
    return dedent(f"""
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {{name: {name}, namespace: vm, creationTimestamp: "20{age:02}-01-01T00:00:00Z"}}
    spec: {{hosts: [{hosts}], gateways: [{gateways}], {rest}}}
    ---
    """)


SIMPLE = "{mode: SIMPLE, serverCertificate: /c.pem, privateKey: /k.pem}"
PASS = "{mode: PASSTHROUGH}"
ANSWER = "http: [{directResponse: {status: 200}}]"
TO_APP = "route: [{destination: {host: app.example.com, port: {number: 80}}}]"
APP = dedent("""
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: app, namespace: vm}
    spec: {hosts: [app.example.com], resolution: NONE, ports: [{number: 80, name: x, protocol: TCP}]}
    ---
    """)


def _made(text: str) -> Graph:
    loaded = load(text, "in.yaml", "vm")
    assert not loaded.problems, loaded.problems
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    return graph


def _told(text: str) -> dict[tuple[str, str], str]:
    """(reason, `object field`) → message."""
    return {(p.reason, f"{p.ref and p.ref.name} {p.field}"): p.message for p in _made(text).get(problems)}


HTTP80 = _server(80, "HTTP", "a.example.com")


@pytest.mark.parametrize(
    ("text", "reason", "place", "winner"),
    [
        pytest.param(
            _gateway("young", HTTP80, age=2) + _gateway("old", _server(80, "TCP", '"*"')),
            "ConflictingGatewayPort",
            "young spec.servers[0].port",
            "old",
            id="a port for another protocol",
        ),
        pytest.param(
            _gateway("young", HTTP80, age=2) + _gateway("old", _server(80, "HTTPS", "b.example.com", SIMPLE)),
            "ConflictingGatewayPort",
            "young spec.servers[0].port",
            "old",
            id="HTTP beside HTTPS",
        ),
        pytest.param(
            _gateway("b", _server(80, "TCP", '"*"')) + _gateway("a", _server(80, "TCP", '"*"')),
            "ConflictingGatewayPort",
            "b spec.servers[0].port",
            "a",
            id="nothing tells TCP apart; of one age the first by name",
        ),
        pytest.param(
            _gateway("young", _server(443, "HTTPS", "x.example.com, a.example.com", SIMPLE), age=2)
            + _gateway("old", _server(443, "TLS", "a.example.com", PASS)),
            "ConflictingGatewayHost",
            "young spec.servers[0].hosts",
            "old",
            id="a server name twice",
        ),
        pytest.param(
            _gateway("young", _server(443, "HTTPS", "one/a.example.com", SIMPLE), age=2)
            + _gateway("old", _server(443, "HTTPS", "two/a.example.com", SIMPLE)),
            "ConflictingGatewayHost",
            "young spec.servers[0].hosts",
            "old",
            id="a server name twice, for other namespaces",
        ),
        pytest.param(
            _gateway("young", HTTP80, age=2, selector="{istio: edge, app: edge}")
            + _gateway("old", _server(80, "TCP", '"*"'), selector="{}"),
            "ConflictingGatewayPort",
            "young spec.servers[0].port",
            "old",
            id="a wider selector",
        ),
    ],
)
def test_the_oldest_has_what_two_servers_want(text: str, reason: str, place: str, winner: str) -> None:
    told = _told(text)
    assert set(told) == {(reason, place)}
    assert f"Gateway vm/{winner}" in told[reason, place]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_gateway("a", HTTP80) + _gateway("b", HTTP80), id="requests share a port, and a host"),
        pytest.param(
            _gateway("a", _server(443, "HTTPS", "a.example.com", SIMPLE))
            + _gateway("b", _server(443, "TLS", '"*.example.com"', PASS)),
            id="a server name tells them apart",
        ),
        pytest.param(
            _gateway("a", HTTP80) + _gateway("b", _server(80, "TCP", '"*"'), selector="{istio: other}"),
            id="other pods",
        ),
        pytest.param(
            _gateway("a", HTTP80) + _gateway("b", _server(80, "TCP", '"*"').replace("hosts", "bind: 127.0.0.1, hosts")),
            id="another address",
        ),
    ],
)
def test_what_is_told_apart_is_no_conflict(text: str) -> None:
    assert _told(text) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            _virtual_service("vs", "a.example.com", "gone, other/gone", ANSWER),
            {("UnknownGateway", "vs spec.gateways[0]"), ("UnknownGateway", "vs spec.gateways[1]")},
            id="no such gateway",
        ),
        pytest.param(
            _gateway("g", HTTP80) + _virtual_service("vs", "b.example.com", "g", ANSWER),
            {("UnknownGatewayHost", "vs spec.gateways[0]")},
            id="none of the hosts is the gateway's",
        ),
        pytest.param(
            _gateway("g", _server(80, "HTTP", "other/a.example.com")) + _virtual_service("vs", '"*"', "g", ANSWER),
            {("UnknownGatewayHost", "vs spec.gateways[0]")},
            id="the host is for another namespace",
        ),
        pytest.param(
            _gateway("g", HTTP80) + _virtual_service("vs", "a.example.com, b.example.com", "g", ANSWER),
            {("UnknownGatewayHost", "vs spec.hosts[1]")},
            id="one of the hosts is nobody's",
        ),
        pytest.param(
            _gateway("g", HTTP80) + _virtual_service("vs", '"*"', "g", ANSWER),
            set(),
            id="all hosts are those of the gateway",
        ),
        pytest.param(
            _gateway("g", _server(443, "TLS", "a.example.com", PASS))
            + _virtual_service("vs", "a.example.com", "g", ANSWER),
            {("UnusedRoute", "vs spec.http")},
            id="requests that nobody decrypts",
        ),
        pytest.param(
            APP + _gateway("g", HTTP80) + _virtual_service("vs", "a.example.com", "g", f"tcp: [{{{TO_APP}}}]"),
            {("UnusedRoute", "vs spec.tcp")},
            id="connections of a server of HTTP",
        ),
        pytest.param(
            _gateway("g", HTTP80)
            + _virtual_service("old", "a.example.com", "g", ANSWER)
            + _virtual_service("young", "a.example.com", "g", ANSWER, age=2),
            {("ShadowedRoute", "young spec.http[0]")},
            id="an older one takes every request",
        ),
        pytest.param(
            APP
            + _gateway("g", _server(443, "TLS", "a.example.com", PASS))
            + "".join(
                _virtual_service(
                    name, "a.example.com", "g", f"tls: [{{match: [{{sniHosts: [a.example.com]}}], {TO_APP}}}]", age=age
                )
                for name, age in (("old", 1), ("young", 2))
            ),
            {("ShadowedRoute", "young spec.tls[0].match[0]")},
            id="an older one takes the server name",
        ),
    ],
)
def test_what_is_said_of_a_virtual_service(text: str, expected: set[tuple[str, str]]) -> None:
    assert set(_told(text)) == expected


def _names(graph: Graph, proxy: Proxy = EDGE) -> Mapping[str, list[str]]:
    found = resource_set(graph, proxy)
    return {
        kind: sorted(r.name for r in found.resources(url)) for kind, url in (("listeners", LISTENER), ("routes", ROUTE))
    }


def test_a_service_says_at_which_port_of_the_pods_a_server_listens() -> None:
    service = dedent("""
    apiVersion: v1
    kind: Service
    metadata: {name: edge, namespace: edge}
    spec:
      selector: {istio: edge}
      clusterIP: 10.96.0.1
      ports: [{port: 80, targetPort: 8080, name: http}, {port: 443, targetPort: 8443, name: https}]
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: edge-0, namespace: edge, labels: {istio: edge}}
    spec: {containers: [{name: app, command: [x]}]}
    status: {podIP: 10.244.0.9}
    ---
    """)
    gateway = _gateway(
        "g", HTTP80, _server(443, "HTTPS", "a.example.com", SIMPLE), _server(90, "HTTP", "a.example.com")
    )
    assert _names(_made(gateway)) == {
        "listeners": ["0.0.0.0_443", "0.0.0.0_80", "0.0.0.0_90"],
        "routes": ["http.80", "http.90", "https.443.p443.g.vm"],
    }
    assert _names(_made(service + gateway)) == {
        "listeners": ["0.0.0.0_8080", "0.0.0.0_8443", "0.0.0.0_90"],
        "routes": ["http.8080", "http.90", "https.8443.p443.g.vm"],
    }
    assert _told(gateway) == {}, "the mesh runs it, with a Service that has them all"
    (told,) = _told(service + gateway).items()
    assert told[0] == ("PortWithoutService", "g spec.servers[2].port.number")
    assert "no Service leads to port 90" in told[1]


def test_gateways_alike_share_one_set_and_sidecars_see_none_of_it() -> None:
    graph = _made(_gateway("g", HTTP80) + _virtual_service("vs", "a.example.com", "g", ANSWER))
    other = Proxy.of_pod("edge-1", "edge", ("10.244.0.8",), labels={"istio": "edge", "x": "y"}, type=ProxyType.ROUTER)
    assert resource_set(graph, EDGE) is resource_set(graph, other)
    sidecar = Proxy.of_pod("app-0", "vm", ("10.244.0.7",), labels={"istio": "edge"})
    assert _names(graph, sidecar) == {"listeners": ["virtualInbound", "virtualOutbound"], "routes": []}


def test_a_gateway_sees_the_virtual_services_that_are_exported_to_it() -> None:
    hidden = _virtual_service("vs", "a.example.com", "g", f'exportTo: ["."], {ANSWER}')
    (shown,) = resource_set(_made(_gateway("g", HTTP80) + hidden), EDGE).resources(ROUTE)
    assert b"blackhole:80" in shown.body
    exported = hidden.replace('["."]', "[edge]")
    (shown,) = resource_set(_made(_gateway("g", HTTP80) + exported), EDGE).resources(ROUTE)
    assert b"a.example.com:80" in shown.body


def test_a_certificate_that_has_expired_and_one_that_is_not_there_are_said_at_the_gateway() -> None:
    ca = issue("ca")
    old = issue("a.example.com", ca, days=-1)
    pod = dedent("""
    apiVersion: v1
    kind: Pod
    metadata: {name: edge-0, namespace: edge, labels: {istio: edge}}
    spec: {containers: [{name: app, command: [x]}]}
    ---
    """)
    tls = "{mode: MUTUAL, credentialName: shop}"
    text = _gateway("g", _server(443, "HTTPS", "a.example.com", tls)) + pod
    told = _told(text)
    assert set(told) == {("UnknownSecret", "g spec.servers[0].tls.credentialName")}
    assert "edge/shop" in str(told), "the Secret is looked for where the gateway's pods are"
    graph = _made(text + secret("shop", "edge", tls_crt=old.pem, tls_key=old.key, ca_crt=ca.pem))
    assert graph.get(problems) == ()
    (problem,) = overdue(graph.get(expiries), time.time())
    assert (problem.reason, problem.field) == ("ExpiredCertificate", "spec.servers[0].tls.credentialName")


def test_a_resource_is_of_the_gateways_and_virtual_services_that_it_shows() -> None:
    text = (
        _gateway("one", HTTP80, _server(81, "HTTP", "b.example.com"))
        + _gateway("two", HTTP80, age=2)
        + _virtual_service("a", "a.example.com", "one", ANSWER)
        + _virtual_service("b", "b.example.com", "one", ANSWER)
    )
    graph = _made(text)
    found = resource_set(graph, EDGE)
    owned = {r.name: {ref.name for ref in owners(graph, r)} for url in (LISTENER, ROUTE) for r in found.resources(url)}
    assert owned == {
        "0.0.0.0_80": {"one", "two"},
        "0.0.0.0_81": {"one"},
        "http.80": {"one", "two", "a"},
        "http.81": {"one", "b"},
    }


def test_a_changed_virtual_service_is_news_to_its_own_routes_alone() -> None:
    services = "".join(_virtual_service(f"vs{i}", f"h{i}.example.com", "g", ANSWER) for i in range(50))
    graph = _made(_gateway("g", _server(80, "HTTP", '"*"'), _server(81, "HTTP", "h1.example.com")) + services)
    resource_set(graph, EDGE)
    graph.stats.reset()
    changed = load(_virtual_service("vs7", "h7.example.com", "g", ANSWER.replace("200", "201")), "in.yaml", "vm")
    inputs.apply(graph, {m.ref: m for m in changed.manifests})
    resource_set(graph, EDGE)
    assert graph.stats.total < 15, dict(graph.stats.ran)
