"""Which of a workload's ports serve which services."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config import kubernetes
from pilotfish.derive import Graph, Reads, query
from pilotfish.mesh.inputs import Labels, effective, listing, resource
from pilotfish.mesh.policy.ingress import Ingress, ingress_of, pool_of_rules
from pilotfish.mesh.policy.peer_authentication import peer_modes
from pilotfish.mesh.registry.endpoints import endpoints, hosted
from pilotfish.mesh.registry.services import all_services, parts, service_at
from pilotfish.mesh.registry.workloads import Workload, workload
from pilotfish.mesh.settings import settings
from pilotfish.mesh.sidecars import choices, choose
from pilotfish.mesh.stat_names import stat_name, stat_name_of
from pilotfish.model import ObjectRef, Protocol, Proxy
from pilotfish.model.addresses import bracketed
from pilotfish.model.ingress import InboundPool, IngressListener
from pilotfish.model.kinds import POD, WORKLOAD_ENTRY
from pilotfish.model.mutual_tls import PeerModes
from pilotfish.model.proxy import ProxyType
from pilotfish.model.service import ServicePort


@dataclass(frozen=True, slots=True)
class InboundPort:
    number: int
    """The port that the app listens on."""
    serves: tuple[tuple[str, str, int], ...]
    """(host, home, port) of each service port that leads here, the oldest service first; none where a Sidecar says what
    comes here."""
    listener: IngressListener | None = None
    pool: InboundPool | None = None

    @property
    def host(self) -> str:
        """The oldest of the services; a made-up one where a Sidecar has the port."""
        if self.listener is not None:
            return f"{self.listener.ref.name}.{self.listener.ref.namespace}"
        return self.serves[0][0]

    @property
    def home(self) -> str:
        return self.serves[0][1]

    @property
    def service_port(self) -> int:
        return self.number if self.listener is not None else self.serves[0][2]

    @property
    def is_bound(self) -> bool:
        """A Sidecar gives it a listener of its own."""
        return self.listener is not None and self.listener.bound


@dataclass(frozen=True, slots=True)
class Fellows:
    """The proxies that are clients of others as one is: those of its workload."""

    served: tuple[tuple[str, str], ...]
    """(host, home) of the services that they serve."""
    template: str
    """Of these services' endpoints they are those with this `pod-template-hash`, or with none."""


TEMPLATE_LABEL: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Inbound:
    """What comes to a workload, and what its proxy takes of it. Replicas share it."""

    ports: tuple[InboundPort, ...]
    modes: PeerModes
    certified: bool
    """The proxy has a certificate of the mesh: it can end mutual TLS."""
    transparent: bool
    """Connections come by TPROXY, with the addresses that they had, and go on with their source."""
    fellows: Fellows | None = None
    reads: str = ""
    """What of the workload's own asks the proxy to read requests; "" for nothing."""

    @property
    def other_ports(self) -> tuple[int, ...]:
        """Those that no service has, and that have a mode of their own."""
        served = {port.number for port in self.ports if not port.is_bound}
        return tuple(number for number, _ in self.modes.ports if number not in served)


def inbound_of(graph: Graph, proxy: Proxy) -> Inbound:
    """No query, as there would be one for each proxy."""
    ports, labels = graph.get(inbound_ports, proxy), graph.get(workload_labels, proxy)
    modes = graph.get(peer_modes, proxy.namespace, labels)
    reads = graph.get(workload_reads, proxy)
    return Inbound(ports, modes, proxy.certified, proxy.transparent, fellows_of(graph, proxy), reads)


def fellows_of(graph: Graph, proxy: Proxy) -> Fellows | None:
    """None for a proxy that does not ask. No query, for the same reason."""
    if not proxy.discovers_itself:
        return None
    labels = graph.get(workload_labels, proxy)
    served = graph.get(_served_hosts, proxy.namespace, labels, proxy.addresses)
    return Fellows(served, dict(labels).get(TEMPLATE_LABEL, ""))


@query
def workload_labels(db: Reads, proxy: Proxy) -> Labels:
    """Of the workload, if it is known; else as its proxy describes it, so that the order in which both become known
    does not matter."""
    return _known(db, proxy)[1]


@query
def workload_reads(db: Reads, proxy: Proxy) -> str:
    """As `Inbound.reads`. Clients do not ask for more than what discovery knows of a workload."""
    known = workload(db, _known(db, proxy)[0])
    return known.reads if known is not None else "no pod of its name is known"


@query
def inbound_ports(db: Reads, proxy: Proxy) -> tuple[InboundPort, ...]:
    """The ports of a proxy's workload that serve some service, by number; or those that its Sidecar lists."""
    ref, labels = _known(db, proxy)
    is_sidecar = proxy.type is ProxyType.SIDECAR
    own = tuple(sorted(proxy.labels.items())) or labels
    stated = stated_ingress(db, proxy.namespace, own) if is_sidecar else Ingress()
    if stated.listeners:
        return tuple(_as_port(each, proxy.addresses[0]) for each in stated.listeners)
    served = served_ports(db, ref, labels, proxy.addresses)
    return tuple(replace(port, pool=stated.pool) for port in served) if stated.pool is not None else served


def stated_ingress(db: Reads, namespace: str, labels: Labels) -> Ingress:
    """What the Sidecar says, if any, that applies to workloads of a namespace with these labels."""
    choice = choices(db, namespace)
    sidecar = choose(choice, dict(labels)) if choice else None
    return ingress_of(db, sidecar) if sidecar is not None else Ingress()


