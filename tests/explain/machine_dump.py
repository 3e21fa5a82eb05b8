"""What a machine's Envoy would say of itself, by what it would be sent."""

from __future__ import annotations

from typing import Any

from pilotfish.envoy.printing import to_json
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.offline.reading import read
from pilotfish.offline.world import build

MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: vm, annotations: {pilotfish.io/proxy: node}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {pilotfish.io/proxy: node}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm, annotations: {networking.istio.io/exportTo: "."}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: vm, labels: {app: web}}
spec: {containers: [{name: web, command: [web]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: vm, labels: {app: web}}
spec: {containers: [{name: web, command: [web]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, command: [db]}]}
"""
SECRETS = ("ROOTCA", "/run/netns/pf-local.vm.web-0", "/run/netns/pf-local.vm.web-1")


def build_dump(mesh: str = MESH) -> dict[str, Any]:
    world = build(read([("mesh.yaml", mesh)], "vm"))
    machine = next(iter(world.machines.values()))
    resources = world.mesh.resources(machine)
    types = (LISTENER, ROUTE, CLUSTER, ENDPOINT)
    listed = {each: [to_json(found) for found in resources.resources(each)] for each in types}
    active = [{"name": each["name"], "active_state": {"listener": each}} for each in listed[LISTENER]]
    own = {"name": "prometheus", "address": {"socket_address": {"port_value": 15090}}}
    clusters = [{"cluster": each} for each in listed[CLUSTER]]
    return {
        "configs": [
            {"bootstrap": {"node": {"id": machine.id}}},
            {"dynamic_listeners": active, "static_listeners": [{"listener": own}]},
            {"dynamic_route_configs": [{"route_config": each} for each in listed[ROUTE]]},
            {"dynamic_active_clusters": clusters, "static_clusters": [{"cluster": {"name": "xds-grpc"}}]},
            {"dynamic_endpoint_configs": [{"endpoint_config": each} for each in listed[ENDPOINT]]},
            {"dynamic_active_secrets": [{"name": each} for each in SECRETS]},
        ]
    }
