"""Whose tokens are believed → Envoy's JWT filter.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/jwt_authn_filter
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from envoy.config.core.v3.base_pb2 import DataSource, Metadata
from envoy.config.route.v3.route_components_pb2 import RouteMatch
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtClaimToHeader,
    JwtHeader,
    JwtProvider,
    JwtRequirement,
    JwtRequirementAndList,
    JwtRequirementOrList,
    RequirementRule,
)
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.empty_pb2 import Empty

from pilotfish.envoy.message import config_path, istio_metadata, pack
from pilotfish.envoy.rbac import JWT_FILTER, PAYLOAD
from pilotfish.model.authentication import Authentication, Verified

NOBODYS_KEYS: Final = (
    '{"keys":[{"kty":"EC","crv":"P-256","kid":"nobody",'
    '"x":"N6V_oNppP7QBufntAeDzvpDSLTL5YkxlfSZrh9UDVs0","y":"LSgbOoXDR9sR5Q9sY-agL80o8IBXGWeM2FSa8-GpA4M"}]}'
)
"""Stands for keys that can't be had, so that no token is believed. The point's x is the SHA-256 of `nobody has the
private key 4`, the first number for which the curve has one: that key is known to nobody."""


def build_tokens(authentication: Authentication, *, clears_route: bool = False) -> Iterator[HttpFilter]:
    """`clears_route`: routes are chosen by claims, too, and so again when these are known."""
    if authentication:
        yield HttpFilter(name=JWT_FILTER, typed_config=pack(build_authentication(authentication, clears_route)))


def name_rules(authentication: Authentication) -> Metadata | None:
    """Whose the providers of a chain are, for whoever explains: the filter itself does not say it."""
    refs = {name: each.rule.ref for name, each in _by_provider(authentication).items()}
    return istio_metadata(**{k: {"config": config_path(ref.object), "field": ref.field} for k, ref in refs.items()})


def _by_provider(authentication: Authentication) -> dict[str, Verified]:
    return {f"origins-{index}": each for index, each in enumerate(authentication)}


def build_authentication(authentication: Authentication, clears_route: bool = False) -> JwtAuthentication:
    providers = {name: _build_provider(each, clears_route) for name, each in _by_provider(authentication).items()}
    rule = RequirementRule(match=RouteMatch(prefix="/"), requires=_require(authentication))
    return JwtAuthentication(providers=providers, rules=[rule], bypass_cors_preflight=True)


def _build_provider(verified: Verified, clears_route: bool) -> JwtProvider:
    rule = verified.rule
    provider = JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        local_jwks=DataSource(inline_string=verified.keys or NOBODYS_KEYS),
        from_headers=[JwtHeader(name=name, value_prefix=prefix) for name, prefix in rule.from_headers],
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        forward=rule.forwarded,
        forward_payload_header=rule.payload_header,
        claim_to_headers=[JwtClaimToHeader(header_name=name, claim_name=claim) for name, claim in rule.claim_headers],
        payload_in_metadata=PAYLOAD,
        clear_route_cache=clears_route,
    )
    provider.normalize_payload_in_metadata.space_delimited_claims.extend(rule.list_claims)
    return provider


def _require(authentication: Authentication) -> JwtRequirement:
    """A token of any of them, or none; of several tokens each is right, or is somebody else's. Where tokens are
    required, it is one of theirs.

    Source: Istio's pilot/pkg/security/authn/policy_applier.go
    """
    by_name = _by_provider(authentication)
    names = tuple(by_name)
    required = [_of(name) for name, each in by_name.items() if each.rule.required]
    if required:
        return required[0] if len(required) == 1 else _one_of(*required)
    if len(names) == 1:
        return _one_of(_of(names[0]), _MISSING)
    each = [_one_of(_of(name), _MISSING) for name in names]
    all_of_them = JwtRequirement(requires_all=JwtRequirementAndList(requirements=each))
    return _one_of(*map(_of, names), all_of_them)


_MISSING: Final = JwtRequirement(allow_missing=Empty())


def _of(name: str) -> JwtRequirement:
    return JwtRequirement(provider_name=name)


def _one_of(*requirements: JwtRequirement) -> JwtRequirement:
    return JwtRequirement(requires_any=JwtRequirementOrList(requirements=requirements))
