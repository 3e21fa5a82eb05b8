"""Layers and sets: equal by content, and complete."""

from __future__ import annotations

import pytest

from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE
from pilotfish.envoy.values import DanglingReferenceError, Layer, Resource, ResourceSet


def _cluster(name: str = "a", body: bytes = b"1") -> Resource:
    return Resource.make(CLUSTER, name, body)


def _route(cluster: str) -> Resource:
    return Resource.make(ROUTE, "80", b"r", references=[(CLUSTER, cluster)])


def test_a_version_follows_the_body_alone() -> None:
    assert _cluster(body=b"1").version == _cluster(name="b", body=b"1").version
    assert _cluster(body=b"1").version != _cluster(body=b"2").version


def test_layers_are_equal_if_their_resources_are_whatever_the_order() -> None:
    one, two = Layer(CLUSTER, (_cluster("a"), _cluster("b"))), Layer(CLUSTER, (_cluster("b"), _cluster("a")))
    assert one == two
    assert list(one) == list(two) == ["a", "b"]
    assert hash(one) == hash(two)
    assert one.version == two.version


def test_a_set_refuses_a_reference_that_dangles() -> None:
    clusters, routes = Layer(CLUSTER, (_cluster("a"),)), Layer(ROUTE, (_route("a"),))
    assert ResourceSet((clusters, routes)).get(CLUSTER, "a") == _cluster("a")
    with pytest.raises(DanglingReferenceError, match="'b'"):
        ResourceSet((clusters, Layer(ROUTE, (_route("b"),))))


def test_a_set_may_refer_to_what_its_base_has() -> None:
    base = ResourceSet((Layer(CLUSTER, (_cluster("a"),)),))
    listener = Resource.make(LISTENER, "in", b"l", references=[(CLUSTER, "a")])
    whole = ResourceSet((Layer(LISTENER, (listener,)), Layer(CLUSTER, (_cluster("own"),))), base)
    assert [list(layer) for layer in whole.layers(CLUSTER)] == [["a"], ["own"]]
    assert whole.layers("nobody/knows") == ()
