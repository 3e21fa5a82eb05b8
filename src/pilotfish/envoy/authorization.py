"""Authorization → filters, in Istio's order: CUSTOM before tokens are looked at; AUDIT, DENY and ALLOW behind.

A rule with CUSTOM is matched without effect (`shadow_rules`), and the filter of the provider acts where it was. Where
nobody can be asked, what its rules match is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC as HttpRbac
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC as NetworkRbac
from google.protobuf.message import Message

from pilotfish.envoy.ext_authz import (
    SHADOW_PREFIX,
    build_connection_check,
    build_http_check,
    cluster_of_provider,
    rule_prefix,
)
from pilotfish.envoy.message import pack
from pilotfish.envoy.rbac import build_rbac
from pilotfish.envoy.types import CLUSTER
from pilotfish.envoy.values import Reference
from pilotfish.model.authorization import Action, Authorization, External, Unusable, Verdict

HTTP_RBAC: Final = "envoy.filters.http.rbac"
NETWORK_RBAC: Final = "envoy.filters.network.rbac"
_HTTP_CHECK: Final = "envoy.filters.http.ext_authz"
_NETWORK_CHECK: Final = "envoy.filters.network.ext_authz"
_BAD: Final = "-deny-due-to-bad-CUSTOM-action"
_TRIAL: Final = {Action.ALLOW: "istio_dry_run_allow_", Action.DENY: "istio_dry_run_deny_"}


def build_custom(authorization: Authorization) -> Iterator[HttpFilter]:
    for each in authorization.custom:
        yield _http(HTTP_RBAC, _external(each, HttpRbac()))
        if not isinstance(each.provider, Unusable):
            yield _http(_HTTP_CHECK, build_http_check(each.provider))


def build_verdicts(authorization: Authorization) -> Iterator[HttpFilter]:
    for verdict in authorization.verdicts:
        yield _http(HTTP_RBAC, _verdict(verdict, HttpRbac()))


def build_connection_filters(authorization: Authorization) -> Iterator[Filter]:
    """All of them, to stand before what passes connections on."""
    for each in authorization.custom:
        yield _network(NETWORK_RBAC, _external(each, NetworkRbac(stat_prefix="tcp.")))
        if not isinstance(each.provider, Unusable):
            yield _network(_NETWORK_CHECK, build_connection_check(each.provider))
    for verdict in authorization.verdicts:
        yield _network(NETWORK_RBAC, _verdict(verdict, NetworkRbac(stat_prefix="tcp.")))


def references_of(authorization: Authorization) -> Iterator[Reference]:
    for each in authorization.custom:
        if not isinstance(each.provider, Unusable):
            yield CLUSTER, cluster_of_provider(each.provider)


def _external(external: External, rbac: Any) -> Message:
    prefix = f"{rule_prefix(external.provider.name)}-"
    if isinstance(external.provider, Unusable):
        rbac.rules.CopyFrom(build_rbac(Action.CUSTOM, external.rules, prefix, _BAD))
    else:
        rbac.shadow_rules.CopyFrom(build_rbac(Action.CUSTOM, external.rules, prefix))
        rbac.shadow_rules_stat_prefix = SHADOW_PREFIX
    message: Message = rbac
    return message


def _verdict(verdict: Verdict, rbac: Any) -> Message:
    """Without rules in force there are none, and not an empty set of them, which would let nothing pass."""
    if verdict.rules is not None:
        rbac.rules.CopyFrom(build_rbac(verdict.action, verdict.rules))
    if verdict.trial is not None:
        rbac.shadow_rules.CopyFrom(build_rbac(verdict.action, verdict.trial))
    is_tried = verdict.trial is not None
    rbac.shadow_rules_stat_prefix = _TRIAL[verdict.action if is_tried else Action.ALLOW]
    message: Message = rbac
    return message


def _http(name: str, message: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=pack(message))


def _network(name: str, message: Message) -> Filter:
    return Filter(name=name, typed_config=pack(message))
