"""Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/ and its validation,
https://github.com/istio/istio/blob/master/pkg/config/security/security.go"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pilotfish.config.checks.hosts import is_ip_or_network
from pilotfish.config.checks.http_match import check_header_name
from pilotfish.config.checks.selector import check_selection
from pilotfish.config.conditions import find_path_fault, is_trust_domain, parse_key, parse_port, split_account
from pilotfish.config.istio.authorization_policy import (
    DRY_RUN,
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    AuthorizationRule,
    Condition,
    Operation,
    Source,
)
from pilotfish.config.report import Report
from pilotfish.config.values import parse_boolean
from pilotfish.model.authorization import Attribute

Values = tuple[Attribute, str, tuple[str, ...]]
"""What a list of values is of, its field, and the list."""
_NOT_CUSTOM: Final = frozenset(
    {
        Attribute.NAMESPACE,
        Attribute.PRINCIPAL,
        Attribute.REQUEST_PRINCIPAL,
        Attribute.AUDIENCE,
        Attribute.PRESENTER,
        Attribute.CLAIM,
    }
)
"""What Istio does not take with CUSTOM: nobody has looked at tokens yet when the provider is asked."""
_ALONE: Final = ("principals", "not_principals", "namespaces", "not_namespaces")


def check_authorization_policy(policy: AuthorizationPolicy, report: Report) -> None:
    spec = policy.spec
    check_selection(spec.selector, spec.target_ref, spec.target_refs, report)
    _check_dry_run(policy, report)
    _check_action(spec, report)
    for index, rule in enumerate(spec.rules):
        field = f"spec.rules[{index}]"
        _check_rule(rule, field, report)
        if spec.action == "CUSTOM":
            _check_custom(rule, field, report)
        elif spec.action == "DENY":
            _warn_of_connections(rule, field, report)


def _check_dry_run(policy: AuthorizationPolicy, report: Report) -> None:
    written, field = policy.metadata.annotations.get(DRY_RUN), f"metadata.annotations[{DRY_RUN}]"
    if written is None:
        return
    if parse_boolean(written) is None:
        report.invalid(field, f"{written!r} is neither true nor false", 'write "true", or remove it')
    if policy.spec.action not in ("ALLOW", "DENY"):
        report.invalid(field, f"what {policy.spec.action} does can't be tried", "remove it")


def _check_action(spec: AuthorizationPolicySpec, report: Report) -> None:
    if spec.action in ("DENY", "CUSTOM") and not spec.rules:
        what = f"{spec.action} without rules holds for nothing"
        report.invalid("spec.rules", what, "write `rules: [{}]` for everything")
    if spec.action == "CUSTOM":
        if spec.provider is None or not spec.provider.name:
            report.missing("spec.provider.name", "name one of meshConfig.extensionProviders")
    elif spec.provider is not None:
        report.invalid("spec.provider", f"{spec.action} asks nobody", "remove it, or write action: CUSTOM")


def _check_rule(rule: AuthorizationRule, field: str, report: Report) -> None:
    for i, each in enumerate(rule.from_):
        if each.source is None or each.source == Source():
            report.missing(f"{field}.from[{i}].source", "say who; without `from`, it is everybody")
        else:
            _check_accounts_alone(each.source, f"{field}.from[{i}].source", report)
    for i, target in enumerate(rule.to):
        if target.operation is None or target.operation == Operation():
            report.missing(f"{field}.to[{i}].operation", "say what; without `to`, it is everything")
    for i, condition in enumerate(rule.when):
        _check_condition(condition, f"{field}.when[{i}]", report)
    for attribute, inner, values in values_of(rule, field):
        _check_values(attribute, inner, values, report)


def _check_accounts_alone(source: Source, field: str, report: Report) -> None:
    if source.service_accounts or source.not_service_accounts:
        for name in (name for name in _ALONE if getattr(source, name)):
            what = "serviceAccounts says the account and its namespace already"
            report.invalid(f"{field}.{_camel(name)}", what, "keep one of them")


def _check_condition(condition: Condition, field: str, report: Report) -> None:
    if not condition.key:
        report.missing(f"{field}.key", "say what is to be looked at")
        return
    found = parse_key(condition.key)
    if found is None:
        remedy = "write one such as source.ip, request.headers[NAME] or request.auth.claims[NAME]"
        report.invalid(f"{field}.key", f"there is nothing of the name {condition.key!r}", remedy)
    elif found[0] is Attribute.HEADER:
        check_header_name(found[1][0].removeprefix(":"), f"{field}.key", report)
    if not condition.values and not condition.not_values:
        report.missing(f"{field}.values", "write values or notValues")


def values_of(rule: AuthorizationRule, field: str) -> Iterator[Values]:
    """All lists of values of a rule, those under a `not` as well."""
    for i, each in enumerate(rule.from_):
        yield from _listed(each.source or Source(), f"{field}.from[{i}].source")
    for i, target in enumerate(rule.to):
        yield from _listed(target.operation or Operation(), f"{field}.to[{i}].operation")
    for i, condition in enumerate(rule.when):
        found = parse_key(condition.key)
        if found is not None:
            yield found[0], f"{field}.when[{i}].values", condition.values
            yield found[0], f"{field}.when[{i}].notValues", condition.not_values


def _listed(group: Source | Operation, field: str) -> Iterator[Values]:
    for name in group.__struct_fields__:
        camel = _camel(name)
        plain = camel.removeprefix("not")
        attribute = Attribute(plain[0].lower() + plain[1:])
        if values := getattr(group, name):
            yield attribute, f"{field}.{camel}", values


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _check_values(attribute: Attribute, field: str, values: tuple[str, ...], report: Report) -> None:
    for index, value in enumerate(values):
        inner = f"{field}[{index}]"
        if not value:
            report.missing(inner, "an empty value matches nothing; write one, or remove it")
            continue
        fault = _find_fault(attribute, value)
        if fault:
            report.invalid(inner, *fault)
        elif attribute is Attribute.SERVICE_ACCOUNT and "*" in value:
            what = "no account has a * in its name, so that this is nobody; name each, or use principals"
            report.warning(inner, "NoEffect", what)


def _find_fault(attribute: Attribute, value: str) -> tuple[str, str] | None:
    """What is wrong, and what to do."""
    match attribute:
        case Attribute.SOURCE_IP | Attribute.REMOTE_IP | Attribute.DESTINATION_IP if not is_ip_or_network(value):
            return f"{value!r} is no address", "write an address, or a range such as 10.0.0.0/8"
        case Attribute.PORT if parse_port(value) is None:
            return f"{value!r} is no port", "write one from 0 to 65535"
        case Attribute.PATH if fault := find_path_fault(value):
            return fault, "write one such as /shop/{*}/cart or /shop/{**}"
        case Attribute.TRUST_DOMAIN if not is_trust_domain(value):
            return f"{value!r} is no trust domain", "write a whole one, or one with a * at an end"
        case Attribute.SERVICE_ACCOUNT if split_account(value) is None:
            return f"{value!r} is no service account", "write NAMESPACE/ACCOUNT, or ACCOUNT"
    return None


def _check_custom(rule: AuthorizationRule, field: str, report: Report) -> None:
    for attribute, inner, values in values_of(rule, field):
        if values and attribute in _NOT_CUSTOM:
            what = "CUSTOM does not look at who calls, nor at tokens, as the provider is asked before"
            report.invalid(inner, what, "use a DENY or an ALLOW policy for it")


def _warn_of_connections(rule: AuthorizationRule, field: str, report: Report) -> None:
    """On a TCP port a DENY rule loses what only requests have: it becomes wider."""
    listed = [each for each in values_of(rule, field) if each[2]]
    of_requests = [inner for attribute, inner, _ in listed if attribute.is_of_requests]
    if of_requests and not _has(Attribute.PORT, listed):
        what = (
            "a TCP port has none of it, so that the rest of the rule alone is looked at there, and more is refused, as "
            "in Istio; write the HTTP ports that are meant under to.operation.ports"
        )
        report.warning(of_requests[0], "DeniesConnections", what)


def _has(attribute: Attribute, listed: Iterable[Values]) -> bool:
    return any(each[0] is attribute for each in listed)
