"""Which of a workload's ports serve which service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.derive import Reads, query
from pilotfish.mesh.endpoints import endpoints, hosted
from pilotfish.mesh.inputs import Labels
from pilotfish.mesh.services import hosts, service
from pilotfish.mesh.workloads import Workload, workload
from pilotfish.model import ObjectRef, Protocol, Proxy
from pilotfish.model.service import Service, ServicePort


@dataclass(frozen=True, slots=True)
class InboundPort:
    number: int
    """The port that the app listens on."""
    protocol: Protocol
    host: str
    """The service that the port serves: the oldest, where there are several."""
    service_port: int


@query
def inbound_ports(db: Reads, proxy: Proxy) -> tuple[InboundPort, ...]:
    """The ports of a proxy's workload that serve some service, by number.

    A pod that discovery does not know yet is taken as its proxy describes it, so that the order in which pod and proxy
    become known does not matter.
    """
    pod = workload(db, ObjectRef("Pod", proxy.namespace, proxy.name))
    labels = pod.labels if pod is not None else tuple(sorted(proxy.labels.items()))
    found: dict[int, InboundPort] = {}
    for host in _served_hosts(db, proxy.namespace, labels, proxy.addresses):
        known = service(db, host)
        for port in known.ports if known is not None else ():
            for number in _targets(db, known, port, pod, proxy) if known is not None else ():
                found.setdefault(number, InboundPort(number, port.protocol, host, port.number))
    return tuple(found[number] for number in sorted(found))


def _targets(db: Reads, found: Service, port: ServicePort, pod: Workload | None, proxy: Proxy) -> tuple[int, ...]:
    if not found.selector:
        listed = endpoints(db, found.host, port.number)
        return tuple(dict.fromkeys(e.port for e in listed if e.address in proxy.addresses))
    number = pod.port(port.target) if pod is not None else port.target
    return (number,) if isinstance(number, int) else ()


@query(index=True)
def _served_hosts(db: Reads, namespace: str, labels: Labels, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The services that a workload with these labels and addresses serves, the oldest first."""
    own = set(labels)
    candidates = (host for label in labels for host in _selecting(db, namespace, label))
    selected = {host for host in candidates if (s := service(db, host)) is not None and set(s.selector) <= own}
    listed = {host for address in addresses for host in hosted(db, address)}
    return tuple(sorted(selected | listed, key=lambda host: _age(db, host)))


def _age(db: Reads, host: str) -> tuple[str, str]:
    found = service(db, host)
    return (found.created if found is not None else "", host)


@query(index=True)
def _selecting(db: Reads, namespace: str, label: tuple[str, str]) -> tuple[str, ...]:
    """The Services of a namespace whose selector has this label as its first."""
    return _by_first_label(db).get((namespace, label), ())


@query(index=True)
def _by_first_label(db: Reads) -> Mapping[tuple[str, tuple[str, str]], tuple[str, ...]]:
    found: dict[tuple[str, tuple[str, str]], list[str]] = {}
    for host in hosts(db):
        known = service(db, host)
        if known is not None and known.selector:
            found.setdefault((known.namespace, known.selector[0]), []).append(host)
    return {key: tuple(named) for key, named in found.items()}
