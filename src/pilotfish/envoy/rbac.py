"""Rules of authorization → Envoy's RBAC: what a rule looks at, in Istio's form, so that 403s read as people know them.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/rbac/v3/rbac.proto and Istio's
https://github.com/istio/istio/tree/master/pilot/pkg/security/authz/model
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Principal, SourcedMetadata
from envoy.config.rbac.v3.rbac_pb2 import Policy as RbacPolicy
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import UriTemplateMatchConfig
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.path_pb2 import PathMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ListMatcher, OrMatcher, ValueMatcher
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.message import pack
from pilotfish.model.authorization import Action, Attribute, Match, Matches, Rule

_ACTIONS: Final = {
    Action.ALLOW: RBAC.Action.ALLOW,
    Action.DENY: RBAC.Action.DENY,
    Action.AUDIT: RBAC.Action.LOG,
    Action.CUSTOM: RBAC.Action.DENY,
}
_SPIFFE: Final = "spiffe://"
_ANY_TEXT: Final = ".+"
JWT_FILTER: Final = "envoy.filters.http.jwt_authn"
PAYLOAD: Final = "payload"
"""Where the JWT filter leaves a token's claims."""
_CLAIMS: Final = {Attribute.AUDIENCE: ("aud",), Attribute.PRESENTER: ("azp",)}
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


def build_rbac(action: Action, rules: Iterable[Rule], prefix: str = "", suffix: str = "") -> RBAC:
    """`prefix` and `suffix` stand around the names of the rules."""
    policies = {f"{prefix}{rule.name}{suffix}": _build_rule(rule) for rule in rules}
    return RBAC(action=_ACTIONS[action], policies=policies)


def _build_rule(rule: Rule) -> RbacPolicy:
    if not rule.targets or not rule.callers:
        nothing, nobody = Permission(not_rule=Permission(any=True)), Principal(not_id=Principal(any=True))
        return RbacPolicy(permissions=[nothing], principals=[nobody])
    return RbacPolicy(
        permissions=[_all_permissions(each) for each in rule.targets],
        principals=[_all_principals(each) for each in rule.callers],
    )


def _all_permissions(matches: Matches) -> Permission:
    found = [build_permission(match) for match in matches] or [Permission(any=True)]
    return Permission(and_rules=Permission.Set(rules=found))


def _all_principals(matches: Matches) -> Principal:
    found = [build_principal(match) for match in matches] or [Principal(any=True)]
    return Principal(and_ids=Principal.Set(ids=found))


def build_permission(match: Match) -> Permission:
    if match.attribute is Attribute.METADATA:
        filter, key = match.path
        values = [_metadata_value(value) for value in match.values]
        found = Permission(sourced_metadata=_metadata(filter, (key,), _one_of(values)))
    else:
        build = _PERMISSIONS[match.attribute]
        found = Permission(or_rules=Permission.Set(rules=[build(value) for value in match.values]))
    return Permission(not_rule=found) if match.negated else found


def build_principal(match: Match) -> Principal:
    attribute = match.attribute
    if attribute in (Attribute.AUDIENCE, Attribute.PRESENTER, Attribute.CLAIM):
        found = Principal(sourced_metadata=_claim(_CLAIMS.get(attribute, match.path), match.values))
    elif attribute is Attribute.HEADER:
        headers = [Principal(header=build_header(match.path[0], value)) for value in match.values]
        found = Principal(or_ids=Principal.Set(ids=headers))
    else:
        build = _PRINCIPALS[attribute]
        found = Principal(or_ids=Principal.Set(ids=[build(value) for value in match.values]))
    return Principal(not_id=found) if match.negated else found


# Targets


def _host(value: str) -> Permission:
    return Permission(header=build_header(":authority", value, ignore_case=True))


def _path(value: str) -> Permission:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{*}", "*").replace("{**}", "**")
        config = TypedExtensionConfig(
            name="uri-template", typed_config=pack(UriTemplateMatchConfig(path_template=template))
        )
        return Permission(uri_template=config)
    return Permission(url_path=PathMatcher(path=build_text(value)))


_PERMISSIONS: Final[dict[Attribute, Callable[[str], Permission]]] = {
    Attribute.HOST: _host,
    Attribute.METHOD: lambda value: Permission(header=build_header(":method", value)),
    Attribute.PATH: _path,
    Attribute.PORT: lambda value: Permission(destination_port=int(value)),
    Attribute.DESTINATION_IP: lambda value: Permission(destination_ip=build_range(value)),
    Attribute.SERVER_NAME: lambda value: Permission(requested_server_name=build_text(value)),
}


# Callers


def _authenticated(name: StringMatcher) -> Principal:
    return Principal(authenticated=Principal.Authenticated(principal_name=name))


def _namespace(value: str) -> Principal:
    return _authenticated(_regex(f".*/ns/{_quote(value, '.*')}/.*"))


