"""Which pods a Service reaches, and on which port."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pilotfish.config.kubernetes import PodSpec, Service, ServicePort


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod, as a Service sees it."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    address: str
    spec: PodSpec
    ready: bool


def selected(service: Service, namespace: str, pods: Iterable[Backend]) -> tuple[Backend, ...]:
    """The pods behind the Service, ready or not. A Service without a selector selects none."""
    wanted = service.spec.selector.items()
    return tuple(p for p in pods if wanted and p.namespace == namespace and wanted <= p.labels.items())


def target_port(port: ServicePort, spec: PodSpec) -> int | None:
    """The port's number in the pod; None if it names a port that the pod does not declare."""
    if port.target_port is None:
        return port.port
    value = port.target_port.value
    if isinstance(value, int):
        return value
    return find_container_port(spec, value, port.protocol)


def find_container_port(spec: PodSpec, name: str, protocol: str) -> int | None:
    """The number that a pod declares under a name."""
    declared = (p for c in (*spec.init_containers, *spec.containers) for p in c.ports)
    return next((p.container_port for p in declared if p.name == name and p.protocol == protocol), None)


def find_port(service: Service, wanted: str, protocol: str = "TCP") -> ServicePort | None:
    """By number or by name."""
    named = (p for p in service.spec.ports if p.protocol == protocol)
    return next((p for p in named if wanted in (str(p.port), p.name)), None)


def endpoints(
    service: Service, namespace: str, pods: Iterable[Backend], port: ServicePort | None = None
) -> tuple[tuple[str, int], ...]:
    """(address, port) of each ready pod, for one port of the Service or for all."""
    found = []
    for pod in selected(service, namespace, pods):
        if pod.ready or service.spec.publish_not_ready_addresses:
            for each in service.spec.ports if port is None else (port,):
                number = target_port(each, pod.spec)
                if number is not None:
                    found.append((pod.address, number))
    return tuple(found)
