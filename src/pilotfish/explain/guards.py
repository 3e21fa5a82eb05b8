"""What stands before a workload, as its proxy holds it: providers that are asked, tokens, and policies.

Their filters come before all others, and say the same whatever route a request has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz as HttpExtAuthz
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC as HttpRbac
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz as NetworkExtAuthz
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC as NetworkRbac

from pilotfish.envoy.message import config_path
from pilotfish.explain.call import Call, Failure
from pilotfish.explain.matchers import Holds
from pilotfish.explain.rbac import Subject, matching, rule
from pilotfish.explain.tokens import UndecidedError, Verdict, find_tokens, verify
from pilotfish.explain.trace import Branch, End, Stage
from pilotfish.explain.trace import Verdict as Taken
from pilotfish.explain.written import NOWHERE, Written
from pilotfish.model.kinds import AUTHORIZATION_POLICY

_RULE: Final = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<number>\d+)\]")
_SHADOW_KEY: Final = "shadow_effective_policy_id"
_JWT: Final = "envoy.filters.http.jwt_authn"
_SPACES: Final = re.compile(r"\s+")

Noted = dict[str, tuple[str, str]]
"""What shadow rules note down: the rule that holds, and one that may, by the key that it is noted under."""


def is_guard(config: Any) -> bool:
    """Whether a filter of a connection manager is looked at here."""
    return any(config.Is(each.DESCRIPTOR) for each in (HttpRbac, JwtAuthentication, HttpExtAuthz))


def find_believers(chain: FilterChain) -> Mapping[str, Written]:
    """Whose the rules are by which tokens are believed, by the name of the filter's provider."""
    if "istio" not in chain.metadata.filter_metadata:
        return {}
    said = {name: each.struct_value for name, each in chain.metadata.filter_metadata["istio"].fields.items()}
    return {name: Written(each["config"], each["field"]) for name, each in said.items() if "config" in each}


def pass_guards(
    branch: Branch, manager: HttpConnectionManager, call: Call, remote: str, believers: Mapping[str, Written]
) -> tuple[Branch, Call] | None:
    """The request as it comes behind them, with its token's claims; None where it does not. What ends is ended here.

    `remote`: its client's address, as `client_address` says. `believers`: as `find_believers` says of its chain.
    """
    noted: Noted = {}
    for each in manager.http_filters:
        config = each.typed_config
        if each.disabled or not is_guard(config):
            continue
        if config.Is(JwtAuthentication.DESCRIPTOR):
            left = _check_tokens(branch, JwtAuthentication.FromString(config.value), call, believers)
            if left is None:
                return None
            branch, call = left
        elif config.Is(HttpExtAuthz.DESCRIPTOR):
            if not _asks_nobody(branch, each.name, HttpExtAuthz.FromString(config.value), noted):
                return None
        else:
            subject = Subject(call, remote, is_http=True)
            after = _authorize(branch, each.name, HttpRbac.FromString(config.value), subject, noted)
            if after is None:
                return None
            branch = after
    return branch, call


def pass_connection_guard(branch: Branch, config: Any, name: str, call: Call, noted: Noted) -> Branch | None:
    """One filter before a TCP proxy; `noted` is handed from one to the next."""
    if config.Is(NetworkExtAuthz.DESCRIPTOR):
        return branch if _asks_nobody(branch, name, NetworkExtAuthz.FromString(config.value), noted) else None
    subject = Subject(call, call.source, is_http=False)
    return _authorize(branch, name, NetworkRbac.FromString(config.value), subject, noted)


def is_connection_guard(config: Any) -> bool:
    return any(config.Is(each.DESCRIPTOR) for each in (NetworkRbac, NetworkExtAuthz))


