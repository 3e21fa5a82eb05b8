"""Who serves a service, as certificates prove it."""

from __future__ import annotations

from pilotfish.derive import Reads, query
from pilotfish.mesh.policy.peer_authentication import speaks_mutual
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.settings import settings
from pilotfish.model.identity import Identity


@query
def identities(db: Reads, host: str, home: str, port: int) -> tuple[str, ...]:
    """Of the endpoints of a service's port, in each trust domain of the mesh, sorted: `spiffe://...`. What a
    ServiceEntry says of its servers goes before. None where nobody knows."""
    found = service_at(db, host, home)
    if found is not None and found.subject_alt_names:
        return found.subject_alt_names
    listed = endpoints(db, host, home, port)
    accounts = {(e.ref.namespace, e.account) for e in listed if e.ref is not None and e.account}
    domains = settings(db).mutual.trust_domains
    return tuple(sorted(str(Identity(domain, *account)) for domain in domains for account in accounts))


@query
def is_mutual(db: Reads, host: str, home: str, port: int) -> bool:
    """Whether the service's port has endpoints, and all of them speak mutual TLS."""
    listed = endpoints(db, host, home, port)
    return bool(listed) and all(speaks_mutual(db, each) for each in listed)
