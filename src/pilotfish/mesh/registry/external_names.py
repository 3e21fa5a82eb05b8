"""Services of type ExternalName: other names of a host. Of their own they have neither address nor port.

What is sent to such a name goes where the host's own name leads, by DNS and by the routes of that host.
Source: https://kubernetes.io/docs/concepts/services-networking/service/#externalname
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import service_host, whole_name
from pilotfish.mesh.inputs import EXTERNAL_NAMES, resource
from pilotfish.model import ObjectRef


@query(index=True)
def external_names(db: Reads) -> Mapping[str, str]:
    """The host that each name of such a Service stands for, which may be such a name itself."""
    found = ((service_host(ref.name, ref.namespace), _target(db, ref)) for ref in db.keys(EXTERNAL_NAMES))
    return {name: target for name, target in found if target}


@query
def _target(db: Reads, ref: ObjectRef) -> str:
    source = resource(db, ref, kubernetes.Service)
    return whole_name(source.spec.external_name) if source is not None else ""


def other_names(db: Reads, host: str) -> tuple[str, ...]:
    """The names that stand for a host, through others as well, sorted."""
    return _other_names(db, host) if external_names(db) else ()


@query(index=True)
def _other_names(db: Reads, host: str) -> tuple[str, ...]:
    return _by_host(db).get(host, ())


@query(index=True)
def _by_host(db: Reads) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in sorted(external_names(db)):
        host = stands_for(db, name)
        if host:
            found.setdefault(host, []).append(name)
    return {host: tuple(names) for host, names in found.items()}


def stands_for(db: Reads, name: str) -> str:
    """The host at the end, any other name itself; "" where names stand for one another without end."""
    return _end(db, name) if external_names(db) else name


@query(index=True)
def _end(db: Reads, name: str) -> str:
    targets, seen = external_names(db), {name}
    while name in targets:
        name = targets[name]
        if name in seen:
            return ""
        seen.add(name)
    return name