def client_address(manager: HttpConnectionManager, call: Call) -> str:
    """As Envoy takes it from X-Forwarded-For.

    Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/headers#x-forwarded-for
    """
    told = [each for each in _SPACES.sub("", call.request.headers.get("x-forwarded-for", "")).split(",") if each]
    hops = manager.xff_num_trusted_hops
    if manager.use_remote_address.value:
        return told[-hops] if 0 < hops <= len(told) else call.source
    return told[-1 - hops] if len(told) > hops else call.source


def _authorize(branch: Branch, name: str, rbac: Any, subject: Subject, noted: Noted) -> Branch | None:
    if rbac.HasField("shadow_rules"):
        noted[f"{rbac.shadow_rules_stat_prefix}{_SHADOW_KEY}"] = matching(rbac.shadow_rules, subject)
    if not rbac.HasField("rules"):
        return branch
    found = rule(rbac.rules, subject)
    action = RBAC.Action.Name(rbac.rules.action)
    stage = Stage.HTTP_FILTER if subject.is_http else Stage.NETWORK_FILTER
    evidence = {"action": action, "rule": found.policy or "none"}
    said = written_by(found.policy)
    if found.passes is Holds.YES:
        return branch.step(stage, name, evidence=evidence, written=said) if found.policy else branch
    if found.passes is Holds.UNKNOWN:
        doubtful = branch.step(stage, name, verdict=Taken.UNKNOWN, evidence=evidence, written=said)
        doubtful.end(End.UNKNOWN, f"whether {found.policy} holds is not known here", failure=Failure.UNKNOWN)
        return None
    details = f"rbac_access_denied_matched_policy[{found.policy or 'none'}]"
    denied = branch.step(stage, name, verdict=Taken.REFUSED, evidence=evidence | {"details": details}, written=said)
    _deny(denied, found.policy or _who_allows(rbac.rules), bool(found.policy), subject)
    return None


def _who_allows(rules: RBAC) -> str:
    """The policies of which one would have to hold: `AuthorizationPolicy vm/reader, vm/writer`."""
    found = (_RULE.search(name) for name in rules.policies)
    names = sorted({f"{each['namespace']}/{each['name']}" for each in found if each is not None})
    return f"{AUTHORIZATION_POLICY} {', '.join(names)}" if names else "the policies with the action ALLOW"


def _deny(branch: Branch, policy: str, denies: bool, subject: Subject) -> None:
    cause = f"{policy} denies it" if denies else f"nobody is let in but by {policy}, and this is not"
    if subject.is_http:
        branch.end(End.RESPONSE, cause, status=403, failure=Failure.DENIED)
    else:
        branch.end(End.RESET, cause, failure=Failure.DENIED)


def written_by(rule: str) -> Written:
    """Whose a rule is, by its name."""
    found = _RULE.search(rule)
    if found is None:
        return NOWHERE
    path = config_path(AUTHORIZATION_POLICY.ref(found["namespace"], found["name"]))
    return Written(path, f"spec.rules[{found['number']}]")


def _asks_nobody(branch: Branch, name: str, check: Any, noted: Noted) -> bool:
    """What a provider says is not known here: a way ends where it is asked."""
    key = check.filter_enabled_metadata.path[0].key if check.filter_enabled_metadata.path else ""
    prefix = check.filter_enabled_metadata.value.string_match.prefix
    held, doubtful = noted.get(key, ("", "")) if key else (name, "")
    rule = next((each for each in (held, doubtful) if each.startswith(prefix)), "")
    if not rule:
        return True
    asked = check.grpc_service.envoy_grpc.cluster_name
    if isinstance(check, HttpExtAuthz) and check.HasField("http_service"):
        asked = check.http_service.server_uri.cluster
    stage = Stage.HTTP_FILTER if isinstance(check, HttpExtAuthz) else Stage.NETWORK_FILTER
    step = branch.step(
        stage, name, verdict=Taken.UNKNOWN, evidence={"asks": asked, "rule": rule}, written=written_by(rule)
    )
    step.end(End.UNKNOWN, f"{asked} decides, and what it says is not known here", failure=Failure.UNKNOWN)
    return False


