"""Which Sidecar applies to a workload, and what its scope holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph
from pilotfish.envoy.owners import owners
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.names import name_table
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from tests.mesh.meshes import (
    NETWORKING,
    destination_rule,
    graph_of,
    manifest,
    pod,
    proxy,
    service,
    virtual_service,
)

MESH = (
    service("a"),
    service("b", "shop", "10.96.0.2"),
    service("c", "shop", "10.96.0.3"),
    service("d", "club", "10.96.0.4"),
)


def sidecar(name: str, *hosts: str, namespace: str = "vm", created: str = "", **spec: Any) -> Manifest:
    spec = {"egress": [{"hosts": [*hosts]}], **spec} if hosts else spec
    return manifest("Sidecar", name, namespace, NETWORKING, spec=spec, created=created)


def selecting(name: str, host: str, created: str = "", **labels: str) -> Manifest:
    return sidecar(name, host, created=created, workloadSelector={"labels": labels})


def seen(graph: Graph, client: Proxy) -> str:
    """The short names of the services that a proxy has clusters for."""
    names = (
        r.name.rpartition("|")[2].partition(".")[0]
        for r in resource_set(graph, client).resources(CLUSTER)
        if "outbound" in r.name
    )
    return "".join(sorted(set(names)))


def of(graph: Graph, type_url: str, client: Proxy | None = None) -> set[str]:
    return {r.name for r in resource_set(graph, client or proxy()).resources(type_url)}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (proxy(app="web"), "a"),
        (proxy(app="web", tier="x"), "a"),
        (proxy(app="db", tier="x"), "b"),
        (proxy(app="other"), "c"),
        (proxy(namespace="club"), "d"),
        (proxy(namespace="istio-system"), ""),
        (Proxy.of_pod("gw", "vm", ("10.244.0.9",), type=ProxyType.ROUTER), "abcd"),
    ],
)
def test_the_narrowest_sidecar_applies_and_of_equals_the_oldest(client: Proxy, expected: str) -> None:
    graph = graph_of(
        *MESH,
        selecting("of-web", "*/a.vm.svc.cluster.local", created="2020-01-01T00:00:00Z", app="web"),
        selecting("of-x", "*/b.shop.svc.cluster.local", created="2021-01-01T00:00:00Z", tier="x"),
        sidecar("a-younger", "~/*", created="2022-01-01T00:00:00Z"),
        sidecar("default", "*/c.shop.svc.cluster.local", created="2021-01-01T00:00:00Z"),
        sidecar("root", "./d.club.svc.cluster.local", namespace="istio-system"),
        sidecar("of-root", "*/*", namespace="istio-system", workloadSelector={"labels": {"app": "x"}}),
    )
    assert seen(graph, client) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["./*"], "a"), (["shop/*"], "bc"), (["*/*"], "abcd"), (["~/*"], ""), (["shop/b.shop.svc.cluster.local"], "b"),
        (["vm/b.shop.svc.cluster.local"], ""), (["*/*.svc.cluster.local", "~shop/*"], "ad"),
        (["*/B.shop.svc.cluster.local"], "b"),
        (["*/*", "~/c.shop.svc.cluster.local"], "abd"), (["shop/*.shop.svc.cluster.local", "./*"], "abc"),
    ],
)  # fmt: skip
def test_hosts_are_imported(hosts: list[str], expected: str) -> None:
    graph = graph_of(*MESH, sidecar("default", *hosts))
    assert seen(graph, proxy()) == expected
    names = {n.partition(".")[0] for n in graph.get(name_table, scope_of(graph, proxy())).records}
    assert names == set(expected)


def test_destinations_of_imported_routes_have_clusters_and_no_more() -> None:
    """Those of delegates and mirrors too; of a port that is named, that one alone."""
    two = [{"name": "http-a", "port": 80}, {"name": "http-b", "port": 81}]
    spec = {
        "hosts": ["a"],
        "http": [{
            "route": [{"destination": {"host": "b.shop.svc.cluster.local", "port": {"number": 81}}}],
            "mirror": {"host": "d.club.svc.cluster.local"},
        }],
    }  # fmt: skip
    route = manifest("VirtualService", "a", "vm", NETWORKING, spec=spec)
    graph = graph_of(MESH[0], service("b", "shop", "10.96.0.2", ports=two), *MESH[2:], route, sidecar("default", "./*"))
    outbound = {name for name in of(graph, CLUSTER) if name.startswith("outbound")}
    assert outbound == {
        "outbound|80||a.vm.svc.cluster.local",
        "outbound|81||b.shop.svc.cluster.local",
        "outbound|80||d.club.svc.cluster.local",
    }
    assert of(graph, ROUTE) == {"80"}


def test_routes_count_by_their_own_namespace() -> None:
    """A VirtualService of a namespace that is not imported does not apply; a DestinationRule does all the same."""
    graph = graph_of(
        *MESH,
        virtual_service("theirs", "a.vm.svc.cluster.local", {"d.club.svc.cluster.local": 1}, "club"),
        destination_rule("b", "b", {"v1": {"version": "v1"}}, "shop"),
        sidecar("default", "./*", "shop/*"),
    )
    assert seen(graph, proxy()) == "abc"
    assert "outbound|80|v1|b.shop.svc.cluster.local" in of(graph, CLUSTER)
    assert seen(graph, proxy(namespace="bar")) == "abcd"


def test_of_several_services_of_a_host_the_imported_one_is_seen() -> None:
    def entry(namespace: str, address: str) -> Manifest:
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        spec = {"hosts": ["x.example.com"], "addresses": [address], "ports": ports, "resolution": "STATIC",
                "endpoints": [{"address": "192.0.2.1"}]}  # fmt: skip
        return manifest("ServiceEntry", "x", namespace, NETWORKING, spec=spec)

    graph = graph_of(entry("shop", "192.0.2.7"), entry("club", "192.0.2.8"), sidecar("default", "shop/*"))
    assert graph.get(name_table, scope_of(graph, proxy())).records == {"x.example.com": ("192.0.2.7",)}
    graph = graph_of(entry("shop", "192.0.2.7"), entry("vm", "192.0.2.8"), sidecar("default", "*/*", "~club/*"))
    assert graph.get(name_table, scope_of(graph, proxy())).records == {"x.example.com": ("192.0.2.8",)}


def test_ports_of_a_listener_are_its_own() -> None:
    egress = [
        {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["./*"]},
        {"port": {"number": 9000, "protocol": "TCP"}, "hosts": ["*/*"], "captureMode": "NONE"},
        {"hosts": ["shop/b.shop.svc.cluster.local"]},
    ]
    ports = [{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]
    b = service("b", "shop", "10.96.0.2", ports=ports)
    graph = graph_of(*MESH[:1], b, *MESH[2:], sidecar("default", egress=egress))
    assert of(graph, LISTENER) == {
        "0.0.0.0_80",
        "127.0.0.1_9000",
        "10.96.0.2_9000",
        "virtualOutbound",
        "virtualInbound",
    }
    (routes,) = resource_set(graph, proxy()).resources(ROUTE)
    assert b"a.vm" in routes.body
    assert b"b.shop" not in routes.body, "port 80 is the first listener's, and that is for its own namespace"
    bound = resource_set(graph, proxy()).get(LISTENER, "127.0.0.1_9000")
    assert bound is not None
    assert "Sidecar" in {ref.kind.name for ref in owners(graph, bound)}, "Envoy may refuse where it is bound"


def test_a_gateway_has_no_sidecar() -> None:
    gateway = Proxy.of_pod("gw", "vm", ("10.244.0.9",), type=ProxyType.ROUTER)
    ingress = [{"port": {"number": 80, "protocol": "HTTP"}, "defaultEndpoint": "127.0.0.1:8080"}]
    graph = graph_of(*MESH, sidecar("default", ingress=ingress))
    assert "inbound|80||" in of(graph, CLUSTER)
    assert "inbound|80||" not in of(graph, CLUSTER, gateway)


def test_the_pool_of_inbound_connections_holds_for_the_ports_of_services() -> None:
    app = (service("web"), pod("web", "10.244.0.2", {"app": "web"}))
    plain = graph_of(*app)
    bounded = graph_of(*app, sidecar("default", inboundConnectionPool={"tcp": {"maxConnections": 7}}))
    clusters = [resource_set(g, proxy("web", app="web")).get(CLUSTER, "inbound|80||") for g in (plain, bounded)]
    assert clusters[0] is not None
    assert clusters[0] != clusters[1]


def test_those_who_see_the_same_share_all() -> None:
    graph = graph_of(*MESH, sidecar("default", "shop/*"), sidecar("other", "shop/*", namespace="bar"))
    assert resource_set(graph, proxy(namespace="bar", app="x")) is resource_set(graph, proxy(namespace="bar", app="y"))
    one, two = (resource_set(graph, proxy(namespace=n)) for n in ("bar", "vm"))
    assert [a is b for a, b in zip(one.layers(CLUSTER)[:1], two.layers(CLUSTER)[:1], strict=True)] == [True]


def found(*manifests: Manifest, of: Iterable[str]) -> set[tuple[str, str, str]]:
    reported = graph_of(*manifests).get(problems)
    return {(p.ref.name, p.reason, p.severity) for p in reported if p.ref is not None and p.reason in of}


def test_several_for_one_workload_are_said() -> None:
    reasons = ("ConflictingSelector", "ConflictingDefault", "NoWorkloads")
    pods = (pod("web", "10.244.0.2", {"app": "web", "tier": "x"}),)
    both = (
        selecting("old", "./*", "2020-01-01T00:00:00Z", app="web"),
        selecting("young", "./*", "2021-01-01T00:00:00Z", tier="x"),
    )
    lost = selecting("lost", "./*", app="wbe")
    assert found(*pods, *both, lost, sidecar("a", "./*"), sidecar("b", "./*"), of=reasons) == {
        ("old", "ConflictingSelector", "info"),
        ("young", "ConflictingSelector", "warning"),
        ("lost", "NoWorkloads", "warning"),
        ("a", "ConflictingDefault", "info"),
        ("b", "ConflictingDefault", "warning"),
    }


def test_what_a_sidecar_names_and_is_not_there_is_said() -> None:
    proxy_of = {"mode": "ALLOW_ANY", "egressProxy": {"host": "b.shop.svc.cluster.local", "port": {"number": 80}}}
    reasons = ("UnknownImport", "UnknownHost")
    assert found(*MESH, sidecar("x", "./*", "shop/nope.example.com", outboundTrafficPolicy=proxy_of), of=reasons) == {
        ("x", "UnknownImport", "info"),
        ("x", "UnknownHost", "warning"),
    }
    assert not found(*MESH, sidecar("x", "shop/b.shop.svc.cluster.local", outboundTrafficPolicy=proxy_of), of=reasons)


def test_an_egress_proxy_that_is_not_imported_gets_nothing() -> None:
    proxy_of = {"mode": "ALLOW_ANY", "egressProxy": {"host": "b.shop.svc.cluster.local", "port": {"number": 80}}}
    graph = graph_of(*MESH, sidecar("x", "./*", outboundTrafficPolicy=proxy_of))
    outbound = resource_set(graph, proxy()).get(LISTENER, "virtualOutbound")
    assert outbound is not None
    assert b"PassthroughCluster" not in outbound.body


def test_the_meshs_root_namespace_has_the_default() -> None:
    graph = graph_of(*MESH, sidecar("default", "shop/*", namespace="root"))
    assert seen(graph, proxy()) == "abcd"
    inputs.apply_mesh_config(graph, MeshConfig(root_namespace="root"))
    assert seen(graph, proxy()) == "bc"
