"""Where in an object something is written."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio, kubernetes
from pilotfish.derive import Reads
from pilotfish.mesh.inputs import effective
from pilotfish.model import ObjectRef


def port_field(db: Reads, ref: ObjectRef, number: int) -> str:
    """Of a Service's or ServiceEntry's port."""
    return next((f"spec.ports[{i}]" for i, written in written_ports(db, ref) if written == number), "spec.ports")


def written_ports(db: Reads, ref: ObjectRef) -> Iterator[tuple[int, int]]:
    """(place, number) of each port as the object has them."""
    manifest = effective(db, ref)
    match manifest.resource if manifest is not None else None:
        case kubernetes.Service(spec=kubernetes.ServiceSpec(ports=ports)):
            yield from ((i, p.port) for i, p in enumerate(ports))
        case istio.ServiceEntry(spec=istio.ServiceEntrySpec(ports=listed)):
            yield from ((i, p.number) for i, p in enumerate(listed))
