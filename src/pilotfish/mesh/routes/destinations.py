"""Where a VirtualService's destination leads."""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve
from pilotfish.mesh.policy.policies import policy, rules_for, treated
from pilotfish.mesh.registry.external_names import stands_for
from pilotfish.mesh.registry.services import service
from pilotfish.mesh.registry.visibility import seen_service
from pilotfish.mesh.scope import Scope
from pilotfish.model.route import Backend, Invalid, InvalidReason


def resolve_destination(
    db: Reads, client: Scope, writer: str, destination: istio.Destination, listener: int
) -> Backend:
    """What a destination that namespace `writer` wrote means to a client whose request came for the port `listener`."""
    port = destination.port.number if destination.port is not None else 0
    written = resolve(destination.host, writer)
    return backend(db, client, stands_for(db, written) or written, port, destination.subset, listener)


@query
def backend(db: Reads, client: Scope, host: str, port: int, subset: str, listener: int) -> Backend:
    """A port of 0 means the service's only one, else the one that the request came for."""
    found = seen_service(db, client, host)
    if found is None:
        message = f"no Service or ServiceEntry has the host {host}"
        if (hidden := service(db, host)) is not None:
            message = f"{hidden.ref}, which has the host {host}, is not exported to the client"
        return Backend(host, port or listener, subset, Invalid(InvalidReason.UNKNOWN_HOST, message))
    number = port or (found.ports[0].number if len(found.ports) == 1 else listener)
    if found.port(number) is None:
        return Backend(host, number, subset, Invalid(InvalidReason.UNKNOWN_PORT, f"{host} has no port {number}"))
    if subset and policy(db, rules_for(db, client, host)).subset(subset) is None:
        message = f"no DestinationRule defines the subset {subset} of {host}"
        return Backend(host, number, subset, Invalid(InvalidReason.UNKNOWN_SUBSET, message))
    return treated(db, client, Backend(host, number, subset))
