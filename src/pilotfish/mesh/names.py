"""What names resolve to inside the mesh, for the agent's DNS.

Hosts are whole names in lower case, without a trailing dot; `/etc/resolv.conf` search domains do the rest.
Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from pilotfish.config import kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.endpoints import endpoints, instances
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.scope import Scope, visible
from pilotfish.mesh.services import hosts, service


@dataclass(frozen=True, slots=True)
class NameTable:
    version: str
    """A hash of the records."""
    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    """IPv4 and IPv6 addresses by name; `*.example.com` stands for every name below. No address: the name exists (it is
    headless, and no pod is ready)."""


@query
def name_table(db: Reads, scope: Scope) -> NameTable:
    """All names that a pod of a scope may ask for."""
    return _visible_names(db, visible(scope))


@query(index=True)
def _visible_names(db: Reads, scope: Scope) -> NameTable:
    records: dict[str, tuple[str, ...]] = {}
    for host in sorted(hosts(db, scope)):
        for name, addresses in records_of(db, host):
            records.setdefault(name, addresses)
    digest = blake2b(digest_size=8)
    for name, addresses in records.items():
        digest.update(f"{name}\0{','.join(addresses)}\0".encode())
    return NameTable(digest.hexdigest(), records)


@query
def records_of(db: Reads, host: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The names that one service brings. One whose addresses the outside world's DNS knows brings none."""
    found = service(db, host)
    if found is None:
        return ()
    if found.headless:
        return _headless_records(db, host, found.publish_not_ready)
    single = tuple(address for address in found.addresses if "/" not in address)
    return ((host, single),) if single else ()


def _headless_records(db: Reads, host: str, not_ready_too: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    name = host.partition(".")[0]
    found = service(db, host)
    if found is not None and not found.selector:
        listed = (e.address for port in found.ports for e in endpoints(db, host, port.number) if e.ready)
        return ((host, tuple(dict.fromkeys(listed))),)
    # Only a Service that asks for it has both families: an app that listens on 0.0.0.0 is not reached by IPv6.
    # https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services
    spec = resource(db, found.ref, kubernetes.Service) if found is not None else None
    families = None if spec is not None and spec.spec.ip_family_policy != "SingleStack" else 1
    ready = [(w, w.addresses[:families]) for w in instances(db, host) if w.ready or not_ready_too]
    own = [(f"{w.hostname}.{host}".lower(), addresses) for w, addresses in ready if w.subdomain == name]
    return ((host, tuple(address for _, addresses in ready for address in addresses)), *own)
