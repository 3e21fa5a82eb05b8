"""What stands before a workload: the policies that hold for it, and what they come to.

    proxy ─guard_of─▶ Guard ─authorization─▶ model.authorization.Authorization
                            ─authentication─▶ model.authentication.Authentication

Workloads of one Guard share their listeners. A changed policy is lowered again by itself, and is news to those alone
for whom it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Graph, Reads, query
from pilotfish.mesh.inputs import Labels, effective, mesh_config, refs
from pilotfish.mesh.listeners.inbound import workload_labels
from pilotfish.mesh.registry.visibility import visible
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.mesh.security.jwks import has_usable_key
from pilotfish.mesh.security.keys import KEYS, key_source
from pilotfish.mesh.security.lowering import closed_policy, lower_policy, of_connections
from pilotfish.mesh.security.providers import provider
from pilotfish.mesh.security.selection import covering, in_namespace, of_root, refused
from pilotfish.model import FieldRef, Kind, ObjectRef, Proxy
from pilotfish.model.authentication import Authentication, Keys, TokenRule, Verified
from pilotfish.model.authorization import Action, Authorization, External, Policy, Rule, Unusable, Verdict
from pilotfish.model.kinds import AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION

_DEFAULT_LISTS: Final = ("permission", "scope")


@dataclass(frozen=True, slots=True)
class Guard:
    policies: tuple[ObjectRef, ...] = ()
    """AuthorizationPolicies, in order: the root namespace's, then its own; the oldest first."""
    authentications: tuple[ObjectRef, ...] = ()
    """RequestAuthentications, likewise."""
    asker: Scope = EVERYONE
    """What it sees of the services that it has to ask; everybody's where it asks none."""


OPEN: Final = Guard()


def guard_of(graph: Graph, proxy: Proxy, scope: Scope) -> Guard:
    """No query, as there would be one for each proxy. `scope` is the proxy's."""
    if not graph.get(_are_any):
        return OPEN
    labels = graph.get(workload_labels, proxy)
    policies = _holding(graph, AUTHORIZATION_POLICY, proxy, labels)
    asks = any(graph.get(policy, ref).action is Action.CUSTOM for ref in policies)
    asker = graph.get(visible, scope) if asks else EVERYONE
    return Guard(policies, _holding(graph, REQUEST_AUTHENTICATION, proxy, labels), asker)


@query(index=True)
def _are_any(db: Reads) -> bool:
    return any(refs(db, kind) for kind in (AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION))


def _holding(graph: Graph, kind: Kind, proxy: Proxy, labels: Labels) -> tuple[ObjectRef, ...]:
    root = graph.get(of_root, kind, proxy.namespace)
    own = graph.get(in_namespace, kind, proxy.namespace)
    return tuple(covering(root, own, dict(labels), proxy.type)) if root or own else ()


@query
def policy(db: Reads, ref: ObjectRef) -> Policy:
    """An AuthorizationPolicy's rules. One that Envoy refused lets nothing pass."""
    manifest, config = effective(db, ref), mesh_config(db)
    if manifest is None or not isinstance(manifest.resource, istio.AuthorizationPolicy):
        refused(db, ref)  # it is theirs
        return closed_policy(ref)
    return lower_policy(ref, manifest.resource, config.trust_domains)


@query
def authorization(db: Reads, guard: Guard, has_requests: bool) -> Authorization:
    """What is let pass. `has_requests`: not only connections are seen."""
    found = [policy(db, ref) for ref in guard.policies]
    found += [closed_policy(ref) for ref in guard.authentications if refused(db, ref) is not None]
    if not has_requests:
        found = [of_connections(each) for each in found]
    verdicts = (_verdict(action, found) for action in (Action.AUDIT, Action.DENY, Action.ALLOW))
    return Authorization(
        custom=tuple(_external(db, guard.asker, found, has_requests)),
        verdicts=tuple(each for each in verdicts if each is not None),
    )


def _verdict(action: Action, policies: list[Policy]) -> Verdict | None:
    of_action = [each for each in policies if each.action is action]
    if not of_action:
        return None
    return Verdict(action, _rules(of_action, dry_run=False), _rules(of_action, dry_run=True))


def _rules(policies: list[Policy], *, dry_run: bool) -> tuple[Rule, ...] | None:
    chosen = [each for each in policies if each.dry_run is dry_run]
    return tuple(rule for each in chosen for rule in each.rules) if chosen else None


def _external(db: Reads, asker: Scope, policies: list[Policy], has_requests: bool) -> Iterator[External]:
    """Of several providers all are asked; but where one can't be, what any of them covers is refused."""
    custom = [each for each in policies if each.action is Action.CUSTOM]
    names = sorted({each.provider for each in custom})
    providers = [provider(db, asker, name) for name in names]
    lacking = next((each for each in providers if isinstance(each, Unusable)), None)
    for name, found in zip(names, providers, strict=True):
        rules = tuple(rule for each in custom if each.provider == name for rule in each.rules)
        if lacking is not None:
            yield External(found if isinstance(found, Unusable) else replace(lacking, name=name), rules)
        elif has_requests or (not isinstance(found, Unusable) and found.http is None):
            # Connections alone can't be asked about over HTTP: as in Istio, they pass (`problems` says so).
            yield External(found, rules)


@query
def authentication(db: Reads, guard: Guard) -> Authentication:
    """Whose tokens are believed, by issuer."""
    rules = [rule for ref in guard.authentications for rule in token_rules(db, ref)]
    return tuple(Verified(rule, _keys(db, rule)) for rule in sorted(rules, key=lambda rule: rule.issuer))


def _keys(db: Reads, rule: TokenRule) -> str:
    found = Keys(rule.keys) if isinstance(rule.keys, str) else db.read(KEYS, rule.keys) or Keys()
    return found.text if has_usable_key(found.text) else ""


@query
def token_rules(db: Reads, ref: ObjectRef) -> tuple[TokenRule, ...]:
    """Those of a RequestAuthentication."""
    manifest = effective(db, ref)
    if manifest is None or not isinstance(manifest.resource, istio.RequestAuthentication):
        return ()
    rules = enumerate(manifest.resource.spec.jwt_rules)
    return tuple(lower_token_rule(FieldRef(ref, f"spec.jwtRules[{index}]"), rule) for index, rule in rules)


def lower_token_rule(ref: FieldRef, source: istio.JWTRule) -> TokenRule:
    return TokenRule(
        ref=ref,
        issuer=source.issuer,
        keys=key_source(source) or source.jwks,
        audiences=source.audiences,
        from_headers=tuple((each.name, each.prefix) for each in source.from_headers),
        from_params=source.from_params,
        from_cookies=source.from_cookies,
        payload_header=source.output_payload_to_header,
        claim_headers=tuple((each.header, each.claim) for each in source.output_claim_to_headers),
        forwarded=source.forward_original_token,
        required=source.presence == "REQUIRED",
        list_claims=tuple(sorted({*source.space_delimited_claims, *_DEFAULT_LISTS})),
    )
