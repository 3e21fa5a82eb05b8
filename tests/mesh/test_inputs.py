"""What Envoy refused is replaced until it is readmitted."""

from __future__ import annotations

import pytest

from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.inputs import effective
from pilotfish.mesh.registry.workloads import workloads_selected
from tests.mesh.meshes import graph_of, pod, ref, service

OLD, NEW = service("web", address="10.96.0.1"), service("web", address="10.96.0.2")


def test_a_rejected_object_is_replaced_by_its_fallback_and_comes_back_when_readmitted() -> None:
    graph = graph_of(NEW)
    assert inputs.reject(graph, NEW.ref, OLD)
    assert graph.get(effective, NEW.ref) == OLD
    assert inputs.readmit(graph, NEW.ref)
    assert graph.get(effective, NEW.ref) == NEW
    assert not inputs.readmit(graph, NEW.ref)


def test_a_rejected_object_without_a_fallback_is_as_if_it_were_not_there() -> None:
    graph = graph_of(NEW)
    inputs.reject(graph, NEW.ref, None)
    assert graph.get(effective, NEW.ref) is None


def test_a_deleted_object_has_no_fallback_either() -> None:
    graph = graph_of(NEW)
    inputs.reject(graph, NEW.ref, OLD)
    inputs.apply(graph, {NEW.ref: None})
    assert graph.get(effective, NEW.ref) is None


def test_applying_says_whether_anything_changed() -> None:
    graph = Graph()
    assert inputs.apply(graph, {NEW.ref: NEW})
    assert not inputs.apply(graph, {NEW.ref: NEW})
    assert inputs.apply(graph, {NEW.ref: None})
    assert not inputs.apply(graph, {ref("VirtualService", "never"): None})
    assert inputs.apply_mesh_config(graph, MeshConfig(access_log_file="/dev/stdout"))
    assert not inputs.apply_mesh_config(graph, MeshConfig(access_log_file="/dev/stdout"))


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ({"app": "web"}, ["web-1", "web-2"]),
        ({"app": "web", "version": "v2"}, ["web-2"]),
        ({"version": "v2"}, ["other", "web-2"]),
        ({"app": "nobody"}, []),
    ],
)
def test_selectors_see_pods_come_go_and_change_their_labels(selector: dict[str, str], names: list[str]) -> None:
    graph = graph_of(
        pod("gone", "10.0.0.9", {"app": "web", "version": "v2"}),
        pod("web-1", "10.0.0.1", {"app": "web", "version": "v2"}),
        pod("elsewhere", "10.0.0.4", {"app": "web", "version": "v2"}, "shop"),
    )
    inputs.apply(graph, {ref("Pod", "gone"): None})
    for changed in (
        pod("web-1", "10.0.0.1", {"app": "web", "version": "v1"}),
        pod("web-2", "10.0.0.2", {"app": "web", "version": "v2"}),
        pod("other", "10.0.0.3", {"app": "other", "version": "v2"}),
    ):
        inputs.apply(graph, {changed.ref: changed})
    found = graph.get(workloads_selected, "vm", tuple(sorted(selector.items())))
    assert [r.name for r in found] == names
