"""What the node's own kernel and DNS go by: Services, and who serves them.

    Store, cluster IPs, pods ─▶ ServiceFacts ─▶ the queries of `mesh` ─▶ what the kernel serves

They are the objects that `document` tells discovery, but as typed resources, and at once: an endpoint that leaves is
gone here before any proxy has heard of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_address
from typing import Final

import msgspec

from pilotfish.config.kubernetes import EXPORT_TO, PodCondition, PodIP, PodStatus, Service
from pilotfish.config.loading import InPieces
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.registry.frontends import frontends_of
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.registry.services import claim
from pilotfish.mesh.scope import EVERYONE
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.model.kinds import ENDPOINT_SLICE, ENDPOINTS, SERVICE, WORKLOAD_ENTRY
from pilotfish.model.names import NameTable
from pilotfish.node.document import PodRecord, timestamp
from pilotfish.node.store import Store, Stored

_KINDS: Final = frozenset({SERVICE, ENDPOINTS, ENDPOINT_SLICE, WORKLOAD_ENTRY})


_AT_ONCE: Final = 1000
"""Objects that the graph takes in as one piece: some milliseconds."""
_REMOVALS: Final = 500
"""Objects that went until what was computed about them is forgotten."""

_Seen = tuple[Stored, str] | tuple[PodRecord]
"""What a fact is made of: an object with its cluster IP, or a pod."""


@dataclass(frozen=True, slots=True)
class Worked:
    frontends: Frontends
    """What the kernel is to serve."""
    failed: Mapping[ObjectRef, Exception]
    """Objects that led to a fault. A Service of these is left out, anything else is as it was."""


class ServiceFacts:
    """What is known, and what follows from it. Not for several threads."""

    def __init__(self, own: Collection[IPv4Network]) -> None:
        """`own`: the mesh's networks, in which an external IP would be somebody else's."""
        self._own = own
        self._seen: dict[ObjectRef, _Seen] = {}
        self._pending: dict[ObjectRef, _Seen | None] = {}
        """What became another and is not in the graph yet; None for what is gone."""
        self._graph = Graph()
        self._removals = 0

    def update(self, store: Store, cluster_ips: Mapping[ObjectRef, str], pods: Iterable[PodRecord]) -> bool:
        """Notes what became another; `work` does the rest. True if there is anything to do."""
        seen: dict[ObjectRef, _Seen] = {
            ref: (stored, cluster_ips.get(ref, "")) for ref, stored in store.objects.items() if ref.kind in _KINDS
        }
        seen |= {pod.identity.ref: (pod,) for pod in pods}
        before = self._seen
        self._pending |= {ref: new for ref, new in seen.items() if not _is_same(before.get(ref), new)}
        self._pending |= dict.fromkeys(before.keys() - seen.keys())
        self._seen = seen
        return bool(self._pending)

    def work(self) -> InPieces[Worked]:
        """Takes in what was noted and computes what follows, an object a piece."""
        failed: dict[ObjectRef, Exception] = {}
        yield from self._take_in(failed)
        services = tuple(ref for ref in self._seen if ref.kind is SERVICE)
        for ref in services:
            try:
                self._graph.get(claim, ref)
            except Exception as error:
                # What looks at all Services would fail with it.
                failed[ref] = error
                inputs.apply(self._graph, {ref: None})
            yield
        found: dict[str, Frontend] = {}
        for ref in services:
            try:
                found |= {frontend.name: frontend for frontend in self._graph.get(frontends_of, ref)}
            except Exception as error:
                failed[ref] = error
            yield
        self._forget(services)
        return Worked(found, failed)

    def _take_in(self, failed: dict[ObjectRef, Exception]) -> InPieces[None]:
        while self._pending:
            changes: dict[ObjectRef, Manifest | None] = {}
            while self._pending and len(changes) < _AT_ONCE:
                ref, seen = self._pending.popitem()
                try:
                    changes[ref] = self._build(seen)
                except Exception as error:
                    failed[ref] = error
                yield
            inputs.apply(self._graph, changes)
            self._removals += sum(manifest is None for manifest in changes.values())

    def names(self) -> NameTable:
        """Kubernetes' names: ServiceEntries are the proxies'."""
        return self._graph.get(name_table, EVERYONE)

    def _build(self, seen: _Seen | None) -> Manifest | None:
        match seen:
            case (Stored() as stored, str() as cluster_ip):
                return _fill_in(stored, cluster_ip, self._own)
            case (PodRecord() as pod,):
                return _build_pod(pod)
        return None

    def _forget(self, services: Iterable[ObjectRef]) -> None:
        if self._removals > _REMOVALS:
            self._removals = 0
            self._graph.collect([(name_table, (EVERYONE,)), *((frontends_of, (ref,)) for ref in services)])


def find_problems(store: Store, own: Collection[IPv4Network]) -> tuple[Problem, ...]:
    """External IPs that belong to the mesh itself."""
    networks = ", ".join(map(str, own))
    return tuple(
        Problem(
            stored.ref,
            f"spec.externalIPs[{index}]",
            "InvalidExternalIP",
            f"{address} is one of the mesh's own ({networks}), so nothing is served there; choose another",
            Severity.WARNING,
            stored.manifest.source,
        )
        for stored in store.objects.values()
        if isinstance(service := stored.manifest.resource, Service)
        for index, address in enumerate(service.spec.external_ips)
        if _is_own(address, own)
    )


def _is_same(old: _Seen | None, new: _Seen) -> bool:
    match old, new:
        case (Stored() as one, ip), (Stored() as other, other_ip):
            return one is other and ip == other_ip
        case (PodRecord() as one,), (PodRecord() as other,):
            same = one.identity is other.identity
            return same and (one.phase, one.ready, one.deleting) == (other.phase, other.ready, other.deleting)
    return False


def _fill_in(stored: Stored, cluster_ip: str, own: Collection[IPv4Network]) -> Manifest | None:
    """None for a Service that can't have the cluster IP that it asks for."""
    resource, manifest = stored.manifest.resource, stored.manifest
    if not isinstance(resource, Service) or resource.spec.type == "ExternalName":
        return manifest
    spec = resource.spec
    if not cluster_ip and spec.cluster_ip != "None":
        return None
    served = tuple(address for address in spec.external_ips if not _is_own(address, own))
    spec = msgspec.structs.replace(spec, cluster_ip=cluster_ip or "None", external_ips=served)
    # A cluster's own DNS and kernel serve everyone, whoever's proxies see the Service.
    annotations = {key: value for key, value in resource.metadata.annotations.items() if key != EXPORT_TO}
    created = timestamp(stored.created_at)
    metadata = msgspec.structs.replace(resource.metadata, creation_timestamp=created, annotations=annotations)
    return replace(manifest, resource=msgspec.structs.replace(resource, metadata=metadata, spec=spec))


def _is_own(address: str, own: Collection[IPv4Network]) -> bool:
    parsed = ip_address(address)
    return any(parsed in network for network in own)


def _build_pod(record: PodRecord) -> Manifest:
    identity, pod = record.identity, record.identity.pod
    gone = timestamp(record.created_at) if record.deleting else None
    status = PodStatus(
        phase=record.phase,
        pod_ip=identity.addresses[0],
        pod_ips=tuple(PodIP(ip=address) for address in identity.addresses),
        conditions=(PodCondition(type="Ready", status="True" if record.ready else "False"),),
    )
    metadata = msgspec.structs.replace(pod.metadata, deletion_timestamp=gone)
    return Manifest(identity.ref, msgspec.structs.replace(pod, metadata=metadata, status=status), identity.document)
