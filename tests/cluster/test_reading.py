"""What is kept of an object of the API server, and that nothing of it makes reading raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.cluster.conditions import Verdict, merge
from pilotfish.cluster.reading import Reader, placed, read_node
from pilotfish.config import kubernetes, load
from pilotfish.config.manifest import Loaded
from pilotfish.model.kind import Kind
from pilotfish.model.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    NAMESPACE,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ENTRY,
    SUPPORTED,
    VIRTUAL_SERVICE,
    WORKLOAD_ENTRY,
)

READER = Reader(CONFIG_MAP.ref("istio-system", "istio"))
READ = tuple(kind for kind in SUPPORTED if kind.discovery)


def read(kind: Kind, document: Any) -> Loaded | None:
    return READER.read(kind, kind.ref("vm", "a"), json.dumps(document).encode())


def resource(kind: Kind, document: Any) -> Any:
    loaded = read(kind, {"metadata": {"name": "a", "namespace": "vm"}} | document)
    assert loaded is not None
    assert loaded.problems == ()
    [manifest] = loaded.manifests
    assert manifest.document["kind"] == kind.name
    assert manifest.source is None
    return manifest.resource


def pod(**status: Any) -> Any:
    container = {"name": "app", "image": "none", "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}]}
    proxy = {"name": "istio-proxy", "args": ["proxy", "router"]}
    spec = {"containers": [container, proxy, {"name": "other"}], "volumes": [{"name": "v", "nfs": {}}]}
    return {"spec": spec | {"nodeName": "n", "serviceAccountName": "web"}, "status": {"podIP": "10.0.0.1"} | status}


def test_of_a_pod_that_alone_which_the_mesh_reads() -> None:
    found = resource(POD, pod(conditions=[{"type": "Ready", "status": "True", "lastProbeTime": None}]))
    assert [container.name for container in found.spec.containers] == ["app", "istio-proxy"]
    assert found.spec.containers[0].ports == (kubernetes.ContainerPort(container_port=80),)
    assert found.spec.containers[0].env == ()
    assert found.spec.containers[1].args == ("proxy", "router")
    assert (found.spec.service_account_name, found.status.pod_ip) == ("web", "10.0.0.1")
    assert [(each.type, each.status) for each in found.status.conditions] == [("Ready", "True")]


def test_a_pod_of_which_it_is_not_said_that_it_is_ready_is_not() -> None:
    for conditions in (
        None,
        [],
        [{"type": "PodScheduled", "status": "True"}],
        [{"type": "Ready", "status": "Unknown"}],
    ):
        found = resource(POD, pod(conditions=conditions))
        assert [(each.type, each.status) for each in found.status.conditions] == [("Ready", "False")]


def test_a_pod_has_the_labels_of_its_node_and_its_own_before_them() -> None:
    zone, region = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
    document = pod() | {"metadata": {"name": "a", "labels": {region: "own"}}}
    loaded = read(POD, document)
    assert loaded is not None
    node = read_node(json.dumps({"metadata": {"labels": {zone: "z", region: "r", "other": "x"}}}).encode())
    found = placed(loaded, node).manifests[0].resource.metadata.labels
    assert found == {zone: "z", region: "own", "kubernetes.io/hostname": "n"}


def test_equal_parts_of_pods_are_kept_once() -> None:
    one, other = (resource(POD, pod() | {"metadata": {"name": name, "labels": {"app": "web"}}}) for name in "ab")
    assert one.metadata.labels is other.metadata.labels
    assert one.spec.containers is other.spec.containers


def status(**more: Any) -> Any:
    """As a leader writes it of an object."""
    return {**(merge(Verdict(3), 3, {}, "2026-11-26T12:00:00Z") or {}), **more}


def test_of_what_a_leader_writes_that_is_read_which_discovery_needs() -> None:
    healthy = {"type": "Healthy", "status": "True", "lastProbeTime": "2026-11-26T12:00:00Z", "message": ""}
    conditions = [*status()["conditions"], healthy]
    entry = resource(WORKLOAD_ENTRY, {"spec": {"address": "10.0.0.1"}, "status": status(conditions=conditions)})
    said = [(each.type, each.status) for each in entry.status.conditions]
    assert said == [("Reconciled", "True"), ("PassedAnalysis", "True"), ("Healthy", "True")]
    spec = {"hosts": ["api.example.com"], "resolution": "DNS", "ports": [{"number": 80, "name": "http"}]}
    given = [{"host": "api.example.com", "value": "240.0.0.1"}]
    found = resource(SERVICE_ENTRY, {"spec": spec, "status": status(addresses=given)})
    assert [each.value for each in found.status.addresses] == ["240.0.0.1"]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("WorkloadEntry", {"address": "10.0.0.1"}),
        ("ServiceEntry", {"hosts": ["a.com"], "resolution": "DNS", "ports": [{"number": 80, "name": "http"}]}),
    ],
)
def test_an_object_that_was_got_from_a_cluster_may_be_given_again(kind: str, spec: Any) -> None:
    """`kubectl get -o yaml` has the status in it."""
    head = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a"}}
    assert load(json.dumps({**head, "spec": spec, "status": status()}), "a.yaml").problems == ()


def test_a_slice_that_lists_nothing() -> None:
    found = resource(ENDPOINT_SLICE, {"addressType": "IPv4", "endpoints": None, "ports": None})
    assert (found.endpoints, found.ports) == ((), ())


def test_the_status_and_what_tools_wrote_are_not_kept() -> None:
    metadata = {
        "name": "a",
        "namespace": "vm",
        "generation": 3,
        "resourceVersion": "7",
        "managedFields": [{"manager": "kubectl"}],
        "finalizers": ["x/y"],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "yes"},
    }
    spec = {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]}
    loaded = read(VIRTUAL_SERVICE, {"metadata": metadata, "spec": spec, "status": {"conditions": []}})
    assert loaded is not None
    assert loaded.problems == ()
    kept = {"name": "a", "namespace": "vm", "generation": 3, "annotations": {"mine": "yes"}}
    assert loaded.manifests[0].document == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": kept,
        "spec": spec,
    }


def test_a_secret_that_holds_no_credential_is_of_no_use() -> None:
    metadata = {"name": "a", "namespace": "vm"}
    assert read(SECRET, {"metadata": metadata, "data": {"password": "eA=="}, "type": "Opaque"}) is None
    assert read(SECRET, {"metadata": metadata}) is None


@pytest.mark.parametrize("kind", READ, ids=str)
@pytest.mark.parametrize("document", [[], 7, None, {}, {"metadata": 7}, {"metadata": {"labels": 1}}, {"spec": []}])
def test_what_is_no_object_is_a_problem(kind: Kind, document: Any) -> None:
    loaded = read(kind, document)
    assert loaded is None or loaded.problems or loaded.manifests
    assert loaded is None or "InternalError" not in {problem.reason for problem in loaded.problems}
    if loaded is not None and not loaded.manifests:
        assert loaded.broken == {kind.ref("vm", "a")} or loaded.incomplete


# fmt: off
_WORDS = st.sampled_from((
    "metadata", "name", "namespace", "labels", "annotations", "spec", "status", "type", "ports", "port", "hosts",
    "http", "route", "destination", "host", "data", "endpoints", "addresses", "conditions", "ready", "selector",
    "rules", "tls", "containers", "podIP", "subsets", "servers", "number", "protocol",
))
# fmt: on
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_WORDS, inside, max_size=4),
    max_leaves=25,
)


@given(st.sampled_from(READ), st.dictionaries(_WORDS, _VALUES))
def test_nothing_makes_reading_raise(kind: Kind, document: dict[str, Any]) -> None:
    loaded = read(kind, document)
    assert loaded is None or "InternalError" not in {problem.reason for problem in loaded.problems}


@given(st.sampled_from((POD, ENDPOINT_SLICE, NAMESPACE, SERVICE)), st.binary(max_size=40))
def test_nor_what_is_no_json(kind: Kind, data: bytes) -> None:
    loaded = READER.read(kind, kind.ref("vm", "a"), data)
    assert loaded is not None
    assert [problem.reason for problem in loaded.problems] == ["Unreadable"]
