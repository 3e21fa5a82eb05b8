"""A cluster's EndpointSlices are the truth about who serves a Service that selects pods."""

from __future__ import annotations

from typing import Any

from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.model.service import Endpoint
from tests.mesh.meshes import manifest, pod, service

HOST = "web.vm.svc.cluster.local"
KEPT = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
PROXIED = {"app": "web", "security.istio.io/tlsMode": "istio"}


def listed(*endpoints: dict[str, Any], name: str = "web-1", family: str = "IPv4") -> Manifest:
    return manifest(
        "EndpointSlice",
        name,
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "web", **KEPT},
        addressType=family,
        ports=[{"name": "http", "port": 8080}],
        endpoints=list(endpoints),
    )


def of_pod(name: str, address: str, ready: bool = True) -> dict[str, Any]:
    target = {"kind": "Pod", "name": name, "namespace": "vm"}
    return {"addresses": [address], "conditions": {"ready": ready}, "targetRef": target}


def serving(*manifests: Manifest) -> tuple[Endpoint, ...]:
    graph = Graph()
    inputs.apply(graph, {each.ref: each for each in (service("web"), *manifests)})
    return graph.get(endpoints, HOST, "", 80)


def test_each_pod_serves_once_as_its_slice_says() -> None:
    one, two = pod("a", "10.0.0.1", PROXIED, ready=True), pod("b", "10.0.0.2", PROXIED, ready=True)
    found = serving(one, two, listed(of_pod("a", "10.0.0.1", ready=False)))
    assert [(each.address, each.port, each.ready, each.mutual) for each in found] == [("10.0.0.1", 8080, False, True)]
    assert found[0].ref == one.ref
    assert dict(found[0].labels)["app"] == "web"


def test_without_slices_the_pods_serve() -> None:
    assert [each.address for each in serving(pod("a", "10.0.0.1", PROXIED))] == ["10.0.0.1"]


def test_a_slice_that_no_cluster_keeps_is_not_theirs() -> None:
    """On one machine."""
    own = manifest(
        "EndpointSlice",
        "x",
        api="discovery.k8s.io/v1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        ports=[{"name": "http", "port": 1}],
        endpoints=[{"addresses": ["10.0.0.9"]}],
    )
    assert [each.address for each in serving(pod("a", "10.0.0.1", PROXIED), own)] == ["10.0.0.1"]


def test_nobody_serves_if_the_slice_is_empty() -> None:
    assert serving(pod("a", "10.0.0.1", PROXIED), listed()) == ()


def test_a_pod_that_is_not_known_yet_is_not_called_without_its_certificate() -> None:
    """A slice may be told before its pod is: the proxies would call it in plaintext."""
    assert serving(listed(of_pod("a", "10.0.0.1"))) == ()


def test_an_address_that_another_pod_has_now() -> None:
    """The slice is older than the pods."""
    gone, here = of_pod("a", "10.0.0.1"), pod("b", "10.0.0.1", {"app": "other"})
    assert serving(here, listed(gone)) == ()
    assert serving(here, pod("a", "10.0.0.9", PROXIED), listed(gone)) == ()


def test_pods_that_share_the_address_of_their_node() -> None:
    shared = [pod(name, "10.0.0.1", {"app": "web", "n": name}) for name in ("a", "b")]
    found = serving(*shared, listed(of_pod("b", "10.0.0.1")))
    assert [dict(each.labels)["n"] for each in found] == ["b"]


def test_one_that_moves_from_slice_to_slice_serves_once() -> None:
    moving = (listed(of_pod("a", "10.0.0.1", ready=False)), listed(of_pod("a", "10.0.0.1"), name="web-2"))
    found = serving(pod("a", "10.0.0.1", PROXIED), *moving)
    assert [(each.address, each.ready) for each in found] == [("10.0.0.1", True)]


def test_a_pod_with_two_addresses_serves_once() -> None:
    dual = manifest(
        "Pod",
        "a",
        labels=PROXIED,
        spec={"containers": [{"name": "app", "command": ["x"]}]},
        status={"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    )
    slices = (listed(of_pod("a", "10.0.0.1")), listed(of_pod("a", "fd00::1"), name="web-6", family="IPv6"))
    assert [each.address for each in serving(dual, *slices)] == ["10.0.0.1"]


def test_workload_entries_that_it_selects_serve_beside_them() -> None:
    entry = manifest(
        "WorkloadEntry", "vm", api="networking.istio.io/v1", spec={"address": "10.7.0.1", "labels": {"app": "web"}}
    )
    found = serving(entry, pod("a", "10.0.0.1", PROXIED), listed(of_pod("a", "10.0.0.1")))
    assert sorted(each.address for each in found) == ["10.0.0.1", "10.7.0.1"]


def test_a_slice_that_changes_is_news_to_its_service_alone() -> None:
    graph = Graph()
    other = manifest("EndpointSlice", "x-1", api="discovery.k8s.io/v1", labels={"kubernetes.io/service-name": "x"},
                     addressType="IPv4", ports=[{"name": "http", "port": 80}], endpoints=[])  # fmt: skip
    given = (service("web"), service("x"), pod("a", "10.0.0.1", PROXIED), listed(of_pod("a", "10.0.0.1")), other)
    inputs.apply(graph, {each.ref: each for each in given})
    graph.get(endpoints, HOST, "", 80)
    graph.stats.reset()
    changed = manifest("EndpointSlice", "x-1", api="discovery.k8s.io/v1", labels={"kubernetes.io/service-name": "x"},
                       addressType="IPv4", ports=[{"name": "http", "port": 81}], endpoints=[])  # fmt: skip
    inputs.apply(graph, {changed.ref: changed})
    graph.get(endpoints, HOST, "", 80)
    assert graph.stats.total == 0