def _service_account(value: str) -> Principal:
    namespace, _, account = value.partition("/")
    return _authenticated(_regex(f"{_SPIFFE}.+/ns/{_quote(namespace)}/(.+/|)sa/{_quote(account)}(/.+)?"))


def _trust_domain(value: str) -> Principal:
    if value == "*":
        return _authenticated(StringMatcher(prefix=_SPIFFE))
    if "*" in value:
        return _authenticated(_regex(f"{_SPIFFE}{_quote(value, '[^/]*')}/.*"))
    return _authenticated(StringMatcher(prefix=f"{_SPIFFE}{value}/"))


def _request_principal(value: str) -> Principal:
    """ISSUER/SUBJECT, split at the last slash: an issuer is a URL. `x*` is of any subject, `*x` of any issuer."""
    if value == "*":
        issuer = subject = "*"
    else:
        issuer, slash, subject = value.rpartition("/")
        if not slash:
            issuer, subject = _halves(value)
    return Principal(
        and_ids=Principal.Set(
            ids=[
                Principal(sourced_metadata=_metadata(JWT_FILTER, (PAYLOAD, "iss"), _text_value(issuer))),
                Principal(sourced_metadata=_metadata(JWT_FILTER, (PAYLOAD, "sub"), _text_value(subject))),
            ]
        )
    )


def _halves(value: str) -> tuple[str, str]:
    if value.endswith("*"):
        return value, "*"
    return ("*", value) if value.startswith("*") else (value, "")


_PRINCIPALS: Final[dict[Attribute, Callable[[str], Principal]]] = {
    Attribute.PRINCIPAL: lambda value: _authenticated(build_text(value, _SPIFFE)),
    Attribute.REQUEST_PRINCIPAL: _request_principal,
    Attribute.SERVICE_ACCOUNT: _service_account,
    Attribute.TRUST_DOMAIN: _trust_domain,
    Attribute.NAMESPACE: _namespace,
    Attribute.REMOTE_IP: lambda value: Principal(remote_ip=build_range(value)),
    Attribute.SOURCE_IP: lambda value: Principal(direct_remote_ip=build_range(value)),
}


# Values


def build_text(value: str, prefix: str = "") -> StringMatcher:
    """`*` is any text. `prefix` stands before all others, and what follows a `*` behind it is quoted."""
    if value == "*":
        return _regex(_ANY_TEXT)
    if value.startswith("*"):
        return _regex(f"{prefix}.*{_quote(value[1:])}") if prefix else StringMatcher(suffix=value[1:])
    if value.endswith("*"):
        return StringMatcher(prefix=prefix + value[:-1])
    return StringMatcher(exact=prefix + value)


def build_header(name: str, value: str, *, ignore_case: bool = False) -> HeaderMatcher:
    if value == "*":
        return HeaderMatcher(name=name, present_match=True)
    text = build_text(value)
    text.ignore_case = ignore_case
    return HeaderMatcher(name=name, string_match=text)


def build_range(value: str) -> CidrRange:
    address, _, length = value.partition("/")
    whole = 128 if ":" in address else 32
    return CidrRange(address_prefix=address, prefix_len=UInt32Value(value=int(length) if length else whole))


def _regex(pattern: str) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=pattern))


def _quote(text: str, wildcard: str = r"\*") -> str:
    """As Go's regexp.QuoteMeta; `wildcard` stands for a `*`."""
    return _SPECIAL.sub(lambda found: wildcard if found[0] == "*" else f"\\{found[0]}", text)


# Metadata


def build_metadata(filter: str, path: Iterable[str], value: ValueMatcher) -> MetadataMatcher:
    segments = [MetadataMatcher.PathSegment(key=key) for key in path]
    return MetadataMatcher(filter=filter, path=segments, value=value)


def claim_value(texts: Iterable[StringMatcher]) -> ValueMatcher:
    """One of them, or a list that has one."""
    found = _one_of([ValueMatcher(string_match=text) for text in texts])
    return _any_of([ValueMatcher(list_match=ListMatcher(one_of=found)), found])


def _metadata(filter: str, path: Iterable[str], value: ValueMatcher) -> SourcedMetadata:
    return SourcedMetadata(metadata_matcher=build_metadata(filter, path, value))


def _claim(path: tuple[str, ...], values: Iterable[str]) -> SourcedMetadata:
    return _metadata(JWT_FILTER, (PAYLOAD, *path), claim_value(build_text(value) for value in values))


def _text_value(value: str) -> ValueMatcher:
    return ValueMatcher(string_match=build_text(value))


def _metadata_value(value: str) -> ValueMatcher:
    """`[x]` is a list that has x."""
    if value.startswith("[") and value.endswith("]"):
        return ValueMatcher(list_match=ListMatcher(one_of=_text_value(value[1:-1])))
    return _text_value(value)


def _one_of(values: list[ValueMatcher]) -> ValueMatcher:
    return values[0] if len(values) == 1 else _any_of(values)


def _any_of(values: list[ValueMatcher]) -> ValueMatcher:
    return ValueMatcher(or_match=OrMatcher(value_matchers=values))
