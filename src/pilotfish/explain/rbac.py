"""Whether RBAC's rules hold for a call, by what is known of it.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/rbac/v3/rbac.proto
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import UriTemplateMatchConfig

from pilotfish.explain.call import Call
from pilotfish.explain.matchers import Holds, all_of, any_of, holds, invert, match_header, match_metadata, match_string

_TEMPLATE_TEXT: Final = r"[-A-Za-z0-9._~%!$&'()+,;:@=]"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules are asked about."""

    call: Call
    remote: str
    """The client's address, as X-Forwarded-For tells it; "" where nobody knows."""
    is_http: bool


@dataclass(frozen=True, slots=True)
class Ruling:
    passes: Holds
    policy: str = ""
    """The one that decides; "" where none holds."""


def rule(rules: RBAC, subject: Subject) -> Ruling:
    """Whether a call passes a set of rules that is in force."""
    held, doubtful = matching(rules, subject)
    if rules.action == RBAC.Action.LOG:
        return Ruling(Holds.YES, held)
    allows = rules.action == RBAC.Action.ALLOW
    if held:
        return Ruling(Holds.YES if allows else Holds.NO, held)
    if doubtful:
        return Ruling(Holds.UNKNOWN, doubtful)
    return Ruling(Holds.NO if allows else Holds.YES)


def matching(rules: RBAC, subject: Subject) -> tuple[str, str]:
    """The first rule, by name, that holds, and the first that may: "" where there is none."""
    found = {name: _holds(rules.policies[name], subject) for name in sorted(rules.policies)}
    held = next((name for name, verdict in found.items() if verdict is Holds.YES), "")
    return held, next((name for name, verdict in found.items() if verdict is Holds.UNKNOWN), "")


def _holds(policy: Any, subject: Subject) -> Holds:
    targets = any_of(_permission(each, subject) for each in policy.permissions)
    return all_of((targets, any_of(_principal(each, subject) for each in policy.principals)))


def _permission(wanted: Any, subject: Subject) -> Holds:
    kind, call = wanted.WhichOneof("rule"), subject.call
    match kind:
        case "and_rules":
            return all_of(_permission(each, subject) for each in wanted.and_rules.rules)
        case "or_rules":
            return any_of(_permission(each, subject) for each in wanted.or_rules.rules)
        case "not_rule":
            return invert(_permission(wanted.not_rule, subject), True)
        case "uri_template" if subject.is_http:
            config = UriTemplateMatchConfig.FromString(wanted.uri_template.typed_config.value)
            return holds(_template(config.path_template).fullmatch(_path(call)) is not None)
        case "destination_ip":
            return _within(wanted.destination_ip, call.address)
        case "destination_port":
            return holds(wanted.destination_port == call.port)
        case "requested_server_name":
            return match_string(wanted.requested_server_name, call.server_name)
    return _of_either(kind, wanted, subject)


def _principal(wanted: Any, subject: Subject) -> Holds:
    kind, call = wanted.WhichOneof("identifier"), subject.call
    match kind:
        case "and_ids":
            return all_of(_principal(each, subject) for each in wanted.and_ids.ids)
        case "or_ids":
            return any_of(_principal(each, subject) for each in wanted.or_ids.ids)
        case "not_id":
            return invert(_principal(wanted.not_id, subject), True)
        case "authenticated":
            return _authenticated(wanted.authenticated, call.peer)
        case "direct_remote_ip":
            return _within(wanted.direct_remote_ip, call.source)
        case "remote_ip":
            return _within(wanted.remote_ip, subject.remote)
    return _of_either(kind, wanted, subject)


def _of_either(kind: str | None, wanted: Any, subject: Subject) -> Holds:
    """What permissions and principals ask for alike."""
    match kind:
        case "any":
            return Holds.YES
        case "header":
            return _header(wanted.header, subject)
        case "url_path" if subject.is_http:
            return match_string(wanted.url_path.path, _path(subject.call))
        case "sourced_metadata":
            return match_metadata(wanted.sourced_metadata.metadata_matcher, subject.call.request.claims)
    return Holds.UNKNOWN


def _authenticated(wanted: Any, peer: str | None) -> Holds:
    if peer == "":
        return Holds.NO
    if peer is None:
        return Holds.UNKNOWN
    return match_string(wanted.principal_name, peer) if wanted.HasField("principal_name") else Holds.YES


def _header(wanted: Any, subject: Subject) -> Holds:
    request = subject.call.request
    headers = {**request.headers, ":method": request.method, ":authority": request.host, ":path": request.path}
    return match_header(wanted, headers.get(wanted.name.lower()) if subject.is_http else None)


def _path(call: Call) -> str:
    return re.split(r"[?#]", call.request.path, maxsplit=1)[0]


def _within(block: Any, address: str) -> Holds:
    if not address:
        return Holds.UNKNOWN
    network = ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)
    return holds(ip_address(address.partition("%")[0]) in network)


def _template(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", template)
    found = {"**": f"(?:{_TEMPLATE_TEXT}|/)*", "*": f"{_TEMPLATE_TEXT}+"}
    return re.compile("".join(found.get(part) or re.escape(part) for part in parts))
