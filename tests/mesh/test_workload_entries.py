"""WorkloadEntries: whose endpoints they are, and what they serve."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.listeners.inbound import inbound_ports
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.endpoints import endpoints
from tests.mesh.meshes import NETWORKING, graph_of, manifest, pod, proxy, service

HOST = "web.vm.svc.cluster.local"
LEGACY = {"labels": {"app": "legacy"}}


def workload_entry(name: str, address: str, /, namespace: str = "vm", **spec: Any) -> Manifest:
    spec = {"address": address, "labels": {"app": "legacy"}, **spec}
    return manifest("WorkloadEntry", name, namespace, NETWORKING, spec=spec)


def service_entry(**spec: Any) -> Manifest:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}]
    spec = {"hosts": ["legacy.example.com"], "ports": ports, "resolution": "STATIC", "workloadSelector": LEGACY, **spec}
    return manifest("ServiceEntry", "legacy", "vm", NETWORKING, spec=spec)


def test_a_service_entry_selects_pods_and_workload_entries_of_its_namespace() -> None:
    graph = graph_of(
        service_entry(),
        pod("legacy-0", "10.0.0.1", {"app": "legacy"}),
        workload_entry("vm-1", "192.0.2.1"),
        workload_entry("vm-2", "192.0.2.2", ports={"http": 9090}, weight=5, locality="eu/1"),
        workload_entry("other", "192.0.2.3", labels={"app": "other"}),
        workload_entry("elsewhere", "192.0.2.4", namespace="shop"),
    )
    found = graph.get(endpoints, "legacy.example.com", "", 80)
    assert [(e.address, e.port, e.weight, e.locality.zone) for e in found] == [
        ("10.0.0.1", 8080, 1, ""),
        ("192.0.2.1", 8080, 1, ""),
        ("192.0.2.2", 9090, 5, "1"),
    ]


def test_a_service_selects_them_too() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    graph = graph_of(
        service("web", selector={"app": "legacy"}, ports=ports),
        workload_entry("by-target", "192.0.2.1", ports={"web": 8000}),
        workload_entry("by-name", "192.0.2.2", ports={"web": 8000, "http": 9000}),
        workload_entry("without", "192.0.2.3"),
        workload_entry("named", "legacy.example.com", ports={"web": 8000}),
    )
    assert [(e.address, e.port) for e in graph.get(endpoints, HOST, "", 80)] == [
        ("192.0.2.2", 9000),
        ("192.0.2.1", 8000),
    ]


def test_a_name_is_an_endpoint_where_names_are_looked_up() -> None:
    graph = graph_of(service_entry(resolution="DNS"), workload_entry("named", "vm.example.com"))
    assert [e.address for e in graph.get(endpoints, "legacy.example.com", "", 80)] == ["vm.example.com"]


def test_labels_stand_in_either_place() -> None:
    made = manifest("WorkloadEntry", "vm-1", "vm", NETWORKING, labels={"app": "legacy"}, spec={"address": "192.0.2.1"})
    assert len(graph_of(service_entry(), made).get(endpoints, "legacy.example.com", "", 80)) == 1


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), (None, False)])
def test_one_whose_health_is_checked_is_ready_when_that_says_so(status: str | None, ready: bool) -> None:
    conditions = [{"type": "Healthy", "status": status}] if status is not None else []
    checked = manifest(
        "WorkloadEntry",
        "vm-1",
        "vm",
        NETWORKING,
        annotations={"proxy.istio.io/health-checks-enabled": "true"},
        spec={"address": "192.0.2.1", "labels": {"app": "legacy"}},
        status={"conditions": conditions},
    )
    assert [e.ready for e in graph_of(service_entry(), checked).get(endpoints, "legacy.example.com", "", 80)] == [ready]


def test_a_proxy_at_its_address_serves_what_selects_it() -> None:
    graph = graph_of(service_entry(), workload_entry("vm-1", "192.0.2.1", ports={"http": 9090}))
    (served,) = graph.get(inbound_ports, proxy("vm-host", address="192.0.2.1"))
    assert (served.number, served.serves) == (9090, (("legacy.example.com", "", 80),))


def test_one_that_nobody_selects_is_named() -> None:
    found = graph_of(service_entry(), workload_entry("vm-1", "192.0.2.1", labels={"app": "lgeacy"})).get(problems)
    assert {(p.ref.name, p.field, p.reason) for p in found if p.ref is not None} == {
        ("legacy", "spec.workloadSelector", "NoPods"),
        ("vm-1", "spec.labels", "UnusedWorkload"),
    }
