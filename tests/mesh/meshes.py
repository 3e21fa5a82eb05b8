"""Small meshes for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.kinds import KINDS

NETWORKING = "networking.istio.io/v1"


def manifest(kind: str, name: str, namespace: str = "vm", api: str = "v1", **rest: Any) -> Manifest:
    """One object. `labels`, `annotations` and `created` go into its metadata."""
    (made,) = try_manifest(kind, name, namespace, api, **rest)
    return made


def try_manifest(kind: str, name: str, namespace: str = "vm", api: str = "v1", **rest: Any) -> tuple[Manifest, ...]:
    """One object, or none if it is not valid."""
    metadata = {"name": name, "namespace": namespace, "labels": rest.pop("labels", {})}
    metadata["annotations"] = rest.pop("annotations", {})
    if created := rest.pop("created", ""):
        metadata["creationTimestamp"] = created
    loaded = load(json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, **rest}), "in.yaml")
    return loaded.manifests


def service(name: str, namespace: str = "vm", address: str = "10.96.0.1", **spec: Any) -> Manifest:
    spec = {"clusterIP": address, "selector": {"app": name}, "ports": [{"name": "http", "port": 80}], **spec}
    return manifest("Service", name, namespace, spec=spec)


def pod(name: str, ip: str, labels: Mapping[str, str], namespace: str = "vm", ready: bool | None = None) -> Manifest:
    conditions = [] if ready is None else [{"type": "Ready", "status": str(ready)}]
    return manifest(
        "Pod",
        name,
        namespace,
        labels=dict(labels),
        spec={"containers": [{"name": "app", "command": ["x"]}]},
        status={"podIP": ip, "conditions": conditions},
    )


def virtual_service(
    name: str,
    host: str,
    destinations: Mapping[str, int],
    namespace: str = "vm",
    export_to: Sequence[str] = (),
    **rest: Any,
) -> Manifest:
    """`destinations`: weight by `host` or `host/subset`."""
    routes = [
        {"destination": dict(zip(("host", "subset"), text.split("/"), strict=False)), "weight": weight}
        for text, weight in destinations.items()
    ]
    spec = {"hosts": [host], "exportTo": [*export_to], "http": [{"route": routes}]}
    return manifest("VirtualService", name, namespace, NETWORKING, spec=spec, **rest)


def destination_rule(name: str, host: str, subsets: Mapping[str, Mapping[str, str]], namespace: str = "vm") -> Manifest:
    spec = {"host": host, "subsets": [{"name": n, "labels": dict(labels)} for n, labels in subsets.items()]}
    return manifest("DestinationRule", name, namespace, NETWORKING, spec=spec)


def proxy(name: str = "client", namespace: str = "vm", address: str = "10.244.0.2", **labels: str) -> Proxy:
    return Proxy.of_pod(name, namespace, (address,), labels=labels)


def graph_of(*manifests: Manifest) -> Graph:
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in manifests})
    return graph


def ref(kind: str, name: str, namespace: str = "vm") -> ObjectRef:
    return next(each for each in KINDS if each.name == kind).ref(namespace, name)
