"""Where a VirtualService's destination leads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve
from pilotfish.mesh.policies import policy, rules_for
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.services import service


class Missing(Enum):
    """What a destination names that does not exist."""

    HOST = auto()
    PORT = auto()
    SUBSET = auto()


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    port: int
    subset: str
    missing: Missing | None = None


@query
def target(db: Reads, client: Scope, writer: str, host: str, port: int, subset: str, listener: int) -> Target:
    """What a destination means to a client of scope `client`, written in namespace `writer`.

    A destination without a port (0) means the service's only one, else the one that the request came for.
    """
    whole = resolve(host, writer)
    found = service(db, whole)
    if found is None:
        return Target(whole, port or listener, subset, Missing.HOST)
    number = port or (found.ports[0].number if len(found.ports) == 1 else listener)
    if found.port(number) is None:
        return Target(whole, number, subset, Missing.PORT)
    if subset:
        applied = policy(db, rules_for(db, client, whole))
        if applied is None or applied.subset(subset) is None:
            return Target(whole, number, subset, Missing.SUBSET)
    return Target(whole, number, subset)


def target_of(db: Reads, client: Scope, writer: str, destination: istio.Destination, listener: int) -> Target:
    port = destination.port.number if destination.port is not None else 0
    return target(db, client, writer, destination.host, port, destination.subset, listener)
