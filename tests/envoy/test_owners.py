"""Owners: the user's objects behind a resource are those that its queries read."""

from __future__ import annotations

from pilotfish.envoy.clusters import service_clusters
from pilotfish.envoy.endpoints import load_assignment
from pilotfish.envoy.listeners import outbound_listener
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.routes import port_routes
from pilotfish.envoy.types import LISTENER
from pilotfish.mesh.policies import rules_for
from pilotfish.model import ObjectRef
from tests.mesh.meshes import destination_rule, graph_of, pod, proxy, ref, service, virtual_service

HOST = "web.vm.svc.cluster.local"
OBJECTS = {"Service", "ServiceEntry", "VirtualService", "DestinationRule"}
GRAPH = graph_of(
    service("web", ports=[{"name": "http", "port": 80}, {"name": "tcp", "port": 81}]),
    service("blog", address="10.96.0.2"),
    pod("web-0", "10.244.0.5", {"app": "web", "version": "v1"}),
    destination_rule("web", "web", {"v1": {"version": "v1"}}),
    virtual_service("web", "web", {"web/v1": 50, "blog": 50}),
)


def _read(provenance: frozenset[tuple[str, object]]) -> set[object]:
    return {key for table, key in provenance if table in OBJECTS and isinstance(key, ObjectRef)}


def test_a_cluster_is_owned_by_what_it_read() -> None:
    rules = (ref("DestinationRule", "web"),)
    for resource in GRAPH.get(service_clusters, HOST, rules):
        assert set(resource.owners) == _read(GRAPH.provenance(service_clusters, HOST, rules))


def test_endpoints_are_owned_by_the_service_and_the_rule_that_defines_the_subset() -> None:
    rules = (ref("DestinationRule", "web"),)
    for args in ((HOST, 80, "v1", rules), (HOST, 80, "", ())):
        resource = GRAPH.get(load_assignment, *args)
        assert set(resource.owners) == _read(GRAPH.provenance(load_assignment, *args))
        assert all(owner.kind != "Pod" for owner in resource.owners)


def test_a_route_is_owned_by_all_that_it_routes_and_by_who_said_so() -> None:
    resource = GRAPH.get(port_routes, "vm", 80)
    assert set(resource.owners) == _read(GRAPH.provenance(port_routes, "vm", 80))
    assert ref("VirtualService", "web") in resource.owners


def test_a_listener_is_owned_by_its_service() -> None:
    resource = GRAPH.get(outbound_listener, "10.96.0.1_81")
    assert resource is not None
    assert resource.owners == (ref("Service", "web"),)
    assert set(resource.owners) == _read(GRAPH.provenance(outbound_listener, "10.96.0.1_81"))


def test_an_inbound_listener_is_owned_by_the_services_of_its_ports() -> None:
    found = GRAPH.get(resource_set, proxy("web-0", address="10.244.0.5", app="web", version="v1"))
    assert found.layers(LISTENER)[1]["virtualInbound"].owners == (ref("Service", "web"),)


def test_rules_found_are_no_part_of_what_was_read() -> None:
    """Looking for a rule reads every rule; that makes none of them an owner."""
    assert GRAPH.get(rules_for, "vm", "blog.vm.svc.cluster.local") == ()
