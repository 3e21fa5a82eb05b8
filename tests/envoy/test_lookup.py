"""What is looked up by name is what the whole set has."""

from __future__ import annotations

import pytest

from pilotfish.envoy.lookup import Lookup
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.explain.held import Held
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


@pytest.mark.parametrize("name", NAMES)
def test_each_place_has_the_same_listener(name: str) -> None:
    proxy, graph, _ = read_case(CASES / name / "in.yaml")
    whole, looked_up = Held.of_resources(resource_set(graph, proxy)), Held.of_lookup(Lookup(graph, proxy))
    names = [resource.name for resource in resource_set(graph, proxy).resources(LISTENER)]
    places = [tuple(each.rpartition("_")[::2]) for each in names]
    asked = [(address, int(port)) for address, port in places if port.isdecimal()]
    for address, port in (*asked, ("0.0.0.0", 15001), ("0.0.0.0", 15006), ("::", 15001), ("::", 80), ("10.9.9.9", 80)):
        assert looked_up.listener(address, port) == whole.listener(address, port)