def _as_port(listener: IngressListener, address: str) -> InboundPort:
    """With the pod's own address where that is meant."""
    endpoint = re.sub(r"^(0\.0\.0\.0|\[::\]):", f"{bracketed(address)}:", listener.endpoint)
    meant = replace(listener, bind=listener.bind or address, endpoint=endpoint)
    return InboundPort(listener.number, (), meant, listener.pool)


def _known(db: Reads, proxy: Proxy) -> tuple[ObjectRef, Labels]:
    ref = _workload_of(db, proxy.namespace, proxy.name, proxy.addresses)
    known = workload(db, ref)
    return ref, known.labels if known is not None else tuple(sorted(proxy.labels.items()))


@query
def datagram_ports(db: Reads, proxy: Proxy) -> tuple[int, ...]:
    """The ports for UDP of the Services that lead to a proxy's workload, sorted."""
    _, labels = _known(db, proxy)
    served = (service_at(db, *each) for each in _served_hosts(db, proxy.namespace, labels, proxy.addresses))
    found = (resource(db, each.ref, kubernetes.Service) for each in served if each is not None and each.is_kubernetes)
    return tuple(sorted({p.port for each in found if each is not None for p in each.spec.ports if p.protocol == "UDP"}))


@query(index=True)
def _workload_of(db: Reads, namespace: str, name: str, addresses: tuple[str, ...]) -> ObjectRef:
    """The pod of that name, unless there is none and a WorkloadEntry of the namespace has one of the addresses."""
    pod = POD.ref(namespace, name)
    if workload(db, pod) is not None:
        return pod
    listed = (ref for address in addresses for ref in listing(db, address))
    return next((ref for ref in listed if ref.kind is WORKLOAD_ENTRY and ref.namespace == namespace), pod)


@query
def served_ports(db: Reads, ref: ObjectRef, labels: Labels, addresses: tuple[str, ...]) -> tuple[InboundPort, ...]:
    """The ports of a workload with these labels and addresses that serve some service, by number."""
    pod = workload(db, ref)
    found: dict[int, list[tuple[str, str, int]]] = {}
    for host, home in _served_hosts(db, ref.namespace, labels, addresses):
        known = service_at(db, host, home)
        for port in known.ports if known is not None else ():
            for number in _targets(db, host, home, port, pod, labels, addresses):
                found.setdefault(number, []).append((host, home, port.number))
    return tuple(InboundPort(number, tuple(found[number])) for number in sorted(found))


@query
def inbound_protocol(db: Reads, port: InboundPort) -> Protocol:
    """What the oldest of the services declares that lead to a port, and of one service the first of its ports; the
    others are told (`problems`). Source: Istio's getFilterChainsByServicePort,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/listener_inbound.go"""
    if port.listener is not None:
        effective(db, port.listener.ref)  # whose it is
        return port.listener.protocol
    known = service_at(db, port.host, port.home)
    served = known.port(port.service_port) if known is not None else None
    return served.protocol if served is not None else Protocol.AUTO


@query
def inbound_stat_name(db: Reads, port: InboundPort) -> str:
    """What is counted of it under; "" where the mesh does not say it."""
    pattern = settings(db).inbound_stat_name
    if not pattern:
        return ""
    if port.listener is not None:
        return stat_name_of(pattern, port.host, port.number)
    known = service_at(db, port.host, port.home)
    served = known.port(port.service_port) if known is not None else None
    return stat_name(pattern, known, served, target=port.number) if known is not None and served is not None else ""


def inbound_pool(db: Reads, port: InboundPort) -> InboundPool | None:
    """Of the connections to the app: a Sidecar's, else what DestinationRules say of the oldest service."""
    found = service_at(db, port.host, port.home) if port.pool is None and port.serves else None
    return pool_of_rules(db, found.namespace, found.host, port.service_port) if found is not None else port.pool


def _targets(
    db: Reads, host: str, home: str, port: ServicePort, pod: Workload | None, labels: Labels, addresses: tuple[str, ...]
) -> tuple[int, ...]:
    together, own = parts(db, host, home), set(labels)
    found: list[int | str | None] = []
    for part in together:
        meant = part.port_named(port.name)
        if meant is not None and part.selector and set(part.selector) <= own:
            found.append(pod.port(meant) if pod is not None else meant.target)
    if not all(part.selector for part in together):
        found += (e.port for e in endpoints(db, host, home, port.number) if e.address in addresses)
    return tuple(dict.fromkeys(number for number in found if isinstance(number, int)))


@query(index=True)
def _served_hosts(db: Reads, namespace: str, labels: Labels, addresses: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The services (host, home) that a workload with these labels and addresses serves, the oldest first."""
    own = set(labels)
    candidates = (each for label in labels for each in _selecting(db, namespace, label))
    selected = {each for each in candidates if any(p.selector and set(p.selector) <= own for p in parts(db, *each))}
    listed = {each for address in addresses for each in hosted(db, address)}
    return tuple(sorted(selected | listed, key=lambda each: _age(db, *each)))


def _age(db: Reads, host: str, home: str) -> tuple[str, str, str]:
    found = service_at(db, host, home)
    return (found.created if found is not None else "", host, home)


@query(index=True)
def _selecting(db: Reads, namespace: str, label: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """The services of a namespace with a selector that has this label as its first."""
    return _by_first_label(db).get((namespace, label), ())


@query(index=True)
def _by_first_label(db: Reads) -> Mapping[tuple[str, tuple[str, str]], tuple[tuple[str, str], ...]]:
    found: dict[tuple[str, tuple[str, str]], list[tuple[str, str]]] = {}
    for host, home in all_services(db):
        firsts = {(part.namespace, part.selector[0]) for part in parts(db, host, home) if part.selector}
        for label in firsts:
            found.setdefault(label, []).append((host, home))
    return {key: tuple(named) for key, named in found.items()}
