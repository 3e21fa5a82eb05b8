"""Objects that nobody wrote, and a cluster's own machinery would make: what they would look like.

Service + pods ─▶ Endpoints, EndpointSlice      Deployment ─▶ ReplicaSet      what happened ─▶ Event
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pilotfish.config.kubernetes import Service, ServicePort
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import ENDPOINT_SLICE, ENDPOINTS, EVENT, NAMESPACE, NODE, POD
from pilotfish.model.wellknown import SERVICE_OF_SLICE
from pilotfish.node.document import timestamp
from pilotfish.node.endpoints import Backend, selected, target_port
from pilotfish.node.history import Happening

Document = dict[str, Any]
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def render_endpoints(ref: ObjectRef, service: Service, pods: Iterable[Backend], created: float) -> Document:
    """Of a Service with a selector: a subset for each set of port numbers, as pods may name theirs."""
    subsets: dict[tuple[tuple[str, int, str], ...], Document] = {}
    for pod in selected(service, ref.namespace, pods):
        if not (ports := _ports(service, pod)):
            continue
        subset = subsets.setdefault(ports, {"addresses": [], "notReadyAddresses": [], "ports": _rendered(ports)})
        is_served = pod.ready or service.spec.publish_not_ready_addresses
        target = {"kind": POD.name, "namespace": pod.namespace, "name": pod.name}
        subset["addresses" if is_served else "notReadyAddresses"].append({"ip": pod.address, "targetRef": target})
    listed = [{name: item for name, item in subset.items() if item} for subset in subsets.values()]
    return {**_head(ENDPOINTS, ref.namespace, ref.name, created), "subsets": listed}


def render_slices(ref: ObjectRef, service: Service, pods: Iterable[Backend], created: float) -> Iterable[Document]:
    """One for each set of port numbers, and one without endpoints where there are none."""
    found: dict[tuple[tuple[str, int, str], ...], list[Document]] = {}
    for pod in selected(service, ref.namespace, pods):
        ready = pod.ready or service.spec.publish_not_ready_addresses
        found.setdefault(_ports(service, pod), []).append(
            {
                "addresses": [pod.address],
                "conditions": {"ready": ready, "serving": pod.ready, "terminating": False},
                "targetRef": {"kind": POD.name, "namespace": pod.namespace, "name": pod.name},
            }
        )
    for number, (ports, endpoints) in enumerate((found or {(): []}).items()):
        head = _head(ENDPOINT_SLICE, ref.namespace, f"{ref.name}{f'-{number}' if number else ''}", created)
        head["metadata"]["labels"] = {SERVICE_OF_SLICE: ref.name, _MANAGED_BY: "pilotfish"}
        yield {**head, "addressType": "IPv4", "endpoints": endpoints, "ports": _rendered(ports)}


def render_namespace(name: str, created: float) -> Document:
    """One that objects are in, and no manifest has."""
    return {**_head(NAMESPACE, "", name, created), "spec": {}, "status": {"phase": "Active"}}


def render_node(name: str, created: float, addresses: Iterable[str], info: Mapping[str, str]) -> Document:
    """The machine. `info`: of its status' nodeInfo."""
    head = _head(NODE, "", name, created)
    head["metadata"]["labels"] = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    listed = [*({"type": "InternalIP", "address": each} for each in addresses), {"type": "Hostname", "address": name}]
    ready = {"type": "Ready", "status": "True", "reason": "MeshRuns"}
    return {**head, "spec": {}, "status": {"addresses": listed, "conditions": [ready], "nodeInfo": dict(info)}}


def render_event(happening: Happening) -> Document:
    ref = happening.ref
    head = _head(EVENT, ref.namespace, f"{ref.name}.{happening.number:x}", happening.first)
    return {
        **head,
        "involvedObject": {
            "apiVersion": ref.kind.api_versions[0],
            "kind": ref.kind.name,
            "namespace": ref.namespace,
            "name": ref.name,
        },
        "type": happening.type,
        "reason": happening.reason,
        "message": happening.message,
        "count": happening.count,
        "firstTimestamp": timestamp(happening.first),
        "lastTimestamp": timestamp(happening.last),
        "source": {"component": "pilotfish"},
    }


def _head(kind: Kind, namespace: str, name: str, created: float) -> Document:
    place = {"namespace": namespace} if namespace else {}
    metadata = {"name": name, **place, "creationTimestamp": timestamp(created)}
    return {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": metadata}


def _ports(service: Service, pod: Backend) -> tuple[tuple[str, int, str], ...]:
    """(name, number in the pod, protocol)."""
    numbers = ((port, target_port(port, pod.spec)) for port in service.spec.ports)
    return tuple(_port(port, number) for port, number in numbers if number is not None)


def _port(port: ServicePort, number: int) -> tuple[str, int, str]:
    return port.name, number, port.protocol


def _rendered(ports: Iterable[tuple[str, int, str]]) -> list[Document]:
    return [{**({"name": name} if name else {}), "port": port, "protocol": protocol} for name, port, protocol in ports]
