"""One AuthorizationPolicy → its rules, for requests and for connections alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pilotfish.config import istio
from pilotfish.config.conditions import parse_key, split_account
from pilotfish.config.istio.authorization_policy import DRY_RUN
from pilotfish.config.values import parse_boolean
from pilotfish.mesh.security.trust_domains import Domains, expand
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.authorization import EVERYTHING, Action, Attribute, Match, Matches, Policy, Rule

_TARGETS: Final = (Attribute.HOST, Attribute.METHOD, Attribute.PATH, Attribute.PORT)
_CALLERS: Final = (
    Attribute.PRINCIPAL,
    Attribute.REQUEST_PRINCIPAL,
    Attribute.SERVICE_ACCOUNT,
    Attribute.TRUST_DOMAIN,
    Attribute.NAMESPACE,
    Attribute.REMOTE_IP,
    Attribute.SOURCE_IP,
)


def lower_policy(ref: ObjectRef, policy: istio.AuthorizationPolicy, domains: Domains) -> Policy:
    spec = policy.spec
    rules = tuple(_lower_rule(ref, index, rule, domains) for index, rule in enumerate(spec.rules))
    return Policy(
        ref=ref,
        action=Action(spec.action),
        rules=rules or (Rule(rule_name(ref, 0), FieldRef(ref, "spec"), (), ()),),
        dry_run=parse_boolean(policy.metadata.annotations.get(DRY_RUN)) is True,
        provider=spec.provider.name if spec.provider is not None else "",
    )


def closed_policy(ref: ObjectRef) -> Policy:
    """In the place of one that can't be used: nothing passes."""
    rule = Rule(rule_name(ref, 0), FieldRef(ref, ""), EVERYTHING, EVERYTHING)
    return Policy(ref, Action.DENY, (rule,))


def rule_name(ref: ObjectRef, index: int) -> str:
    return f"ns[{ref.namespace}]-policy[{ref.name}]-rule[{index}]"


def of_connections(policy: Policy) -> Policy:
    """What is left of it where there are no requests: an ALLOW rule that looks at them allows nothing, and any other
    is as if it did not look.

    Source: https://istio.io/latest/docs/ops/configuration/security/security-policy-examples/#tcp and Istio's
    pilot/pkg/security/authz/model/model.go
    """
    if policy.action is Action.ALLOW:
        return replace(policy, rules=tuple(rule for rule in policy.rules if not _looks_at_requests(rule)))
    return replace(policy, rules=tuple(_without_requests(rule) for rule in policy.rules))


def _looks_at_requests(rule: Rule) -> bool:
    return any(m.attribute.is_of_requests for many in (*rule.targets, *rule.callers) for m in many)


def _without_requests(rule: Rule) -> Rule:
    def left(groups: tuple[Matches, ...]) -> tuple[Matches, ...]:
        return tuple(tuple(m for m in many if not m.attribute.is_of_requests) for many in groups)

    return replace(rule, targets=left(rule.targets), callers=left(rule.callers))


def _lower_rule(ref: ObjectRef, index: int, rule: istio.AuthorizationRule, domains: Domains) -> Rule:
    conditions = [match for each in rule.when for match in _conditions(each, ref.namespace, domains)]
    about_target = tuple(match for match in conditions if match.attribute.is_of_target)
    about_caller = tuple(match for match in conditions if not match.attribute.is_of_target)
    operations = [_of_group(each.operation, _TARGETS, ref.namespace, domains) for each in rule.to]
    sources = [_of_group(each.source, _CALLERS, ref.namespace, domains) for each in rule.from_]
    return Rule(
        name=rule_name(ref, index),
        ref=FieldRef(ref, f"spec.rules[{index}]"),
        targets=tuple((*each, *about_target) for each in operations or [()]),
        callers=tuple((*each, *about_caller) for each in sources or [()]),
    )


def _of_group(
    group: istio.Source | istio.Operation | None, attributes: tuple[Attribute, ...], namespace: str, domains: Domains
) -> Matches:
    """Of a source or an operation, whose fields are called as the attributes are."""
    found: list[Match] = []
    for attribute in attributes:
        name = "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in attribute)
        for values, negated in ((getattr(group, name), False), (getattr(group, f"not_{name}"), True)):
            if values:
                found.append(Match(attribute, _meant(attribute, values, namespace, domains), negated=negated))
    return tuple(found)


def _conditions(condition: istio.Condition, namespace: str, domains: Domains) -> Iterator[Match]:
    found = parse_key(condition.key)
    if found is None:
        raise ValueError(f"{condition.key!r} is no condition")
    attribute, path = found
    for values, negated in ((condition.values, False), (condition.not_values, True)):
        if values:
            yield Match(attribute, _meant(attribute, values, namespace, domains), path, negated)


def _meant(attribute: Attribute, values: tuple[str, ...], namespace: str, domains: Domains) -> tuple[str, ...]:
    if attribute is Attribute.PRINCIPAL:
        return expand(values, domains)
    if attribute is Attribute.SERVICE_ACCOUNT:
        named = (split_account(value) or ("", value) for value in values)
        return tuple(f"{own or namespace}/{account}" for own, account in named)
    return values
