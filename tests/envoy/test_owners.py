"""Owners: the user's objects behind a resource are those that its queries read."""

from __future__ import annotations

from pilotfish.envoy.clusters import Client, service_clusters
from pilotfish.envoy.endpoints import load_assignment
from pilotfish.envoy.listeners import outbound_listener
from pilotfish.envoy.owners import owners
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.routes import port_routes
from pilotfish.envoy.types import CLUSTER, LISTENER
from pilotfish.envoy.values import Resource
from pilotfish.mesh import inputs
from pilotfish.mesh.scope import EVERYONE, NOWHERE, Scope
from pilotfish.model import ObjectRef
from tests.mesh.meshes import destination_rule, graph_of, pod, proxy, ref, service, virtual_service

HOST = "web.vm.svc.cluster.local"
GRAPH = graph_of(
    service("web", ports=[{"name": "http", "port": 80}, {"name": "tcp", "port": 81}]),
    service("blog", address="10.96.0.2"),
    service("bystander", address="10.96.0.3", ports=[{"name": "http", "port": 90}]),
    pod("web-0", "10.244.0.5", {"app": "web", "version": "v1"}),
    destination_rule("web", "web", {"v1": {"version": "v1"}}),
    destination_rule("bystander", "bystander", {"v1": {"version": "v1"}}),
    virtual_service("web", "web", {"web/v1": 50, "blog": 50}),
)
WEB, BLOG, RULE = ref("Service", "web"), ref("Service", "blog"), ref("DestinationRule", "web")


def _owners(resource: Resource | None) -> tuple[ObjectRef, ...]:
    assert resource is not None
    return owners(GRAPH, resource)


def test_a_cluster_is_owned_by_its_service_and_the_rules_that_shape_it() -> None:
    for resource in GRAPH.get(service_clusters, HOST, "", (), (RULE,), Client(None, NOWHERE, certified=True)):
        assert _owners(resource) == (RULE, WEB)


def test_endpoints_are_owned_by_the_service_and_the_rule_that_defines_the_subset_and_by_no_pod() -> None:
    assert _owners(GRAPH.get(load_assignment, HOST, "", 80, "v1", (RULE,), NOWHERE)) == (RULE, WEB)
    assert _owners(GRAPH.get(load_assignment, HOST, "", 80, "", (), NOWHERE)) == (WEB,)


def test_a_route_is_owned_by_all_that_it_routes_and_by_who_said_so() -> None:
    resource = GRAPH.get(port_routes, Scope("vm"), 80)
    assert _owners(resource) == (RULE, BLOG, WEB, ref("VirtualService", "web"))


def test_a_listener_is_owned_by_its_service() -> None:
    assert _owners(GRAPH.get(outbound_listener, EVERYONE, "10.96.0.1_81")) == (WEB,)


def test_an_inbound_listener_is_owned_by_the_services_of_its_ports() -> None:
    found = resource_set(GRAPH, proxy("web-0", address="10.244.0.5", app="web", version="v1"))
    assert _owners(found.get(LISTENER, "virtualInbound")) == (WEB,)


def test_an_object_that_changes_nothing_is_an_owner_of_what_it_has_a_say_in() -> None:
    graph = graph_of(service("web"), destination_rule("a", "web", {}))
    resource_set(graph, proxy())
    later = destination_rule("b", "web", {})
    inputs.apply(graph, {later.ref: later})
    found = resource_set(graph, proxy()).get(CLUSTER, f"outbound|80||{HOST}")
    assert found is not None
    assert {r.name for r in owners(graph, found)} == {"a", "b", "web"}


def test_what_no_object_led_to_is_nobodys() -> None:
    assert _owners(resource_set(GRAPH, proxy()).get(LISTENER, "virtualOutbound")) == ()
