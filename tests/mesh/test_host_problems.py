"""Hosts of Istio's kinds that are not what their author takes them for: Istio's own rule, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.mesh.policy.policies import rules_for
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.routing import ANYBODY, router
from pilotfish.mesh.scope import Scope
from tests.mesh.meshes import NETWORKING, destination_rule, graph_of, manifest, pod, service, virtual_service

WHOLE = "web.vm.svc.cluster.local"
WEB = (service("web"), pod("web-0", "10.0.0.1", {"app": "web"}))
BACK = (service("back", address="10.96.0.2"), pod("back-0", "10.0.0.2", {"app": "back"}))


def entry(*hosts: str, **spec: Any) -> Manifest:
    spec = {"hosts": hosts, "resolution": "DNS", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], **spec}
    return manifest("ServiceEntry", "outside", api=NETWORKING, spec=spec)


def said(*manifests: Manifest) -> list[tuple[str, str, str]]:
    found = graph_of(*WEB, *BACK, *manifests).get(problems)
    return [(p.reason, p.field, p.message) for p in found if p.reason != "UndeclaredProtocol"]


@pytest.mark.parametrize("host", ["web", "WEB", "Web.vm.svc.cluster.local", f"{WHOLE}."])
def test_what_istio_resolves_is_the_service(host: str) -> None:
    route, rule = virtual_service("route", host, {"BACK": 1}), destination_rule("rule", host, {})
    graph = graph_of(*WEB, *BACK, route, rule)
    assert graph.get(router, ANYBODY, WHOLE) == route.ref
    assert graph.get(rules_for, Scope("vm"), WHOLE) == (rule.ref,)
    assert said(route, rule) == []


@pytest.mark.parametrize("host", ["web.vm", "web.vm.svc", "Web.vm.svc.cluster", "web.vm."])
def test_what_only_a_pods_resolver_completes_is_said_with_the_whole_name(host: str) -> None:
    ((reason, field, message),) = said(virtual_service("route", host, {"back": 1}))
    assert (reason, field) == ("IncompleteHost", "spec.hosts[0]")
    assert message.endswith(f"write {WHOLE}")
    ((reason, field, message),) = said(destination_rule("rule", host, {}))
    assert (reason, field) == ("UnknownHost", "spec.host")
    assert message.endswith(f"write {WHOLE}")
    ((reason, field, message),) = said(virtual_service("route", "back", {host: 1}))
    assert (reason, field) == ("UnknownHost", "spec.http[0].route[0].destination.host")
    assert "answered 503" in message
    assert message.endswith(f"write {WHOLE}")
    ((reason, field, message),) = said(entry("api.example.com", host))
    assert (reason, field) == ("ShadowedHost", "spec.hosts[1]")
    assert WHOLE in message


def test_an_alias_beside_the_whole_name_does_no_harm() -> None:
    spec = {"hosts": ["web", "web.vm"], "http": [{"route": [{"destination": {"host": "back"}}]}]}
    assert said(manifest("VirtualService", "route", api=NETWORKING, spec=spec)) == []


def test_a_short_host_of_a_service_entry_cannot_be_named() -> None:
    ((reason, _, message),) = said(entry("db"), virtual_service("route", "back", {"db": 1}))
    assert reason == "UnknownHost"
    assert "short names are completed" in message


@pytest.mark.parametrize(
    ("wildcard", "fits"),
    [("*.vm.svc.cluster.local", True), ("*.nowhere.svc.cluster.local", False), ("*.local", True)],
)
def test_a_wildcard_that_matches_nothing_is_said(wildcard: str, fits: bool) -> None:
    made = (virtual_service("route", wildcard, {"back": 1}), destination_rule("rule", wildcard, {}))
    assert [reason for reason, _, _ in said(*made)] == ([] if fits else ["UnknownHost"] * 2)


def test_a_wildcard_outside_of_the_mesh_may_be_known_to_a_virtual_service_alone() -> None:
    assert said(virtual_service("route", "*.example.com", {"back": 1})) == []


def test_a_pod_of_a_headless_service_has_a_name() -> None:
    store = service("store", address="None")
    one = pod("store-0", "10.0.0.3", {"app": "store"})
    host = "store-0.store.vm.svc.cluster.local"
    assert said(store, one, virtual_service("route", host, {"store": 1})) == []
    assert [r for r, _, _ in said(virtual_service("route", host, {"back": 1}))] == ["UnknownHost"]


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        pytest.param([service("a", address="10.0.0.1")], [("ConflictingAddress", "spec.clusterIP")], id="a pod's"),
        pytest.param(
            [service("zoo", address="10.96.0.1")], [("ConflictingAddress", "spec.clusterIP")], id="a Service's"
        ),
        pytest.param(
            [service("zoo", address="10.96.0.1", ports=[{"name": "http", "port": 81}])],
            [],
            id="a Service's, other ports",
        ),
        pytest.param(
            [entry("api.example.com", addresses=["10.0.0.1"])],
            [("ConflictingAddress", "spec.addresses[0]")],
            id="SE, pod",
        ),
        pytest.param(
            [entry("api.example.com", addresses=["10.96.0.2"])],
            [("ConflictingAddress", "spec.addresses[0]")],
            id="SE, Service",
        ),
        pytest.param([entry("api.example.com", addresses=["192.0.2.1"])], [], id="nobody's"),
    ],
)
def test_an_address_that_another_has_is_said(manifests: list[Manifest], expected: list[tuple[str, str]]) -> None:
    found = graph_of(*WEB, *BACK, *manifests).get(problems)
    assert [(p.reason, p.field) for p in found if "Address" in p.reason] == expected


def test_a_name_of_the_clusters_that_resolves_to_nothing_is_said() -> None:
    host = "there.example.cluster.local"
    ((reason, field, _),) = said(entry("api.example.com", host, resolution="NONE"))
    assert (reason, field) == ("UnresolvableHost", "spec.hosts[1]")
    assert said(entry(host)) == []


def test_a_port_is_named_where_it_is_written() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "http-own", "port": 15020}]
    assert [(reason, field) for reason, field, _ in said(service("web", ports=ports))] == [
        ("ReservedPort", "spec.ports[1]")
    ]
