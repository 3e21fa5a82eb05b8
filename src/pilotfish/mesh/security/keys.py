"""Keys of issuers: which are wanted, where the mesh has them, and what discovery has fetched of them."""

from __future__ import annotations

from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Graph, Input, Reads, query
from pilotfish.mesh.hosts import resolve, server_name
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.policy.peers import identities, is_mutual
from pilotfish.mesh.registry.aliases import aliased
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.authentication import KeyHost, Keys, KeySource
from pilotfish.model.kinds import REQUEST_AUTHENTICATION

KEYS: Final[Input[KeySource, Keys]] = Input("Keys")
"""What was fetched. Set by whoever fetches: where nobody does, as offline, there are none."""


def apply_keys(graph: Graph, source: KeySource, keys: Keys | None) -> bool:
    """True if that changed anything."""
    return graph.set(KEYS, source, keys)


@query(index=True)
def wanted_keys(db: Reads) -> tuple[KeySource, ...]:
    """All that some RequestAuthentication names, each once."""
    found = (resource(db, ref, istio.RequestAuthentication) for ref in refs(db, REQUEST_AUTHENTICATION))
    rules = (rule for each in found if each is not None for rule in each.spec.jwt_rules)
    named = (key_source(rule) for rule in rules)
    return tuple(sorted({source for source in named if source is not None}))


@query
def key_host(db: Reads, host: str, port: int, namespace: str) -> KeyHost | None:
    """What a pod of `namespace` reaches by this name; None for a host outside of the mesh. Mutual TLS is spoken as
    sidecars would; what DestinationRules say of it is for these alone."""
    records = name_table(db, Scope(namespace)).records
    named = (host, aliased(db, host), resolve(host, namespace))
    found = next((name for name in named if name in records), "")
    if not found:
        return None
    if not settings(db).mutual.automatic or not is_mutual(db, found, "", port):
        return KeyHost(found, records[found])
    return KeyHost(found, records[found], server_name(port, "", found), identities(db, found, "", port))


def key_source(rule: istio.JWTRule) -> KeySource | None:
    """Where a rule's keys are fetched from; None where it has them itself."""
    if rule.jwks:
        return None
    return KeySource(rule.jwks_uri or rule.issuer, not rule.jwks_uri, rule.timeout)
