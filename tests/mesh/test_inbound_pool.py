"""What a proxy keeps to towards its own app."""

from __future__ import annotations

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.ingress import pool_of_rules

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultTrafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}"}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: vm}
spec: {ports: [{name: http, port: 80}]}
"""
RULE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: vm}
spec: {host: a, trafficPolicy: {connectionPool: {http: {maxRetries: 7}}}}
"""


def test_the_meshs_own_policy_is_its_clients_alone() -> None:
    graph = Graph()
    loaded = load(MESH, "in.yaml", "vm")
    assert not loaded.problems
    config = loaded.mesh_config.config if loaded.mesh_config is not None else None
    assert config is not None
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    inputs.apply_mesh_config(graph, config)
    service = ("vm", "a.vm.svc.cluster.local", 80)
    assert graph.get(pool_of_rules, *service) is None
    ruled = load(RULE, "rule.yaml", "vm")
    inputs.apply(graph, {m.ref: m for m in ruled.manifests})
    found = graph.get(pool_of_rules, *service)
    assert found is not None
    assert (found.pool.max_retries, found.pool.max_requests_per_connection) == (7, None)
