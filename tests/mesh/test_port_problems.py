"""Ports and endpoints that an object names, or needs, and nobody has."""

from __future__ import annotations

from typing import Any

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.problems.across import problems
from tests.mesh.meshes import NETWORKING, graph_of, manifest, pod, service

WEB = (service("web"), pod("web-0", "10.0.0.1", {"app": "web"}))


def said(*manifests: Manifest) -> list[tuple[str, str]]:
    return [(p.reason, p.field) for p in graph_of(*manifests).get(problems) if p.reason != "UndeclaredProtocol"]


def routes(*ports: int, hosts: tuple[str, ...] = ("web",)) -> Manifest:
    """A rule for each port."""
    http = [{"match": [{"port": port}], "route": [{"destination": {"host": "web"}}]} for port in ports]
    return manifest("VirtualService", "route", api=NETWORKING, spec={"hosts": hosts, "http": http})


def listing(name: str = "web", *, port: str = "http", labels: dict[str, str] | None = None) -> Manifest:
    kind = "EndpointSlice" if labels else "Endpoints"
    address: dict[str, Any] = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": port, "port": 80}]}
    if kind == "Endpoints":
        return manifest(kind, name, subsets=[address])
    body = {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": address["ports"]}
    return manifest(kind, "slice", api="discovery.k8s.io/v1", labels=labels, **body)


def test_a_route_for_a_port_that_its_host_lacks() -> None:
    assert said(*WEB, routes(80, 8000)) == [("UnusedRoute", "spec.http[1].match")]
    assert said(*WEB, routes(80, 8000, hosts=("web", "only.this.knows"))) == []


def test_http_routes_for_a_service_that_has_only_tcp() -> None:
    database = service("web", ports=[{"name": "tcp-db", "port": 80}])
    assert said(database, WEB[1], routes(80)) == [("UnusedRoute", "spec.http")]


def test_settings_for_a_port_that_the_host_lacks() -> None:
    policy = {"portLevelSettings": [{"port": {"number": port}, "tls": {"mode": "DISABLE"}} for port in (80, 8000)]}
    spec = {"host": "web", "trafficPolicy": policy}
    assert said(*WEB, manifest("DestinationRule", "rule", api=NETWORKING, spec=spec)) == [
        ("UnknownPort", "spec.trafficPolicy.portLevelSettings[1].port.number")
    ]


def test_a_service_that_nobody_serves() -> None:
    alone = service("web", selector={})
    assert said(alone) == [("NoEndpoints", "spec.selector")]
    assert said(alone, listing()) == []
    assert said(alone, listing(port="web")) == [("UnknownTargetPort", "spec.ports[0].name")]
    assert said(alone, listing(labels={"kubernetes.io/service-name": "web"})) == []
    named = service("web", selector={}, type="ExternalName", externalName="example.com")
    assert said(named) == []


def test_endpoints_that_serve_nothing() -> None:
    assert said(*WEB, listing()) == [("Ignored", "metadata.name")]
    assert said(*WEB, listing("other")) == [("Ignored", "metadata.name")]
    assert said(*WEB, listing(labels={"kubernetes.io/service-name": "other"})) == [("Ignored", "metadata.labels")]
    kept = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    assert said(*WEB, listing(labels={"kubernetes.io/service-name": "web", **kept})) == [], "a cluster's controller's"


def test_a_static_service_entry_without_endpoints() -> None:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    spec: dict[str, Any] = {"hosts": ["a.example.com"], "ports": ports, "resolution": "STATIC"}
    assert said(manifest("ServiceEntry", "out", api=NETWORKING, spec=spec)) == [("NoEndpoints", "spec.endpoints")]
    spec["endpoints"] = [{"address": "192.0.2.1"}]
    assert said(manifest("ServiceEntry", "out", api=NETWORKING, spec=spec)) == []
