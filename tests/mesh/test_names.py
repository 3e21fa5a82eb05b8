"""What the agent's DNS is told."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from pilotfish.mesh import inputs
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.scope import Scope
from tests.mesh.meshes import NETWORKING, graph_of, manifest, pod, service


def _pod(name: str, ip: str, hostname: str, **rest: Any) -> Any:
    spec = {"hostname": hostname, "subdomain": "store", "containers": [{"name": "app", "command": ["x"]}]}
    status = {"podIP": ip, "podIPs": [{"ip": ip}, {"ip": f"fd00::{ip[-1]}"}], **rest}
    return manifest("Pod", name, labels={"app": "store"}, spec=spec, status=status)


GIVEN = ("240.240.0.0/16", "2001:2::/48")
NOT_READY = {"conditions": [{"type": "Ready", "status": "False"}]}


@pytest.mark.parametrize(
    ("manifests", "records"),
    [
        pytest.param(
            [service("Web".lower(), address="10.96.0.7")], {"web.vm.svc.cluster.local": ("10.96.0.7",)}, id="cluster IP"
        ),
        pytest.param(
            [
                service("store", address="None"),
                _pod("a", "10.0.0.1", "store-0"),
                _pod("b", "10.0.0.2", "x", **NOT_READY),
            ],
            {
                "store.vm.svc.cluster.local": ("10.0.0.1",),
                "store-0.store.vm.svc.cluster.local": ("10.0.0.1",),
            },
            id="headless: ready pods, and each by its name",
        ),
        pytest.param(
            [service("store", address="None", ipFamilyPolicy="PreferDualStack"), _pod("a", "10.0.0.1", "store-0")],
            {
                "store.vm.svc.cluster.local": ("10.0.0.1", "fd00::1"),
                "store-0.store.vm.svc.cluster.local": ("10.0.0.1", "fd00::1"),
            },
            id="headless: both families, if the Service asks for them",
        ),
        pytest.param(
            [service("store", address="None", publishNotReadyAddresses=True), _pod("b", "10.0.0.2", "x", **NOT_READY)],
            {
                "store.vm.svc.cluster.local": ("10.0.0.2",),
                "x.store.vm.svc.cluster.local": ("10.0.0.2",),
            },
            id="headless: not ready ones too, if the Service asks for it",
        ),
        pytest.param(
            [service("store", address="None")], {"store.vm.svc.cluster.local": ()}, id="a name without addresses"
        ),
    ],
)
def test_names(manifests: list[Any], records: dict[str, tuple[str, ...]]) -> None:
    assert graph_of(*manifests).get(name_table, Scope("vm")).records == records


def test_a_service_entry_has_the_names_that_it_has_addresses_for() -> None:
    spec = {
        "hosts": ["API.example.com", "*.example.org"],
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http"}],
    }
    with_addresses = {**spec, "addresses": ["10.96.9.9", "10.97.0.0/16"]}
    entry = manifest("ServiceEntry", "out", api=NETWORKING, spec=with_addresses)
    expected = {"api.example.com": ("10.96.9.9",), "*.example.org": ("10.96.9.9",)}
    assert graph_of(entry).get(name_table, Scope("vm")).records == expected


def test_a_service_entry_without_addresses_has_names_but_for_wildcards() -> None:
    spec = {
        "hosts": ["API.example.com", "*.example.org"],
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http"}],
    }
    entry = manifest("ServiceEntry", "out", api=NETWORKING, spec=spec)
    ((name, addresses),) = graph_of(entry).get(name_table, Scope("vm")).records.items()
    assert name == "api.example.com"
    assert [ip_address(a) in ip_network(n) for a, n in zip(addresses, GIVEN, strict=True)] == [True, True]


def _slice(endpoints: list[Any], ports: list[Any]) -> Any:
    labels = {"kubernetes.io/service-name": "store"}
    api = "discovery.k8s.io/v1"
    return manifest("EndpointSlice", "s", api=api, labels=labels, addressType="IPv4", endpoints=endpoints, ports=ports)


HTTP = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
WEB = {"name": "web", "port": 8080}
STORE = "store.vm.svc.cluster.local"


def _named(port: int, name: str, ip: str) -> Any:
    containers = [{"name": "app", "command": ["x"], "ports": [{"name": "web", "containerPort": port}]}]
    labels = {"app": "store"}
    return manifest("Pod", name, labels=labels, spec={"containers": containers}, status={"podIP": ip})


@pytest.mark.parametrize(
    ("manifests", "ports", "headless"),
    [
        pytest.param(
            [service("store", ports=HTTP)], [("_http._tcp", 80, ()), ("_dns._udp", 53, ())], False, id="cluster IP"
        ),
        pytest.param([service("store", ports=[{"port": 80}])], [("", 80, ())], False, id="a port without a name"),
        pytest.param(
            [service("store", address="None", ports=HTTP), _named(8080, "a", "10.0.0.1")],
            [("_http._tcp", 8080, ()), ("_dns._udp", 53, ())],
            True,
            id="headless: the pods' ports",
        ),
        pytest.param(
            [
                service("store", address="None", ports=HTTP[:1]),
                _named(8080, "a", "10.0.0.1"),
                _named(8081, "b", "10.0.0.2"),
                pod("c", "10.0.0.3", {"app": "store"}),
            ],
            [("_http._tcp", 8080, ("10.0.0.1",)), ("_http._tcp", 8081, ("10.0.0.2",))],
            True,
            id="headless: each pod's own",
        ),
        pytest.param([service("store", address="None", ports=[])], [("", 0, ())], True, id="headless: no port"),
        pytest.param(
            [service("store", address="None", ports=HTTP[:1])], [("_http._tcp", 80, ())], True, id="headless: no pod"
        ),
        pytest.param(
            [service("store", address="None", ports=HTTP[:1]), pod("c", "10.0.0.3", {"app": "store"})],
            [],
            True,
            id="headless: no pod that has the port",
        ),
        pytest.param(
            [
                service("store", address="None", selector={}, ports=HTTP[1:]),
                _slice([{"addresses": ["10.0.0.1"]}], [{"name": "dns", "port": 5353, "protocol": "UDP"}]),
            ],
            [("_dns._udp", 5353, ())],
            True,
            id="headless: what a slice says",
        ),
    ],
)
def test_ports(manifests: list[Any], ports: list[tuple[str, int, tuple[str, ...]]], headless: bool) -> None:
    table = graph_of(*manifests).get(name_table, Scope("vm"))
    assert list(table.ports.get(STORE, ())) == ports
    assert (STORE in table.headless) is headless


def test_a_slice_s_endpoints_have_the_names_that_it_gives_them() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "hostname": "one"},
        {"addresses": ["10.0.0.2"]},
        {"addresses": ["10.0.0.3"], "hostname": "three", "conditions": {"ready": False}},
    ]
    graph = graph_of(service("store", address="None", selector={}, ports=[]), _slice(endpoints, []))
    assert graph.get(name_table, Scope("vm")).records == {
        STORE: ("10.0.0.1", "10.0.0.2"),
        f"one.{STORE}": ("10.0.0.1",),
    }


def test_the_version_follows_the_records() -> None:
    graph = graph_of(service("store", address="None"), _pod("a", "10.0.0.1", "store-0"))
    first = graph.get(name_table, Scope("vm"))
    inputs.apply(graph, {m.ref: m for m in (pod("unrelated", "10.0.0.9", {"app": "other"}),)})
    assert graph.get(name_table, Scope("vm")).version == first.version
    gone = _pod("a", "10.0.0.1", "store-0", **NOT_READY)
    inputs.apply(graph, {gone.ref: gone})
    assert graph.get(name_table, Scope("vm")).version != first.version
    before = graph.get(name_table, Scope("vm")).version
    more = service("store", address="None", ports=[{"name": "http", "port": 81}])
    inputs.apply(graph, {more.ref: more})
    assert graph.get(name_table, Scope("vm")).version != before, "SRV answers have ports"
