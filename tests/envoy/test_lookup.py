"""What is looked up by name is what the whole set has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.lookup import Lookup
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from pilotfish.explain.held import Held
from pilotfish.mesh import inputs
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from tests.envoy.machine import NAME, pod_object
from tests.golden.cases import CASES, NAMES, read_case


@pytest.mark.parametrize("name", NAMES)
def test_each_resource_is_found_by_its_name(name: str) -> None:
    proxy, graph, _ = read_case(CASES / name / "in.yaml")
    lookup, resources = Lookup(graph, proxy), resource_set(graph, proxy)
    for type_url in (LISTENER, ROUTE, CLUSTER, ENDPOINT):
        for resource in resources.resources(type_url):
            assert lookup.find(type_url, resource.name) == resource
        assert lookup.find(type_url, "nobody") is None
        assert lookup.find(type_url, "outbound|80||nobody.example.com") is None


def read_machine(name: str, has_own: bool) -> tuple[Proxy, Graph]:
    """A case, whose proxy is that of the machine: it serves one of another namespace, and the case's own pod or not."""
    proxy, graph, _ = read_case(CASES / name / "in.yaml")
    own = pod_object(str(proxy), proxy.addresses[0], proxy.labels)
    pods = (pod_object("stranger-0.stranger", "10.244.9.9", {"app": "stranger"}), *((own,) if has_own else ()))
    loaded = load("\n---\n".join(pods), "pods.yaml", "vm")
    inputs.apply(graph, {manifest.ref: manifest for manifest in loaded.manifests})
    machine = Proxy.of_pod(NAME, "istio-system", ("10.244.0.1",), type=ProxyType.NODE)
    return replace(machine, certified=proxy.certified, netns_prefix="/run/netns/pf-x."), graph


@pytest.mark.parametrize("has_own", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_resource_of_a_machine_is_found_by_its_name(name: str, has_own: bool) -> None:
    machine, graph = read_machine(name, has_own)
    lookup, resources = Lookup(graph, machine), resource_set(graph, machine)
    for type_url in (LISTENER, ROUTE, CLUSTER, ENDPOINT, SECRET):
        for resource in resources.resources(type_url):
            assert lookup.find(type_url, resource.name) == resource
        for nobody in ("nobody", "nobody~x", "outbound|80||nobody.example.com", "outbound|80||nobody.example.com~x"):
            assert lookup.find(type_url, nobody) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_place_of_a_machine_has_the_same_listeners(name: str) -> None:
    machine, graph = read_machine(name, True)
    whole, looked_up = Held.of_resources(resource_set(graph, machine)), Held.of_lookup(Lookup(graph, machine))
    messages = [Listener.FromString(each.body) for each in resource_set(graph, machine).resources(LISTENER)]
    for at in (each.address.socket_address for each in messages):
        place = (at.address, at.port_value, at.network_namespace_filepath)
        assert looked_up.listener(*place) == whole.listener(*place) is not None
        found, wanted = looked_up.listeners_at(*place[:2]), whole.listeners_at(*place[:2])
        assert {each.name for each in found} == {each.name for each in wanted}


@pytest.mark.parametrize("name", NAMES)
def test_each_place_has_has_the_same_listener(name: str) -> None:
    proxy, graph, _ = read_case(CASES / name / "in.yaml")
    whole, looked_up = Held.of_resources(resource_set(graph, proxy)), Held.of_lookup(Lookup(graph, proxy))
    names = [resource.name for resource in resource_set(graph, proxy).resources(LISTENER)]
    places = [tuple(each.rpartition("_")[::2]) for each in names]
    asked = [(address, int(port)) for address, port in places if port.isdecimal()]
    for address, port in (*asked, ("0.0.0.0", 15001), ("0.0.0.0", 15006), ("::", 15001), ("::", 80), ("10.9.9.9", 80)):
        assert looked_up.listener(address, port) == whole.listener(address, port)
