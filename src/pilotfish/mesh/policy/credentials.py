"""Which Secrets clients use for what DestinationRules name as credentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pilotfish.derive import Reads
from pilotfish.mesh.credentials import lacking_pair, lacking_trust
from pilotfish.mesh.policy.policies import Reach, reach
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef
from pilotfish.model.credential import Unusable
from pilotfish.model.traffic_policy import ClientCredential, TrafficPolicy


@dataclass(frozen=True, slots=True)
class Keyring:
    """The credentials that a client may have."""

    namespace: str
    """Whose Secrets; "" is nobody's."""


def keyring(db: Reads, scope: Scope, rules: tuple[ObjectRef, ...]) -> Keyring | None:
    """For what these rules name. None: the client does without TLS where they name one, as with Istio: a sidecar takes
    a credential of no rule but one that is for some workloads, and so of its own namespace."""
    if Reach.CREDENTIALS not in reach(db) or not (scope.router or set(rules) & set(scope.selected_by)):
        return None
    return Keyring(scope.namespace if scope.vouched else "")


def with_credentials(db: Reads, policy: TrafficPolicy, keyring: Keyring | None) -> TrafficPolicy | None:
    """The policy as a client follows it; None if it can't, for want of what its credential is to give."""
    named = policy.tls.credential if policy.tls is not None else None
    if named is None:
        return policy
    if named.is_public:
        return policy if not any(lacks(db, "", named)) else None
    if keyring is None:
        return replace(policy, tls=None)
    usable = keyring.namespace and not any(lacks(db, keyring.namespace, named))
    return policy if usable else None


def lacks(db: Reads, namespace: str, named: ClientCredential) -> Iterator[Unusable]:
    """What can't be had of a credential."""
    pair = lacking_pair(db, namespace, named.name) if named.shows else None
    trust = lacking_trust(db, namespace, named.trusted) if named.trusts else None
    yield from dict.fromkeys(each for each in (pair, trust) if each is not None)
