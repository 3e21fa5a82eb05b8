"""What the node's kernel is to serve: whose addresses, which ports, and who is behind each."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.frontends import frontends_of
from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.model.kinds import SERVICE
from tests.mesh.meshes import graph_of, manifest, pod, service

EXTERNAL = "203.0.113.9"
NAMES = ("web", "z-old", "a-young", "thief", *(f"s{n}" for n in range(50)))
"""Of the Services below."""


def frontends(graph: Graph) -> Frontends:
    found = (graph.get(frontends_of, SERVICE.ref("vm", name)) for name in NAMES)
    return {frontend.name: frontend for each in found for frontend in each}


def only(*manifests: Manifest) -> Frontend:
    (found,) = frontends(graph_of(*manifests)).values()
    return found


def web(name: str = "web", created: str = "", **spec: Any) -> Manifest:
    spec = {"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}], **spec}
    return manifest("Service", name, created=created, spec=spec)


def test_each_port_has_the_addresses_and_the_ready_pods() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    pods = (pod("web-0", "10.0.0.1", {"app": "web"}), pod("web-1", "10.0.0.2", {"app": "web"}, ready=False))
    assert frontends(graph_of(web(ports=ports, externalIPs=[EXTERNAL]), *pods)) == {
        "vm/web/tcp/80": Frontend("vm", "web", "TCP", 80, ("10.96.0.1", EXTERNAL), (("10.0.0.1", 8080),)),
        "vm/web/udp/53": Frontend("vm", "web", "UDP", 53, ("10.96.0.1", EXTERNAL), (("10.0.0.1", 53),)),
    }


def test_kernel_and_proxies_are_told_of_the_same_endpoints() -> None:
    graph = graph_of(web(), *(pod(f"web-{n}", f"10.0.0.{n}", {"app": "web"}, ready=n % 2 == 0) for n in range(4)))
    (found,) = frontends(graph).values()
    told = graph.get(endpoints, "web.vm.svc.cluster.local", "", 80)
    assert found.endpoints == tuple((e.address, e.port) for e in told if e.ready)


def test_pods_that_are_not_ready_serve_where_the_service_says_so() -> None:
    unready = pod("web-0", "10.0.0.1", {"app": "web"}, ready=False)
    assert only(web(), unready).endpoints == ()
    assert only(web(publishNotReadyAddresses=True), unready).endpoints == (("10.0.0.1", 80),)


def test_a_named_target_port_is_the_one_of_its_protocol() -> None:
    ports = ({"name": "dns", "containerPort": n, "protocol": p} for n, p in ((5300, "UDP"), (5301, "TCP")))
    spec = {"containers": [{"name": f"c{n}", "command": ["x"], "ports": [p]} for n, p in enumerate(ports)]}
    server = manifest("Pod", "web-0", labels={"app": "web"}, spec=spec, status={"podIP": "10.0.0.1"})
    asked = [{"name": n, "port": 53, "protocol": p, "targetPort": "dns"} for n, p in (("a", "UDP"), ("b", "TCP"))]
    found = frontends(graph_of(web(ports=asked), server))
    assert {name: f.endpoints[0][1] for name, f in found.items()} == {"vm/web/udp/53": 5300, "vm/web/tcp/53": 5301}


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_service_without_a_selector_is_served_by_what_its_slices_list(protocol: str) -> None:
    listed = manifest(
        "EndpointSlice",
        "web-x",
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        endpoints=[{"addresses": ["10.0.0.7"]}, {"addresses": ["10.0.0.8"], "conditions": {"ready": False}}],
        ports=[{"name": "p", "port": 5300, "protocol": protocol}],
    )
    unselected = web(selector={}, ports=[{"name": "p", "port": 53, "protocol": protocol}])
    assert only(unselected, listed).endpoints == (("10.0.0.7", 5300),)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60),
    ],
)
def test_affinity_lasts_as_long_as_the_service_says(spec: dict[str, Any], seconds: int) -> None:
    assert only(web(**spec)).affinity == seconds


def test_a_headless_service_has_nothing_to_serve() -> None:
    assert frontends(graph_of(web(clusterIP="None"))) == {}


def test_a_port_of_an_external_ip_is_the_oldest_services_and_the_other_is_told() -> None:
    old = web("z-old", "2020-01-01T00:00:00Z", externalIPs=[EXTERNAL])
    more = [{"name": "http", "port": 80}, {"name": "more", "port": 81}]
    young = web("a-young", "2021-01-01T00:00:00Z", clusterIP="10.96.0.2", externalIPs=[EXTERNAL], ports=more)
    graph = graph_of(old, young)
    having = {name for name, f in frontends(graph).items() if EXTERNAL in f.addresses}
    assert having == {"vm/z-old/tcp/80", "vm/a-young/tcp/81"}
    (told,) = (p for p in graph.get(problems) if p.reason == "ConflictingExternalIP")
    assert told.ref == SERVICE.ref("vm", "a-young")
    assert "z-old" in told.message


def test_a_cluster_ip_is_its_own_services_though_an_older_one_has_it_as_external() -> None:
    thief = web("thief", "2020-01-01T00:00:00Z", clusterIP="10.96.0.2", externalIPs=["10.96.0.1"])
    found = frontends(graph_of(web(created="2021-01-01T00:00:00Z"), thief))
    assert [f.service for f in found.values() if "10.96.0.1" in f.addresses] == ["web"]


def test_a_pod_that_comes_makes_work_for_its_own_services_alone() -> None:
    """One query a Service beside the index over all."""
    many = [service(f"s{n}", address=f"10.96.1.{n}") for n in range(50)]
    pods = [pod(f"s{n}-0", f"10.0.1.{n}", {"app": f"s{n}"}) for n in range(50)]
    graph = graph_of(*many, *pods)
    frontends(graph)
    graph.stats.reset()
    new = pod("s7-1", "10.0.2.7", {"app": "s7"})
    inputs.apply(graph, {new.ref: new})
    assert len(frontends(graph)["vm/s7/tcp/80"].endpoints) == 2
    assert graph.stats.ran["frontends.frontends_of"] == 1
