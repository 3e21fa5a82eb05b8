"""Services, endpoints and who serves which port, where golden files would say too much."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.listeners.inbound import inbound_ports, inbound_protocol
from pilotfish.mesh.policy.policies import policy, rules_for
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.routes.connection_routes import connection_routers
from pilotfish.mesh.routing import ANYBODY, Reader, router
from pilotfish.mesh.scope import Scope
from pilotfish.model import Protocol
from tests.mesh.meshes import (
    NETWORKING,
    destination_rule,
    graph_of,
    manifest,
    pod,
    proxy,
    ref,
    service,
    virtual_service,
)

HOST = "web.vm.svc.cluster.local"
CONTAINER = {"name": "app", "command": ["x"], "ports": [{"name": "web", "containerPort": 8080}]}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"podIP": "10.0.0.1"}, [True]),
        ({"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}, [True]),
        ({"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "False"}]}, [False]),
        ({"podIP": "10.0.0.1", "conditions": [{"type": "Initialized", "status": "True"}]}, [False]),
        ({"podIP": "10.0.0.1", "phase": "Succeeded"}, []),
        ({"podIP": "10.0.0.1", "phase": "Failed"}, []),
        ({"phase": "Pending"}, []),
    ],
)
def test_a_pod_is_an_endpoint_as_its_status_says(status: dict[str, Any], ready: list[bool]) -> None:
    made = manifest("Pod", "web-0", labels={"app": "web"}, spec={"containers": [CONTAINER]}, status=status)
    assert [e.ready for e in graph_of(service("web"), made).get(endpoints, HOST, "", 80)] == ready


@pytest.mark.parametrize(("target", "ports"), [(None, [80]), (9090, [9090]), ("web", [8080]), ("nosuch", [])])
def test_a_target_port_is_a_number_or_the_name_of_a_container_port(target: int | str | None, ports: list[int]) -> None:
    port = {"name": "http", "port": 80} | ({"targetPort": target} if target else {})
    spec = {"containers": [CONTAINER]}
    made = manifest("Pod", "web-0", labels={"app": "web"}, spec=spec, status={"podIP": "10.0.0.1"})
    graph = graph_of(service("web", ports=[port]), made)
    assert [e.port for e in graph.get(endpoints, HOST, "", 80)] == ports
    found = graph.get(inbound_ports, proxy("web-0", address="10.0.0.1"))
    assert [p.number for p in found] == ports


@pytest.mark.parametrize(
    ("first", "expected"),
    [("tcp", Protocol.TCP), ("http-web", Protocol.HTTP), ("grpc", Protocol.GRPC), ("any", Protocol.AUTO)],
)
def test_a_shared_port_is_what_the_first_of_its_services_declares(first: str, expected: Protocol) -> None:
    other = service("a", selector={"app": "web"}, ports=[{"name": first, "port": 81, "targetPort": 80}])
    graph = graph_of(service("z", selector={"app": "web"}), other, pod("web-0", "10.0.0.1", {"app": "web"}))
    (port,) = graph.get(inbound_ports, proxy("web-0", address="10.0.0.1"))
    assert port.serves == (("a.vm.svc.cluster.local", "", 81), ("z.vm.svc.cluster.local", "", 80))
    assert graph.get(inbound_protocol, port) is expected


def port(name: str, number: int, target: int = 80) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": target}


@pytest.mark.parametrize(
    ("young", "expected"),
    [
        ([port("http", 80)], []),
        ([port("tcp", 80)], [("ConflictingProtocol", "spec.ports[0]")]),
        ([port("http", 80), port("grpc", 81)], [("ConflictingProtocol", "spec.ports[1]")]),
        ([port("http", 81)], [("ConflictingTargetPort", "spec.ports[0]")]),
        ([port("tcp", 82, 8080), port("http-own", 83, 8080)], [("ConflictingProtocol", "spec.ports[1]")]),
        ([port("tcp", 82, 8080), port("tcp-own", 83, 8080)], []),
    ],
)
def test_who_comes_later_to_a_port_of_pods_is_told(
    young: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    # The young one selects some of the old one's pods alone, and not the first of them.
    selector = {"app": "web", "version": "v2"}
    graph = graph_of(
        service("a", selector={"app": "web"}),
        service("z", address="10.96.0.2", selector=selector, ports=young),
        pod("web-0", "10.0.0.1", {"app": "web"}),
        pod("web-1", "10.0.0.2", selector),
    )
    found = [p for p in graph.get(problems) if p.reason.startswith("Conflicting")]
    assert [(p.ref, p.reason, p.field) for p in found] == [(ref("Service", "z"), *each) for each in expected]


def entry(name: str, **spec: Any) -> Manifest:
    """The younger, the later in the alphabet."""
    spec = {"hosts": ["app.example.com"], "resolution": "STATIC", **spec}
    spec["ports"] = [{"number": 80, "name": "http", "protocol": "HTTP", **spec.get("port", {})}, *spec.get("more", ())]
    spec = {key: value for key, value in spec.items() if key not in ("port", "more")}
    return manifest("ServiceEntry", name, api=NETWORKING, created=f"2026-01-01T00:00:0{ord(name) - 97}Z", spec=spec)


def test_entries_of_one_host_may_select_different_workloads() -> None:
    graph = graph_of(
        entry("a", workloadSelector={"labels": {"app": "old"}}),
        entry("b", workloadSelector={"labels": {"app": "new"}}, port={"targetPort": 8080}),
        entry("c", endpoints=[{"address": "10.0.0.3"}], more=[{"number": 81, "name": "tcp", "protocol": "TCP"}]),
        pod("old-0", "10.0.0.1", {"app": "old"}),
        pod("new-0", "10.0.0.2", {"app": "new"}),
    )
    assert [(e.address, e.port) for e in graph.get(endpoints, "app.example.com", "", 80)] == [
        ("10.0.0.1", 80), ("10.0.0.2", 8080), ("10.0.0.3", 80)
    ]  # fmt: skip
    assert [(e.address, e.port) for e in graph.get(endpoints, "app.example.com", "", 81)] == [("10.0.0.3", 81)]
    served = {each.name: graph.get(inbound_ports, each) for each in (
        proxy("old-0", address="10.0.0.1"), proxy("new-0", address="10.0.0.2"), proxy("vm", address="10.0.0.3")
    )}  # fmt: skip
    found = {name: [(p.number, p.service_port) for p in ports] for name, ports in served.items()}
    assert found == {"old-0": [(80, 80)], "new-0": [(8080, 80)], "vm": [(80, 80), (81, 81)]}
    assert not [p for p in graph.get(problems) if p.reason == "ConflictingHost"]


def test_a_proxy_whose_pod_is_not_known_yet_is_taken_at_its_word() -> None:
    graph = graph_of(service("web"))
    assert [p.number for p in graph.get(inbound_ports, proxy("web-0", app="web"))] == [80]
    assert graph.get(inbound_ports, proxy("web-0", app="other")) == ()


@pytest.mark.parametrize(
    ("client", "name"),
    [("shop", "of-client"), ("vm", "of-service"), ("third", "of-service")],
)
def test_a_rule_of_the_client_comes_before_one_of_the_service(client: str, name: str) -> None:
    graph = graph_of(
        service("web"),
        destination_rule("of-client", HOST, {}, "shop"),
        destination_rule("of-service", "web", {}),
        destination_rule("of-root", "*.svc.cluster.local", {}, "istio-system"),
        destination_rule("wider", "*.vm.svc.cluster.local", {}),
    )
    assert [r.name for r in graph.get(rules_for, Scope(client), HOST)] == [name]
    assert [r.name for r in graph.get(rules_for, Scope(client), "other.shop.svc.cluster.local")] == ["of-root"]


def test_rules_of_one_namespace_are_merged() -> None:
    graph = graph_of(
        service("web"),
        destination_rule("a", "web", {"v1": {"version": "v1"}}),
        destination_rule("b", HOST, {"v1": {"version": "other"}, "v2": {"version": "v2"}}),
    )
    merged = graph.get(policy, graph.get(rules_for, Scope("vm"), HOST))
    assert {s.name: s.labels for s in merged.subsets} == {"v1": (("version", "v1"),), "v2": (("version", "v2"),)}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (HOST, "exact"),
        ("other.vm.svc.cluster.local", "narrow"),
        ("x.shop.svc.cluster.local", "wide"),
        ("example.com", None),
    ],
)
def test_the_most_specific_and_then_the_oldest_virtual_service_routes_a_host(host: str, name: str | None) -> None:
    graph = graph_of(
        virtual_service("wide", "*.svc.cluster.local", {"web": 1}),
        virtual_service("narrow", "*.vm.svc.cluster.local", {"web": 1}),
        virtual_service("exact", "web", {"web": 1}, created="2020-01-01T00:00:00Z"),
        virtual_service("a-younger", "web", {"web": 1}, created="2021-01-01T00:00:00Z"),
    )
    assert graph.get(router, ANYBODY, host) == (ref("VirtualService", name) if name else None)


TO_HOST = [{"destination": {"host": HOST}}]


def _exported(name: str, namespace: str, *export_to: str, created: str = "2021-01-01T00:00:00Z") -> Manifest:
    spec = {"hosts": [HOST], "exportTo": [*export_to], "http": [{"route": TO_HOST}], "tcp": [{"route": TO_HOST}]}
    return manifest("VirtualService", name, namespace, NETWORKING, spec=spec, created=created)


@pytest.mark.parametrize(
    ("client", "expected"),
    [("vm", "own"), ("shop", "named"), ("club", "named"), ("elsewhere", "public"), ("bar", "public")],
)
def test_a_virtual_service_routes_for_those_that_it_is_exported_to(client: str, expected: str) -> None:
    """Narrow ones come before wide ones, whatever their age."""
    graph = graph_of(
        _exported("public", "vm", "*", created="2020-01-01T00:00:00Z"),
        _exported("none", "vm", "~", created="2020-01-01T00:00:00Z"),
        _exported("younger", "vm"),
        _exported("own", "vm", "."),
        _exported("named", "elsewhere", "shop", "club"),
        _exported("foreign", "bar", "vm"),
    )
    found = graph.get(router, Reader(client), HOST)
    assert found is not None
    assert found.name == expected
    assert found in graph.get(connection_routers, Reader(client), HOST)
    reported = {
        (p.ref.name, p.message.partition(" and ")[0]) for p in graph.get(problems) if p.ref and "lone" in p.message
    }
    assert reported == {
        ("younger", "VirtualService vm/public is older"),
        ("foreign", "VirtualService vm/own is exported to fewer namespaces"),
    }


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ("web", HOST),
        ("Web", HOST),
        ("web.shop", "web.shop"),
        (HOST + ".", HOST),
        ("*.example.com", "*.example.com"),
        ("*", "*"),
    ],
)
def test_short_hosts_are_of_the_writers_namespace(written: str, whole: str) -> None:
    assert resolve(written, "vm") == whole


def test_wildcards_come_most_specific_first() -> None:
    assert list(wildcards("a.b.c")) == ["*.b.c", "*.c", "*"]
    assert list(wildcards("*.b.c")) == ["*.c", "*"]
    assert list(wildcards("*")) == []
