"""Services as the node's kernel serves them: which addresses and ports there are, and who is behind each.

The endpoints are those that proxies are told of, if they are ready, so that kernel and proxies never disagree. Of two
Services that want a port of one external IP the older has it (`service_problems` says so).
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import service_host
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.registry.endpoints import serving
from pilotfish.mesh.registry.services import kubernetes_port, service
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import is_ipv4
from pilotfish.model.frontend import Frontend
from pilotfish.model.kinds import SERVICE
from pilotfish.model.service import Service, ServicePort

Place = tuple[str, str, int]
"""(address, transport, port)."""


@query
def frontends_of(db: Reads, ref: ObjectRef) -> tuple[Frontend, ...]:
    """One for each port of a Service with a cluster IP."""
    source = resource(db, ref, kubernetes.Service)
    found = service(db, service_host(ref.name, ref.namespace))
    if source is None or found is None or found.headless:
        return ()
    return tuple(
        _frontend(db, found, source.spec, kubernetes_port(port))
        for port in source.spec.ports
        if port.protocol != "SCTP"
    )


def _frontend(db: Reads, found: Service, spec: kubernetes.ServiceSpec, port: ServicePort) -> Frontend:
    endpoints = (e for e in serving(db, found, port) if e.ready and is_ipv4(e.address))
    more = (a for a in spec.external_ips if holder(db, (a, port.transport, port.number)) == found.ref)
    return Frontend(
        namespace=found.ref.namespace,
        service=found.ref.name,
        transport=port.transport,
        port=port.number,
        addresses=tuple(dict.fromkeys(a for a in (*found.addresses, *more) if is_ipv4(a))),
        endpoints=tuple(dict.fromkeys((e.address, e.port) for e in endpoints)),
        affinity=_affinity(spec),
    )


def _affinity(spec: kubernetes.ServiceSpec) -> int:
    if spec.session_affinity == "None":
        return 0
    return (spec.session_affinity_config or kubernetes.SessionAffinityConfig()).client_ip.timeout_seconds


@query(index=True)
def holder(db: Reads, place: Place) -> ObjectRef | None:
    """The Service that has a port of an address: as its cluster IP, else as external IP and being the oldest."""
    return _holders(db).get(place)


@query(index=True)
def _holders(db: Reads) -> Mapping[Place, ObjectRef]:
    found: dict[Place, ObjectRef] = {}
    by_age = sorted((_created(db, ref), ref) for ref in refs(db, SERVICE))
    for external in (False, True):
        for _, ref in by_age:
            for place in places(db, ref, external):
                found.setdefault(place, ref)
    return found


@query
def _created(db: Reads, ref: ObjectRef) -> str:
    source = resource(db, ref, kubernetes.Service)
    return (source.metadata.creation_timestamp or "") if source is not None else ""


@query
def places(db: Reads, ref: ObjectRef, external: bool) -> tuple[Place, ...]:
    """What a Service asks for: every port, of its external IPs or of its cluster IP."""
    source = resource(db, ref, kubernetes.Service)
    if source is None:
        return ()
    addresses = source.spec.external_ips if external else (source.spec.cluster_ip,)
    return tuple((a, p.protocol, p.port) for a in addresses for p in source.spec.ports)
