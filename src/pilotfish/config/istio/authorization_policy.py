"""AuthorizationPolicy: which requests and connections a workload takes.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pilotfish.config.istio.selector import PolicyTargetReference, WorkloadSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds

DRY_RUN: Final = "istio.io/dry-run"
"""An annotation: "true" for a policy that refuses nobody, and whose verdict is only told."""


class Source(Struct):
    """Who calls: all of what is given. Values may begin or end with `*`; `*` alone is whoever has any."""

    principals: tuple[str, ...] = ()
    """`TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, as the peer's certificate proves it."""
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    """`ISSUER/SUBJECT` of a request's token."""
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    """`NAMESPACE/ACCOUNT`, or an account of the policy's namespace. No `*`."""
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    """Of the connection's other end."""
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    """Of the client, as X-Forwarded-For or the PROXY protocol says it."""
    not_remote_ip_blocks: tuple[str, ...] = ()


class RuleFrom(Struct):
    source: Source | None = None


class Operation(Struct):
    """What is asked for: all of what is given."""

    hosts: tuple[str, ...] = ()
    """As the request says it, so with a port where the client writes one; case makes no difference."""
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """Of the workload, not of its Service."""
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Without the query. Also templates: `{*}` is one segment, `{**}` any number of them."""
    not_paths: tuple[str, ...] = ()


class RuleTo(Struct):
    operation: Operation | None = None


class Condition(Struct):
    key: str = ""
    """request.headers[NAME], source.ip, remote.ip, source.namespace, source.principal, source.serviceAccount,
    source.trustDomain, request.auth.principal, request.auth.audiences, request.auth.presenter,
    request.auth.claims[NAME], destination.ip, destination.port, connection.sni, or
    experimental.envoy.filters.FILTER[KEY]."""
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class AuthorizationRule(Struct):
    """One of `from`, one of `to`, and all of `when`."""

    from_: tuple[RuleFrom, ...] = msgspec.field(default=(), name="from")
    to: tuple[RuleTo, ...] = ()
    when: tuple[Condition, ...] = ()


class PolicyProvider(Struct):
    name: str = ""
    """Of meshConfig's `extensionProviders`."""


class AuthorizationPolicySpec(Struct):
    selector: WorkloadSelector | None = None
    """None: every workload of the namespace; of the root namespace, every workload of the mesh."""
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    rules: tuple[AuthorizationRule, ...] = ()
    """None allow nothing; `{}` is everything."""
    provider: PolicyProvider | None = None
    """With CUSTOM: whom to ask."""


class AuthorizationPolicy(Resource):
    kind = kinds.AUTHORIZATION_POLICY
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
