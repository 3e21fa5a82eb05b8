"""Ports of the machine's own services that the objects ask for, by the name that the machine has in the mesh.

ServiceEntries, WorkloadEntries ─find_machine_ports─▶ (port, protocol) that are called at `host.pilotfish.internal`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pilotfish.config.istio import ServiceEntry, WorkloadEntry
from pilotfish.config.istio.service_entry import ServiceEntryPort
from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef
from pilotfish.model.wellknown import MACHINE_NAME
from pilotfish.node.publish import Transport

MachinePort = tuple[int, Transport]


def find_machine_ports(manifests: Mapping[ObjectRef, Manifest]) -> frozenset[MachinePort]:
    workloads = [(ref.namespace, m.resource) for ref, m in manifests.items() if isinstance(m.resource, WorkloadEntry)]
    own = [(namespace, each) for namespace, each in workloads if _is_machine(each.spec.address)]
    entries = [(ref.namespace, m.resource) for ref, m in manifests.items() if isinstance(m.resource, ServiceEntry)]
    return frozenset(port for namespace, each in entries for port in _find(each, namespace, own))


def _find(entry: ServiceEntry, namespace: str, own: Iterable[tuple[str, WorkloadEntry]]) -> Iterator[MachinePort]:
    spec = entry.spec
    if not spec.resolution.startswith("DNS"):
        return
    endpoints = [each for each in spec.endpoints if _is_machine(each.address)]
    if spec.workload_selector is not None and (labels := spec.workload_selector.labels.items()):
        chosen = (each for at, each in own if at == namespace)
        endpoints += [e.spec for e in chosen if labels <= {**e.metadata.labels, **e.spec.labels}.items()]
    for endpoint in endpoints:
        yield from (_port(port, endpoint) for port in spec.ports)


def _port(port: ServiceEntryPort, endpoint: WorkloadEntrySpec) -> MachinePort:
    number = endpoint.ports.get(port.name) or port.target_port or port.number
    return number, "UDP" if port.protocol.upper() == "UDP" else "TCP"


def _is_machine(address: str) -> bool:
    return address.lower().rstrip(".") == MACHINE_NAME
