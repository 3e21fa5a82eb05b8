"""Ports of pods to which several ports of services lead: the oldest service's says what is spoken there, and of one
service the first. Who comes later is told.

Source: https://istio.io/latest/docs/ops/deployment/application-requirements/, and Istio's messages IST0116 and IST0137
"""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Reads
from pilotfish.mesh.listeners.inbound import InboundPort, served_ports
from pilotfish.mesh.problems.places import port_field
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.endpoints import selected
from pilotfish.mesh.registry.services import service_at
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.protocol import Protocol
from pilotfish.model.service import Service, ServicePort


def shared_ports(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    """One pod speaks for all that have its labels."""
    pods = {pod.labels: pod for pod in reversed(selected(db, found))}
    said: dict[tuple[int, str], Problem] = {}
    for pod in pods.values():
        for served in served_ports(db, pod.ref, pod.labels, pod.addresses):
            for problem in _late(db, ref, found, served):
                said.setdefault((served.number, problem.field), problem)
    yield from said.values()


def _late(db: Reads, ref: ObjectRef, found: Service, served: InboundPort) -> Iterator[Problem]:
    first = service_at(db, served.host, served.home)
    theirs = first.port(served.service_port) if first is not None else None
    for host, _, number in served.serves[1:]:
        mine = found.port(number) if host == found.host else None
        if first is None or theirs is None or mine is None:
            continue
        field, other = port_field(db, ref, number), "" if first.host == found.host else f" of {first.ref}"
        leads = f"port {number} leads to port {served.number} of its pods, as port {theirs.number}{other} does"
        if mine.protocol is not theirs.protocol:
            text = (
                f"{leads}, which comes first and declares {theirs.protocol}: what comes is taken for that, and not for "
                f"{mine.protocol}{_consequence(mine, theirs)}; let both declare the same, or let the app listen on two "
                f"ports"
            )
            yield warning(db, ref, field, "ConflictingProtocol", text)
        elif other and mine.number != theirs.number:
            text = (
                f"{leads}, which comes first: traces name all that comes there after {first.host}:{theirs.number}; "
                f"give both the same number, or let the app listen on two ports"
            )
            yield warning(db, ref, field, "ConflictingTargetPort", text, Severity.INFO)


def _consequence(mine: ServicePort, theirs: ServicePort) -> str:
    if theirs.protocol is Protocol.AUTO:
        return ", so that a protocol in which the server speaks first stalls"
    if theirs.protocol.is_http and not mine.protocol.is_http:
        return ", so that what is no HTTP is answered 400"
    return ""
