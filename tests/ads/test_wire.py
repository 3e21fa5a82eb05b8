"""What the hand-made bytes mean to protobuf."""

from __future__ import annotations

import gc

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.ads import MalformedRequestError, parse_delta, parse_world
from pilotfish.ads.wire import Payloads
from pilotfish.envoy.types import CLUSTER
from pilotfish.envoy.values import Resource


def cluster(name: str, altered: str = "") -> Resource:
    proto = cluster_pb2.Cluster(name=name, alt_stat_name=altered)
    return Resource.make(CLUSTER, name, proto.SerializeToString())


@given(st.lists(st.tuples(st.text(), st.text(max_size=400)), max_size=5), st.lists(st.text(), max_size=3))
def test_a_delta_response_is_what_protobuf_would_write(given: list[tuple[str, str]], removed: list[str]) -> None:
    resources = tuple(cluster(name, altered) for name, altered in given)
    payload = Payloads().make(True, CLUSTER, resources, tuple(removed))
    proto = discovery_pb2.DeltaDiscoveryResponse.FromString(payload.encode())
    assert (proto.type_url, proto.nonce, list(proto.removed_resources)) == (CLUSTER, payload.nonce, removed)
    assert [(r.name, r.version) for r in proto.resources] == [(r.name, r.version) for r in resources]
    for entry, (name, altered) in zip(proto.resources, given, strict=True):
        unpacked = cluster_pb2.Cluster()
        assert entry.resource.Unpack(unpacked)
        assert (unpacked.name, unpacked.alt_stat_name) == (name, altered)


def test_a_world_response_is_what_protobuf_would_write() -> None:
    payload = Payloads().make(False, CLUSTER, (cluster("a"), cluster("b", "x" * 300)), version="v7")
    proto = discovery_pb2.DiscoveryResponse.FromString(payload.encode())
    assert (proto.type_url, proto.nonce, proto.version_info) == (CLUSTER, payload.nonce, "v7")
    assert [cluster_pb2.Cluster.FromString(r.value).name for r in proto.resources] == ["a", "b"]


def test_a_response_is_shared_while_it_lives_and_forgotten_after() -> None:
    payloads, a = Payloads(), cluster("a")
    first = payloads.make(True, CLUSTER, (a,))
    assert payloads.make(True, CLUSTER, (a,)) is first
    assert payloads.make(True, CLUSTER, (a,), not_nonce=first.nonce).nonce != first.nonce
    nonce = first.nonce
    del first
    gc.collect()
    assert payloads.make(True, CLUSTER, (a,)).nonce != nonce


def test_a_delta_request_is_read() -> None:
    proto = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER, response_nonce="n", resource_names_subscribe=["a"], resource_names_unsubscribe=["b"]
    )
    proto.initial_resource_versions["a"] = "1"
    proto.node.id = "sidecar~10.0.0.1~web.vm~vm.svc.cluster.local"
    proto.node.metadata.update({"NAMESPACE": "vm", "LABELS": {"app": "web"}})
    proto.error_detail.message = "no good"
    request = parse_delta(proto.SerializeToString())
    assert (request.type_url, request.nonce, request.error) == (CLUSTER, "n", "no good")
    assert (request.subscribe, request.unsubscribe, request.initial) == (("a",), ("b",), {"a": "1"})
    assert request.node is not None
    assert request.node.metadata == {"NAMESPACE": "vm", "LABELS": {"app": "web"}}


def test_a_world_request_is_read() -> None:
    proto = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, resource_names=["a"], version_info="v", response_nonce="n")
    request = parse_world(proto.SerializeToString())
    assert (request.names, request.version, request.nonce, request.error, request.node) == (
        ("a",),
        "v",
        "n",
        None,
        None,
    )


@pytest.mark.parametrize("parse", [parse_delta, parse_world])
def test_bytes_that_are_no_request(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(MalformedRequestError):
        parse(b"\xff\xff\xff")


@pytest.mark.parametrize("proto", [discovery_pb2.DeltaDiscoveryRequest(), discovery_pb2.DiscoveryRequest()])
def test_what_a_node_says_of_itself_is_bounded(
    proto: discovery_pb2.DeltaDiscoveryRequest | discovery_pb2.DiscoveryRequest,
) -> None:
    parse = parse_delta if isinstance(proto, discovery_pb2.DeltaDiscoveryRequest) else parse_world
    proto.node.id = "sidecar~10.0.0.1~web.vm~vm.svc.cluster.local"
    proto.node.metadata.update({"ANNOTATIONS": {"long": "x" * (256 << 10)}})
    assert parse(proto.SerializeToString()).node is not None
    proto.node.metadata.update({"LABELS": {"long": "x" * (256 << 10)}})
    with pytest.raises(MalformedRequestError, match="the node's metadata has 524"):
        parse(proto.SerializeToString())
