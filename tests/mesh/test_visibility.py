"""Who sees which services, by `exportTo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.mesh import inputs
from pilotfish.mesh.listeners.inbound import inbound_ports
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.scope import Scope
from tests.mesh.meshes import NETWORKING, destination_rule, graph_of, manifest, pod, proxy, service, virtual_service

HOST = "api.example.com"


def entry(name: str, address: str, namespace: str, export_to: Sequence[str] = (), **spec: Any) -> Manifest:
    spec = {
        "hosts": [HOST],
        "addresses": [address],
        "resolution": "STATIC",
        "ports": [{"number": 443, "name": "tcp", "protocol": "TCP"}],
        "endpoints": [{"address": address.replace("10.96", "192.0")}],
        "exportTo": [*export_to],
        **spec,
    }
    return manifest("ServiceEntry", name, namespace, NETWORKING, spec=spec)


def exported(name: str, export_to: str, namespace: str = "vm") -> Manifest:
    made = service(name, namespace)
    annotations = {"networking.istio.io/exportTo": export_to}
    spec = {"clusterIP": "10.96.0.1", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return manifest("Service", made.ref.name, namespace, annotations=annotations, spec=spec)


def seen_in(graph: Graph, namespace: str) -> set[str]:
    """The types of what a proxy of the namespace is told of the one service; and "name" if it can be resolved."""
    found = resource_set(graph, proxy(namespace=namespace))
    told = {
        url.rpartition(".")[2]
        for url in (CLUSTER, ENDPOINT, LISTENER, ROUTE)
        for each in found.resources(url)
        if b"web.vm" in each.body or each.name == "0.0.0.0_80"
    }
    return told | ({"name"} if graph.get(name_table, Scope(namespace)).records else set())


EVERYTHING = {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "name"}


@pytest.mark.parametrize(
    ("export_to", "own", "friend", "other"),
    [("", True, True, True), ("*", True, True, True), (".", True, False, False), ("~", False, False, False),
     (".,friend", True, True, False), ("friend", False, True, False), ("vm, friend", True, True, False)],
)  # fmt: skip
def test_a_service_is_all_there_or_not_at_all(export_to: str, own: bool, friend: bool, other: bool) -> None:
    graph = graph_of(exported("web", export_to) if export_to else service("web"))
    for namespace, sees in (("vm", own), ("friend", friend), ("other", other)):
        assert seen_in(graph, namespace) == (EVERYTHING if sees else set()), namespace


def test_the_mesh_says_who_sees_what_says_nothing() -> None:
    graph = graph_of(service("web"))
    inputs.apply_mesh_config(graph, MeshConfig(default_service_export_to=(".",)))
    assert (seen_in(graph, "vm"), seen_in(graph, "other")) == (EVERYTHING, set())


def test_of_several_for_a_host_each_namespace_sees_its_own() -> None:
    graph = graph_of(
        entry("a", "10.96.0.1", "one", ["."]), entry("b", "10.96.0.2", "two", ["."]), entry("c", "10.96.0.3", "three")
    )
    addresses = {n: graph.get(name_table, Scope(n)).records[HOST] for n in ("one", "two", "three", "four")}
    assert addresses == {"one": ("10.96.0.1",), "two": ("10.96.0.2",), "three": ("10.96.0.3",), "four": ("10.96.0.3",)}
    for namespace, (address,) in addresses.items():
        found = resource_set(graph, proxy(namespace=namespace))
        assert [n for n in (r.name for r in found.resources(LISTENER)) if n.endswith("_443")] == [f"{address}_443"]
        (endpoints,) = found.resources(ENDPOINT)
        assert address.replace("10.96", "192.0").encode() in endpoints.body
    assert not [p for p in graph.get(problems) if p.reason == "ConflictingHost"]


@pytest.mark.parametrize(
    ("first", "second", "reader", "expected"),
    [(["*"], ["two"], "two", "10.96.0.2"), (["two"], ["."], "two", "10.96.0.2"), (["*"], ["*"], "two", "10.96.0.1"),
     (["~"], ["*"], "three", "10.96.0.2")],
)  # fmt: skip
def test_what_is_exported_to_fewer_comes_first(first: list[str], second: list[str], reader: str, expected: str) -> None:
    graph = graph_of(entry("a", "10.96.0.1", "one", first), entry("b", "10.96.0.2", "two", second))
    assert graph.get(name_table, Scope(reader)).records[HOST] == (expected,)


def test_a_pod_serves_what_its_own_namespace_says_of_a_host() -> None:
    selected = {"endpoints": [], "workloadSelector": {"labels": {"app": "api"}}}
    graph = graph_of(
        entry("a", "10.96.0.1", "one", ["."], **selected), entry("b", "10.96.0.2", "two", ["."], **selected),
        pod("api", "10.244.0.9", {"app": "api"}, "two"),
    )  # fmt: skip
    (port,) = graph.get(inbound_ports, proxy("api", "two", "10.244.0.9", app="api"))
    assert (port.number, port.serves) == (443, ((HOST, "two", 443),))


def test_a_destination_that_is_not_exported_to_the_client_does_not_exist_for_it() -> None:
    route = virtual_service("shop", "shop.example.com", {"web.vm.svc.cluster.local": 1}, "other")
    found = [p for p in graph_of(exported("web", "."), route).get(problems) if p.reason == "UnknownHost"]
    assert [(p.field, "is not exported to" in p.message) for p in found] == [
        ("spec.http[0].route[0].destination.host", True)
    ]


def test_virtual_services_are_shown_as_the_mesh_says() -> None:
    graph = graph_of(
        service("web"), virtual_service("web", "web", {"web/v1": 1}), destination_rule("web", "web", {"v1": {}})
    )
    inputs.apply_mesh_config(graph, MeshConfig(default_virtual_service_export_to=(".",)))

    def routed(namespace: str) -> bool:
        (routes,) = resource_set(graph, proxy(namespace=namespace)).resources(ROUTE)
        return b"outbound|80|v1|" in routes.body

    assert (routed("vm"), routed("other")) == (True, False)


def test_namespaces_that_see_the_same_share_it() -> None:
    graph = graph_of(service("web"), exported("secret", "."))
    one, two = (resource_set(graph, proxy(namespace=n)) for n in ("one", "two"))
    assert one is two
    own = resource_set(graph, proxy(namespace="vm"))
    assert own.get(CLUSTER, "outbound|80||web.vm.svc.cluster.local") is one.get(
        CLUSTER, "outbound|80||web.vm.svc.cluster.local"
    )
