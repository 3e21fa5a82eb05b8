"""Which VirtualServices are bound to a Gateway, and which hosts they route there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.servers import Server, ServerHost
from pilotfish.mesh.inputs import refs
from pilotfish.mesh.routing import Reader, all_ranked, subject
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import VIRTUAL_SERVICE


@query(index=True)
def bound(db: Reads, reader: Reader, gateway: ObjectRef) -> tuple[ObjectRef, ...]:
    """Those that are exported to the namespace of the gateway's pods (`routing.reader`), in the order in which their
    routes are tried."""
    return all_ranked(db, reader, _bound(db).get(gateway, ()))


@query(index=True)
def _bound(db: Reads) -> Mapping[ObjectRef, tuple[ObjectRef, ...]]:
    """By Gateway, the oldest first."""
    subjects = ((subject(db, ref), ref) for ref in refs(db, VIRTUAL_SERVICE))
    found: dict[ObjectRef, list[tuple[str, ObjectRef]]] = {}
    for about, ref in subjects:
        for gateway in about.gateways:
            found.setdefault(gateway, []).append((about.created, ref))
    return {gateway: tuple(ref for _, ref in sorted(aged)) for gateway, aged in found.items()}


@query(index=True)
def routed_by(db: Reads, reader: Reader, server: Server) -> tuple[tuple[ObjectRef, tuple[str, ...]], ...]:
    """The VirtualServices that route something at a server, in the order of `bound`, and which of its hosts."""
    found = ((ref, subject(db, ref)) for ref in bound(db, reader, server.ref.object))
    hosts = ((ref, routed_here(server.hosts, about.hosts, ref.namespace)) for ref, about in found)
    return tuple((ref, here) for ref, here in hosts if here)


def routed_here(server: Iterable[ServerHost], virtual_service: Iterable[str], namespace: str) -> tuple[str, ...]:
    """The hosts of both a server and a VirtualService of a namespace: of two that overlap, the narrower."""
    open_to = tuple(host.name for host in server if host.namespace in ("", namespace))
    return tuple(dict.fromkeys(_narrower(open_to, virtual_service)))


def _narrower(ones: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    named = tuple(others)
    for one in ones:
        for other in named:
            if covers(one, other):
                yield other
            elif covers(other, one):
                yield one


def covers(wide: str, narrow: str) -> bool:
    """`*.b.c` covers `a.b.c` and `*.a.b.c`, and itself."""
    return wide == narrow or (wide.startswith("*") and narrow.endswith(wide[1:]))
