"""Problems of RequestAuthentications: keys that can't be had; and of routes by claims that nobody has verified."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.config.headers import is_claim
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateway_names import MESH, gateway_name
from pilotfish.mesh.gateways.selection import selectors
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.problems.authorization import unselected_problems
from pilotfish.mesh.problems.gateways import namespaces_of
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.security.guards import token_rules
from pilotfish.mesh.security.jwks import has_usable_key
from pilotfish.mesh.security.keys import KEYS
from pilotfish.mesh.security.workloads import policies_with
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.authentication import TokenRule
from pilotfish.model.kinds import GATEWAY, REQUEST_AUTHENTICATION
from pilotfish.model.proxy import ProxyType


@query
def authentication_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    if resource(db, ref, istio.RequestAuthentication) is None:
        return ()
    keys = (problem for rule in token_rules(db, ref) for problem in _key_problems(db, ref, rule))
    return (*unselected_problems(db, ref), *keys)


def _key_problems(db: Reads, ref: ObjectRef, rule: TokenRule) -> Iterator[Problem]:
    if isinstance(rule.keys, str):
        if not has_usable_key(rule.keys):
            text = (
                "none of its keys is one that a token can be verified with, so that every token is refused; correct it"
            )
            yield warning(db, ref, f"{rule.ref.field}.jwks", "UnusableKeys", text)
        return
    field, found = f"{rule.ref.field}.{'issuer' if rule.keys.is_issuer else 'jwksUri'}", db.read(KEYS, rule.keys)
    if found is None:
        text = "its keys are not fetched yet, which discovery alone does: until then, tokens of the issuer are refused"
        yield warning(db, ref, field, "KeysNotFetched", text, Severity.INFO)
    elif found.fault and found.text:
        text = f"its keys can't be renewed, and the last ones are used: {found.fault}"
        yield warning(db, ref, field, "KeysNotRenewed", text)
    elif found.fault:
        text = f"its keys can't be had, so that every token of the issuer is refused: {found.fault}"
        yield warning(db, ref, field, "KeysUnavailable", text)


@query
def claim_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    """Of a VirtualService that routes by claims."""
    found = resource(db, ref, istio.VirtualService)
    fields = tuple(_claim_fields(found.spec)) if found is not None else ()
    if found is None or not fields:
        return ()
    names = (gateway_name(each, ref.namespace) for each in found.spec.gateways)
    bare = next(
        (name for name in names if name != MESH and _verifies_nothing(db, GATEWAY.ref(*name.split("/", 1)))), ""
    )
    if not bare:
        return ()
    text = f"no RequestAuthentication is for the pods of Gateway {bare}, so that no request there has claims; add one"
    return tuple(warning(db, ref, field, "NoTokens", text) for field in fields)


def _claim_fields(spec: istio.VirtualServiceSpec) -> Iterator[str]:
    for i, route in enumerate(spec.http):
        for j, match in enumerate(route.match):
            for kind, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                yield from (f"spec.http[{i}].match[{j}].{kind}[{name}]" for name in headers if is_claim(name))


def _verifies_nothing(db: Reads, gateway: ObjectRef) -> bool:
    labels = next((dict(labels) for ref, labels in selectors(db) if ref == gateway), None)
    if labels is None:
        return False
    found = namespaces_of(db, gateway)
    return any(not policies_with(db, REQUEST_AUTHENTICATION, each, labels, ProxyType.ROUTER) for each in found)