# Tokens


def _check_tokens(
    branch: Branch, config: JwtAuthentication, call: Call, believers: Mapping[str, Written]
) -> tuple[Branch, Call] | None:
    request = call.request
    is_preflight = request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= request.headers.keys()
    if config.bypass_cors_preflight and is_preflight:
        return branch, call
    call = _without_forged(config, call)
    found = {name: list(find_tokens(config.providers[name], call.request)) for name in sorted(config.providers)}
    try:
        told = {
            name: [(token, verify(config.providers[name], token.text, call.now)) for token in tokens]
            for name, tokens in found.items()
            if tokens
        }
    except UndecidedError as error:
        step = branch.step(Stage.HTTP_FILTER, _JWT, verdict=Taken.UNKNOWN)
        step.end(End.UNKNOWN, str(error), failure=Failure.UNKNOWN)
        return None
    # One of the issuers is content, or none has anything to say; where tokens are required, it is one of theirs.
    content = [name for name, each in told.items() if all(verdict.claims is not None for _, verdict in each)]
    required = _required(config)
    believed = next((name for name in content if not required or name in required), "")
    if not believed and (told or required):
        verdicts = [(name, verdict) for name, each in told.items() for _, verdict in each]
        missing = (min(required, default=""), Verdict(None, "there is none, and one is required"))
        name, refused = _plainest(verdicts) if verdicts else missing
        _refuse(branch, refused, believers.get(name, NOWHERE))
        return None
    if not told:
        return branch, call
    token, verdict = told[believed][0]
    keeps = config.providers[believed].forward
    headers = {k: v for k, v in call.request.headers.items() if keeps or k != token.header}
    claims = verdict.claims or {}
    evidence = {"issuer": claims.get("iss"), "subject": claims.get("sub")}
    step = branch.step(Stage.HTTP_FILTER, _JWT, evidence=evidence, written=believers.get(believed, NOWHERE))
    return step, replace(call, request=replace(call.request, headers=headers, claims=claims))


def _required(config: JwtAuthentication) -> frozenset[str]:
    """The providers of which one must be content; none where a token may be missing."""
    asked = [rule.requires for rule in config.rules]
    listed = [one for each in asked for one in (each.requires_any.requirements or [each])]
    names = frozenset(each.provider_name for each in listed if each.provider_name)
    may_miss = any(each.HasField("allow_missing") or each.HasField("requires_all") for each in listed)
    return frozenset() if may_miss else names


def _plainest(verdicts: Iterable[tuple[str, Verdict]]) -> tuple[str, Verdict]:
    """That of the token's own issuer, if one is; and its provider."""
    named = list(verdicts)
    refused = [(name, each) for name, each in named if each.claims is None]
    listed = refused or [(named[0][0], Verdict(None, "it is of none that is required"))]
    return next(((name, each) for name, each in listed if not each.fault.startswith("its issuer")), listed[0])


def _refuse(branch: Branch, verdict: Verdict, said: Written) -> None:
    evidence = {"why": verdict.fault}
    step = branch.step(Stage.HTTP_FILTER, _JWT, verdict=Taken.REFUSED, evidence=evidence, written=said)
    step.end(
        End.RESPONSE,
        f"the token is not believed: {verdict.fault}",
        status=verdict.status,
        failure=Failure.UNAUTHENTICATED,
    )


def _without_forged(config: JwtAuthentication, call: Call) -> Call:
    """Headers in which the filter itself tells of tokens are nobody else's."""
    own = {provider.forward_payload_header.lower() for provider in config.providers.values()}
    own |= {each.header_name.lower() for provider in config.providers.values() for each in provider.claim_to_headers}
    headers: Mapping[str, str] = {k: v for k, v in call.request.headers.items() if k not in own}
    return replace(call, request=replace(call.request, headers=headers, claims=None))
