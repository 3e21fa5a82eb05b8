"""Problems of who refers to Secrets: those that are not there, can't be used, or have expired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.credentials import key_pair, trust
from pilotfish.mesh.gateways.servers import named_secrets, names_secrets, servers
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.policy.credentials import lacks
from pilotfish.mesh.problems.gateways import namespaces_of
from pilotfish.mesh.problems.routing import warning
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.credential import KeyPair, Trust, config_map_ref
from pilotfish.model.kinds import DESTINATION_RULE, GATEWAY
from pilotfish.model.traffic_policy import ClientCredential

_SELECTED: Final = "what the selected workloads send there is answered 503 until it can be used"
_EVERYBODY: Final = "what is sent there is answered 503 until it can be used"

Expiry = tuple[float, Problem]
"""From when on, in seconds since the epoch, something is a Problem."""


@query
def credential_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    """Of the Secrets that a DestinationRule for some workloads of its namespace names, and of ConfigMaps."""
    found = ((field, named, lack) for field, named in _named(db, ref) for lack in lacks(db, ref.namespace, named))
    return tuple(
        warning(db, ref, field, lack.lack, f"{lack.message}: {_harm(named)}; {lack.remedy}")
        for field, named, lack in found
    )


def _harm(named: ClientCredential) -> str:
    return _EVERYBODY if named.is_public else _SELECTED


@query(index=True)
def expiries(db: Reads) -> tuple[Expiry, ...]:
    """When what is in use ends."""
    rules = (expiry for ref in refs(db, DESTINATION_RULE) for expiry in _expiries(db, ref))
    return (*rules, *(expiry for ref in refs(db, GATEWAY) for expiry in _at_gateway(db, ref)))


def overdue(found: tuple[Expiry, ...], now: float) -> tuple[Problem, ...]:
    return tuple(problem for at, problem in found if at <= now)


@query
def _expiries(db: Reads, ref: ObjectRef) -> tuple[Expiry, ...]:
    found = (_expiries_of(db, ref, ref.namespace, field, named) for field, named in _named(db, ref))
    return tuple(expiry for many in found for expiry in many)


@query
def _at_gateway(db: Reads, ref: ObjectRef) -> tuple[Expiry, ...]:
    """Of a Gateway, whose Secrets are those of the namespaces of its pods."""
    if not names_secrets(db, ref):
        return ()
    return tuple(
        expiry
        for namespace in namespaces_of(db, ref)
        for server in servers(db, ref)
        for field, named in named_secrets(server)
        for expiry in _expiries_of(db, ref, namespace, f"{server.ref.field}.tls.{field}", named)
    )


def _expiries_of(db: Reads, ref: ObjectRef, namespace: str, field: str, named: ClientCredential) -> Iterator[Expiry]:
    """Of what an object refers to in the Secrets of a namespace."""
    pair = key_pair(db, namespace, named.name) if named.shows else None
    trusted = trust(db, namespace, named.trusted) if named.trusts else None
    if isinstance(pair, KeyPair):
        what = f"a certificate that the Secret {named.name} shows"
        yield pair.expires_at, _expired(db, ref, field, what, pair.expires_at)
    if isinstance(trusted, Trust):
        what = f"the last certificate of those whom {_called(named.trusted)} trusts"
        yield trusted.expires_at, _expired(db, ref, field, what, trusted.expires_at)


def _called(credential: str) -> str:
    return str(config_map_ref(credential) or f"the Secret {credential}")


def _expired(db: Reads, ref: ObjectRef, field: str, what: str, at: float) -> Problem:
    day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = f"{what} expired on {day}, so that the other side, or this one, ends every connection; renew it"
    return warning(db, ref, field, "ExpiredCertificate", text)


def _named(db: Reads, ref: ObjectRef) -> Iterator[tuple[str, ClientCredential]]:
    """What a rule names, and where: of Secrets, if it is for some workloads only."""
    rule = resource(db, ref, istio.DestinationRule)
    selector = rule.spec.workload_selector if rule is not None else None
    for tls, field in tls_of(rule.spec) if rule is not None else ():
        if tls.mode in ("SIMPLE", "MUTUAL"):
            named = ((f"{field}.{name}", each) for name, each in _parts(tls))
            yield from (each for each in named if each[1].is_public or (selector and selector.match_labels))


def _parts(tls: istio.ClientTLSSettings) -> Iterator[tuple[str, ClientCredential]]:
    """What each field is asked for."""
    trusts = not tls.insecure_skip_verify
    if tls.credential_name:
        own = trusts and not tls.ca_cert_credential_name
        yield "credentialName", ClientCredential(tls.credential_name, tls.mode == "MUTUAL", own)
    if tls.ca_cert_credential_name:
        yield "caCertCredentialName", ClientCredential(tls.ca_cert_credential_name, shows=False, trusts=trusts)


def tls_of(spec: istio.DestinationRuleSpec) -> Iterator[tuple[istio.ClientTLSSettings, str]]:
    policies = [(spec.traffic_policy, "spec.trafficPolicy")]
    policies += [(subset.traffic_policy, f"spec.subsets[{i}].trafficPolicy") for i, subset in enumerate(spec.subsets)]
    for policy, field in policies:
        if policy is not None and policy.tls is not None:
            yield policy.tls, f"{field}.tls"
        for i, port in enumerate(policy.port_level_settings if policy is not None else ()):
            if port.tls is not None:
                yield port.tls, f"{field}.portLevelSettings[{i}].tls"
