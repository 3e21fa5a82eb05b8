"""What names resolve to inside the mesh, for the agent's DNS.

Hosts are whole names in lower case, without a trailing dot; `/etc/resolv.conf` search domains do the rest.
Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/ and
https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from pilotfish.config import kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.registry.endpoints import selected, slices_of
from pilotfish.mesh.registry.external_names import external_names
from pilotfish.mesh.registry.services import kubernetes_port, service_at
from pilotfish.mesh.registry.visibility import heard, visible
from pilotfish.mesh.scope import Scope
from pilotfish.model.addresses import is_ip
from pilotfish.model.egress import listeners_of
from pilotfish.model.kinds import ENDPOINTS
from pilotfish.model.names import NameTable, Port
from pilotfish.model.service import Service


@dataclass(frozen=True, slots=True)
class HostNames:
    """What one service brings to the table."""

    records: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ports: tuple[Port, ...] = ()
    headless: bool = False


@dataclass(frozen=True, slots=True)
class _Member:
    """A workload, or an endpoint that a slice lists, behind a headless Service."""

    addresses: tuple[str, ...]
    hostname: str
    """"" where it has no name of its own below the Service's."""
    ports: Mapping[str, int]
    """Numbers by the names of the Service's ports."""


@query
def name_table(db: Reads, scope: Scope) -> NameTable:
    """All names that a pod of a scope may ask for."""
    return _visible_names(db, visible(db, scope))


@query(index=True)
def _visible_names(db: Reads, scope: Scope) -> NameTable:
    records: dict[str, tuple[str, ...]] = {}
    ports: dict[str, tuple[Port, ...]] = {}
    headless: set[str] = set()
    called: dict[str, str] = {}
    for listener in listeners_of(scope.egress):
        called = {**heard(db, scope, listener), **called}
    for host in sorted(called):
        found = host_names(db, host, called[host])
        for name, addresses in found.records:
            records.setdefault(name, addresses)
        if found.ports:
            ports[host] = found.ports
        if found.headless:
            headless.add(host)
    aliases = {name: target for name, target in external_names(db).items() if name not in records}
    return NameTable(_digest(records, ports, headless, aliases), records, ports, frozenset(headless), aliases)


def _digest(
    records: Mapping[str, tuple[str, ...]],
    ports: Mapping[str, tuple[Port, ...]],
    headless: Iterable[str],
    aliases: Mapping[str, str],
) -> str:
    digest = blake2b(digest_size=8)
    for name, addresses in records.items():
        digest.update(f"{name}\0{','.join(addresses)}\0".encode())
    for host, found in ports.items():
        digest.update(f"{host}\0{found}\0".encode())
    digest.update("\0".join(sorted(headless)).encode())
    for name, target in sorted(aliases.items()):
        digest.update(f"{name}\0{target}\0".encode())
    return digest.hexdigest()


@query
def host_names(db: Reads, host: str, home: str) -> HostNames:
    """One whose addresses the outside world's DNS knows brings no names."""
    found = service_at(db, host, home)
    if found is None:
        return HostNames()
    spec = resource(db, found.ref, kubernetes.Service)
    if found.headless and spec is not None:
        return _headless_names(host, spec, tuple(_members(db, found, spec)))
    single = tuple(address for address in found.addresses if "/" not in address)
    if not single:
        return HostNames()
    ports = tuple(Port(_label(p), p.port) for p in spec.spec.ports) if spec is not None else ()
    return HostNames(((host, single),), ports)


def _label(port: kubernetes.ServicePort) -> str:
    return f"_{port.name}._{port.protocol.lower()}" if port.name else ""


def _headless_names(host: str, spec: kubernetes.Service, members: tuple[_Member, ...]) -> HostNames:
    own: dict[str, dict[str, None]] = {}
    for member in members:
        if member.hostname:
            own.setdefault(f"{member.hostname}.{host}".lower(), {}).update(dict.fromkeys(member.addresses))
    everyone = tuple(dict.fromkeys(address for member in members for address in member.addresses))
    records = ((host, everyone), *((name, tuple(addresses)) for name, addresses in own.items()))
    # One without a port is asked for SRV records all the same, for the names of its pods.
    ports = tuple(p for port in spec.spec.ports for p in _port(port, members)) if spec.spec.ports else (Port("", 0),)
    return HostNames(records, ports, headless=True)


def _port(port: kubernetes.ServicePort, members: tuple[_Member, ...]) -> tuple[Port, ...]:
    """By number: pods may mean different ones by the same name."""
    if not members:
        return (Port(_label(port), port.port),)
    by_number: dict[int, list[str]] = {}
    for member in members:
        if (number := member.ports.get(port.name)) is not None:
            by_number.setdefault(number, []).extend(member.addresses)
    if len(by_number) == 1 and all(port.name in member.ports for member in members):
        return tuple(Port(_label(port), number) for number in by_number)
    return tuple(Port(_label(port), number, tuple(addresses)) for number, addresses in by_number.items())


def _members(db: Reads, found: Service, spec: kubernetes.Service) -> Iterable[_Member]:
    """Those that are ready, or all if the Service asks for it."""
    if not found.selector:
        return _listed(db, found)
    # Only a Service that asks for it has both families: an app that listens on 0.0.0.0 is not reached by IPv6.
    # https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services
    families = None if spec.spec.ip_family_policy != "SingleStack" else 1
    return (
        _Member(
            w.addresses[:families],
            w.hostname if w.subdomain == found.ref.name else "",
            {p.name: n for p in spec.spec.ports if (n := w.port(kubernetes_port(p)))},
        )
        for w in selected(db, found)
        if (w.ready or found.publish_not_ready) and is_ip(w.addresses[0])
    )


def _listed(db: Reads, found: Service) -> Iterable[_Member]:
    slices = slices_of(db, found.ref.namespace, found.ref.name)
    if slices:
        return (m for ref in slices for m in _of_slice(resource(db, ref, kubernetes.EndpointSlice), found))
    source = resource(db, ENDPOINTS.ref(found.ref.namespace, found.ref.name), kubernetes.Endpoints)
    return (m for subset in source.subsets for m in _of_subset(subset, found)) if source is not None else ()


def _of_slice(source: kubernetes.EndpointSlice | None, found: Service) -> Iterable[_Member]:
    if source is None or source.address_type == "FQDN":
        return ()
    ports = {port.name: port.port for port in source.ports}
    return (
        _Member(endpoint.addresses[:1], endpoint.hostname, ports)
        for endpoint in source.endpoints
        # "Ready" unset is to be read as true: Kubernetes' EndpointConditions say so.
        if endpoint.conditions.ready is not False or found.publish_not_ready
    )


def _of_subset(subset: kubernetes.EndpointSubset, found: Service) -> Iterable[_Member]:
    ports = {port.name: port.port for port in subset.ports}
    addresses = (*subset.addresses, *(subset.not_ready_addresses if found.publish_not_ready else ()))
    return (_Member((address.ip,), address.hostname, ports) for address in addresses)
