"""Services of type NodePort and LoadBalancer: which of the host's ports lead to them.

    objects ─find_node_ports─▶ NodePort ─publishes─▶ where on the host's loopback it may be, the best first

There is one machine, so its loopback is the node's address and the load balancer's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config.kubernetes import Service, ServicePort
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.node.entrances import host_ports
from pilotfish.node.publish import Publish, Transport

LOOPBACK: Final = "127.0.0.1"
EXPOSED: Final = frozenset({"NodePort", "LoadBalancer"})
"""The types of Services that the host has ports of."""
_FIRST: Final = 30000
_COUNT: Final = 2768
"""Kubernetes' own range, 30000 to 32767."""
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class NodePort:
    """A port of a Service that the host has, too."""

    service: ObjectRef
    port: ServicePort
    protocol: Transport
    is_balancer: bool
    field: str
    """Where it says its `nodePort`, as `spec.ports[0].nodePort`."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The one that it asks for; a load balancer's own, or one of Kubernetes' range that its name chooses; 0 lets
        the machine choose."""
        asked = (self.port.node_port,) if self.port.node_port else ()
        return (*asked, *(host_ports(self.port.port) if self.is_balancer else (*self._range(), 0)))

    @property
    def publishes(self) -> tuple[Publish, ...]:
        name, namespace = self.service.name, self.service.namespace
        return tuple(Publish(LOOPBACK, n, name, namespace, str(self.port.port), self.protocol) for n in self.numbers)

    def find_problem(self, number: int | None, manifest: Manifest | None) -> Problem | None:
        """That it has another number than it asks for, or none."""
        asked = self.port.node_port
        if not asked or number == asked or manifest is None:
            return None
        instead = f"it is published on {LOOPBACK}:{number}" if number else "it is not published"
        what = f"port {asked} of {LOOPBACK} is taken, so {instead}; choose another, or leave it out"
        source = manifest.at(self.field)
        return Problem(self.service, self.field, "NodePortTaken", what, Severity.WARNING, source)

    def _range(self) -> Iterator[int]:
        text = f"{self.service.namespace}/{self.service.name}/{self.port.port}/{self.protocol}"
        start = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        yield from (_FIRST + (start + step) % _COUNT for step in range(_TRIES))


def find_node_ports(manifests: Mapping[ObjectRef, Manifest]) -> tuple[NodePort, ...]:
    """In order of Services and their ports, those that ask for a number first."""
    return tuple(sorted(_find(manifests), key=lambda each: (not each.port.node_port, each.service, each.field)))


def _find(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[NodePort]:
    for ref, manifest in manifests.items():
        service = manifest.resource
        if not isinstance(service, Service) or service.spec.type not in EXPOSED:
            continue
        for index, port in enumerate(service.spec.ports):
            if port.protocol != "SCTP":
                field = f"spec.ports[{index}].nodePort"
                yield NodePort(ref, port, port.protocol, service.spec.type == "LoadBalancer", field)
